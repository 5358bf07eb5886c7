// The official MCP client at an agent of which it knows nothing but the address: it is refused, finds out where to log in, has a person do
// that, and calls a tool. Then somebody else, by the token that he is given, tries the session.
import assert from 'node:assert/strict'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js'
import { hear, say, visit } from './talk.mjs'

const newClient = () => new Client({ name: 'peer', version: '1' })

// login is what the client asks of the program that it is part of.
function login({ clientId, redirectUri }) {
  const kept = {}
  return {
    kept,
    redirectUrl: redirectUri,
    clientMetadata: { redirect_uris: [redirectUri], token_endpoint_auth_method: 'none' },
    clientInformation: () => ({ client_id: clientId }),
    tokens: () => kept.tokens,
    saveTokens: (tokens) => { kept.tokens = tokens },
    redirectToAuthorization: (url) => { kept.url = url },
    saveCodeVerifier: (verifier) => { kept.verifier = verifier },
    codeVerifier: () => kept.verifier,
  }
}

async function play(task) {
  const provider = login(task)
  const address = new URL(task.url)
  const first = new StreamableHTTPClientTransport(address, { authProvider: provider })
  await assert.rejects(newClient().connect(first), UnauthorizedError)
  const asked = provider.kept.url.searchParams
  await first.finishAuth((await visit(provider.kept.url)).searchParams.get('code'))

  const transport = new StreamableHTTPClientTransport(address, { authProvider: provider })
  const client = newClient()
  await client.connect(transport)
  const { tools } = await client.listTools()
  const { content } = await client.callTool({ name: 'whoami' })

  // list asks in the session, whoever's that is, and returns what becomes of it.
  const session = transport.sessionId
  const list = async (options) => {
    const inSession = new StreamableHTTPClientTransport(address, { sessionId: session, ...options })
    await inSession.start()
    return inSession.send({ jsonrpc: '2.0', id: 1, method: 'tools/list' }).then(() => 'taken', (error) => error.code)
  }
  const byOther = { requestInit: { headers: { Authorization: `Bearer ${task.other}` } } }
  const stolen = await list(byOther)
  const thief = newClient()
  await thief.connect(new StreamableHTTPClientTransport(address, byOther))
  const own = await thief.callTool({ name: 'whoami' })
  await transport.terminateSession()
  const ended = await list({ authProvider: provider })
  await thief.close()
  return {
    resource: asked.get('resource'), scope: asked.get('scope'), tools: tools.map((tool) => tool.name), user: content[0].text,
    stolen, other: own.content[0].text, ended,
  }
}

try {
  say({ done: await play(await hear()) })
} catch (error) {
  say({ failed: String(error.stack ?? error) })
}
process.exit(0)
