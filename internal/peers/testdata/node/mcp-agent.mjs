#!/usr/bin/env node
// An agent that serves tools by MCP, with the official SDK and its sessions: whoever names one is in it, as far as this server is concerned.
import { createServer } from 'node:http'
import { randomUUID } from 'node:crypto'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'

const sessions = new Map()

async function begin() {
  const server = new McpServer({ name: 'who', version: '1' })
  server.registerTool('whoami', { description: 'Who is calling' }, async (extra) => ({
    content: [{ type: 'text', text: String(extra.requestInfo.headers.user_id) }],
  }))
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => sessions.set(id, transport),
    onsessionclosed: (id) => sessions.delete(id),
  })
  await server.connect(transport)
  return transport
}

createServer(async (request, response) => {
  if (request.url === '/ping') return response.end('{"status":"Healthy"}')
  if (request.url !== '/mcp') return response.writeHead(404).end()
  const id = request.headers['mcp-session-id']
  const transport = id === undefined ? await begin() : sessions.get(id)
  if (!transport) return response.writeHead(404).end()
  await transport.handleRequest(request, response)
}).listen(Number(process.env.PORT), '127.0.0.1')
