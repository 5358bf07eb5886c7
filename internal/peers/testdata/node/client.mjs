// openid-client as a relying party. The test's first line names the scenario; the last line that it is answered is the result, or why there is none.
import * as client from 'openid-client'
import { hear, say } from './talk.mjs'
import * as code from './code.mjs'
import * as direct from './direct.mjs'
import * as tokens from './tokens.mjs'

const scenarios = { ...code, ...direct, ...tokens }

async function authentication({ method, secret, key }) {
  switch (method) {
    case 'none':
      return client.None()
    case 'client_secret_post':
      return client.ClientSecretPost(secret)
    case 'client_secret_basic':
      return client.ClientSecretBasic(secret)
    case 'private_key_jwt': {
      const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
      return client.PrivateKeyJwt({ key: await crypto.subtle.importKey('jwk', key, algorithm, false, ['sign']), kid: key.kid })
    }
  }
  throw new Error('no way to authenticate: ' + method)
}

function told(error) {
  return { message: error.message, code: error.code, error: error.error, description: error.error_description, status: error.status, cause: error.cause && String(error.cause.message ?? JSON.stringify(error.cause)), stack: error.stack }
}

try {
  const task = await hear()
  // Signatures of ID tokens are verified although they come over a direct connection.
  const execute = [client.allowInsecureRequests, client.enableNonRepudiationChecks]
  const metadata = { id_token_signed_response_alg: task.algorithm }
  const options = { execute, algorithm: task.oauth2 ? 'oauth2' : 'oidc' }
  task.discover = async () => client.discovery(new URL(task.issuer), task.client.id, metadata, await authentication(task.client), options)
  say({ done: (await scenarios[task.scenario](task)) ?? {} })
} catch (error) {
  say({ failed: told(error) })
}
process.exit(0)
