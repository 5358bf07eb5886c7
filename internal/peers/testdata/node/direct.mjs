// Tokens without a browser at the client: for the client itself, and for somebody at another device.
import * as client from 'openid-client'
import { claimsOf, refusal } from './code.mjs'
import { visit } from './talk.mjs'

export async function clientCredentials(task) {
  const config = await task.discover()
  const got = await client.clientCredentialsGrant(config, { scope: 'documents.read' })
  const { sub, client_id, aud } = claimsOf(got.access_token)
  return { sub, client: client_id, audience: aud, scope: got.scope, refresh: got.refresh_token ?? null, more: await refusal(client.clientCredentialsGrant(config, { scope: 'openid' })) }
}

export async function device(task) {
  const config = await task.discover()
  const asked = await client.initiateDeviceAuthorization(config, { scope: 'openid profile' })
  await visit(asked.verification_uri_complete)
  // The first look may come at once.
  const got = await client.pollDeviceAuthorizationGrant(config, { ...asked, interval: 0.1 })
  const { sub } = got.claims()
  return { sub, name: (await client.fetchUserInfo(config, got.access_token, sub)).name }
}
