// What becomes of tokens: refreshing, looking at them, calling them back, and asking for some that are good elsewhere.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { claimsOf, logIn, refusal } from './code.mjs'

const offline = { scope: 'openid profile offline_access', prompt: 'consent' }

export async function refresh(task) {
  const config = await task.discover()
  const first = await logIn(task, config, offline)
  const second = await client.refreshTokenGrant(config, first.refresh_token)
  assert.notEqual(second.refresh_token, first.refresh_token)
  assert.notEqual(second.access_token, first.access_token)
  const third = await client.refreshTokenGrant(config, second.refresh_token)
  const info = await client.fetchUserInfo(config, third.access_token, first.claims().sub)
  return {
    sub: info.sub,
    reuse: await refusal(client.refreshTokenGrant(config, first.refresh_token)),
    family: await refusal(client.refreshTokenGrant(config, third.refresh_token)),
  }
}

export async function introspect(task) {
  const config = await task.discover()
  const got = await logIn(task, config, offline)
  const sub = got.claims().sub
  for (const token of [got.access_token, got.refresh_token]) {
    const seen = await client.tokenIntrospection(config, token)
    assert.equal(seen.active, true)
    assert.equal(seen.sub, sub)
    assert.equal(seen.client_id, task.client.id)
  }
  return { sub, unknown: await client.tokenIntrospection(config, 'nonsense') }
}

export async function revoke(task) {
  const config = await task.discover()
  const got = await logIn(task, config, offline)
  await client.tokenRevocation(config, got.refresh_token)
  await client.tokenRevocation(config, 'nonsense')
  return { refresh: await refusal(client.refreshTokenGrant(config, got.refresh_token)), seen: await client.tokenIntrospection(config, got.refresh_token) }
}

export async function resources(task) {
  const config = await task.discover()
  const got = await logIn(task, config, { resource: task.resource })
  return { audience: claimsOf(got.access_token).aud, elsewhere: await refusal(logIn(task, config, { resource: 'https://elsewhere.example/api' })) }
}

export async function exchange(task) {
  const config = await task.discover()
  const got = await logIn(task, config)
  const made = await client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
    subject_token: got.access_token,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    audience: task.resource,
  })
  assert.equal(made.issued_token_type, 'urn:ietf:params:oauth:token-type:access_token')
  const claims = claimsOf(made.access_token)
  return { same: claims.sub === got.claims().sub, audience: claims.aud, actor: claims.act?.sub }
}
