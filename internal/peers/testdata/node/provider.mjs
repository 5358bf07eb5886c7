// oidc-provider as somebody else's OpenID provider: one client, whose secret and callback the arguments say, and one user, who
// needs no password. It prints where it serves, and ends with its standard input.
import { createServer } from 'node:http'
import { once } from 'node:events'
import Provider from 'oidc-provider'
import { say } from './talk.mjs'

const [secret, callback] = process.argv.slice(2)
const accounts = {
  lisi: { sub: 'lisi', name: '李四', preferred_username: 'lisi', email: 'li.si@example.com', email_verified: true },
}
const server = createServer()
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const issuer = `http://127.0.0.1:${server.address().port}`
const provider = new Provider(issuer, {
  clients: [{
    client_id: 'deputy', client_secret: secret, redirect_uris: [callback], token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['authorization_code', 'refresh_token'],
  }],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'] },
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
  rotateRefreshToken: true,
  findAccount: async (_, id) => ({ accountId: id, claims: async () => accounts[id] }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
})
provider.on('server_error', (_, error) => console.error(error))

// The person agrees to whatever is asked.
async function interact(request, response) {
  const { prompt, session, params } = await provider.interactionDetails(request, response)
  if (prompt.name === 'login') {
    return provider.interactionFinished(request, response, { login: { accountId: 'lisi' } })
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id })
  grant.addOIDCScope(params.scope)
  return provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } })
}

const serve = provider.callback()
server.on('request', (request, response) => {
  if (!request.url.startsWith('/interaction/')) return serve(request, response)
  interact(request, response).catch((error) => {
    console.error(error)
    response.writeHead(500).end()
  })
})
process.stdin.resume().on('end', () => process.exit(0))
say({ ready: issuer })
