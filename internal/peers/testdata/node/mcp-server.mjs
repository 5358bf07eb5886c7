// An MCP server made with the official SDK, with the door that the SDK gives it: it takes tokens of the issuer that the argument
// names, made for its own address. It prints where it serves, and ends with its standard input.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { mcpAuthMetadataRouter, getOAuthProtectedResourceMetadataUrl } from '@modelcontextprotocol/sdk/server/auth/router.js'
import { requireBearerAuth } from '@modelcontextprotocol/sdk/server/auth/middleware/bearerAuth.js'
import { InvalidTokenError } from '@modelcontextprotocol/sdk/server/auth/errors.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import express from 'express'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { say } from './talk.mjs'

const issuer = process.argv[2]
const oauthMetadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json()
const keys = createRemoteJWKSet(new URL(oauthMetadata.jwks_uri))
const app = express()
const server = createServer(app)
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const resourceServerUrl = new URL(`http://127.0.0.1:${server.address().port}/mcp`)

const verifier = {
  async verifyAccessToken(token) {
    try {
      const { payload } = await jwtVerify(token, keys, { issuer, audience: resourceServerUrl.href, typ: 'at+jwt' })
      return { token, clientId: payload.client_id, scopes: payload.scope.split(' '), expiresAt: payload.exp, resource: resourceServerUrl }
    } catch (error) {
      throw new InvalidTokenError(error.message)
    }
  },
}
app.use(mcpAuthMetadataRouter({ oauthMetadata, resourceServerUrl, scopesSupported: ['notes.read', 'notes.write'] }))
const door = requireBearerAuth({ verifier, requiredScopes: ['notes.read'], resourceMetadataUrl: getOAuthProtectedResourceMetadataUrl(resourceServerUrl) })
app.all('/mcp', door, express.json(), async (request, response) => {
  const mcp = new McpServer({ name: 'notes', version: '1.0.0' })
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined })
  response.on('close', () => mcp.close())
  await mcp.connect(transport)
  await transport.handleRequest(request, response, request.body)
})
process.stdin.resume().on('end', () => process.exit(0))
say({ ready: resourceServerUrl.href })
