// Logging in: the authorization code flow and what surrounds it.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { visit } from './talk.mjs'

export const refusal = async (promise) => {
  try {
    await promise
  } catch (error) {
    return error.error ?? error.code ?? error.message
  }
  return 'accepted'
}

export const claimsOf = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))

// An authorization request with all that a careful client sends, and its checks.
export async function request(task, more = {}) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const checks = { pkceCodeVerifier, expectedState: client.randomState(), expectedNonce: client.randomNonce(), idTokenExpected: true }
  const parameters = {
    redirect_uri: task.redirectUri,
    scope: 'openid profile email',
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
    ...more,
  }
  return { parameters, checks }
}

// A whole login.
export async function logIn(task, config, more, tokenParameters) {
  const { parameters, checks } = await request(task, more)
  const callback = await visit(client.buildAuthorizationUrl(config, parameters))
  return client.authorizationCodeGrant(config, callback, checks, tokenParameters)
}

export async function codeFlow(task) {
  const config = await task.discover()
  const got = await logIn(task, config)
  const { sub } = got.claims()
  const info = await client.fetchUserInfo(config, got.access_token, sub)
  return { sub, info, scope: got.scope, lifetime: got.expires_in, audience: claimsOf(got.access_token).aud }
}

// Every part of the answer is bound to this client's request.
export async function binding(task) {
  const config = await task.discover()
  const { parameters, checks } = await request(task)
  const callback = await visit(client.buildAuthorizationUrl(config, parameters))
  assert.equal(callback.searchParams.get('iss'), config.serverMetadata().issuer)
  const elsewhere = new URL(callback)
  elsewhere.searchParams.set('iss', 'https://elsewhere.example')
  const refused = {
    mixUp: await refusal(client.authorizationCodeGrant(config, elsewhere, checks)),
    otherState: await refusal(client.authorizationCodeGrant(config, callback, { ...checks, expectedState: 'x' })),
    otherVerifier: await refusal(client.authorizationCodeGrant(config, callback, { ...checks, pkceCodeVerifier: client.randomPKCECodeVerifier() })),
  }
  await client.authorizationCodeGrant(config, callback, checks)
  return { ...refused, secondTime: await refusal(client.authorizationCodeGrant(config, callback, checks)) }
}

// prompt=none, max_age and prompt=login with a session at the provider.
export async function session(task) {
  const config = await task.discover()
  const nobody = await refusal(logIn(task, config, { prompt: 'none' }))
  const first = (await logIn(task, config)).claims()
  const silent = (await logIn(task, config, { prompt: 'none' })).claims()
  const again = (await logIn(task, config, { prompt: 'login' })).claims()
  return { nobody, same: first.sub === silent.sub && first.auth_time === silent.auth_time, newer: again.auth_time >= first.auth_time, sub: first.sub }
}

export async function pushed(task) {
  const config = await task.discover()
  const { parameters, checks } = await request(task)
  const url = await client.buildAuthorizationUrlWithPAR(config, parameters)
  assert.deepEqual([...url.searchParams.keys()].sort(), ['client_id', 'request_uri'])
  const got = await client.authorizationCodeGrant(config, await visit(url), checks)
  return { sub: got.claims().sub, plain: await refusal(logIn(task, config)) }
}

export async function logOut(task) {
  const config = await task.discover()
  const got = await logIn(task, config)
  const state = client.randomState()
  const at = await visit(client.buildEndSessionUrl(config, { post_logout_redirect_uri: task.afterLogout, id_token_hint: got.id_token, state }))
  assert.equal(at.searchParams.get('state'), state)
  return { at: at.origin + at.pathname, afterwards: await refusal(logIn(task, config, { prompt: 'none' })) }
}

export async function metadata(task) {
  return (await task.discover()).serverMetadata()
}

export async function register(task) {
  const options = { execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks], initialAccessToken: task.initialAccessToken }
  const wanted = { client_name: 'self-made', redirect_uris: [task.redirectUri], grant_types: ['authorization_code', 'refresh_token'], token_endpoint_auth_method: 'client_secret_basic' }
  const config = await client.dynamicClientRegistration(new URL(task.issuer), wanted, client.ClientSecretBasic(), options)
  const got = await logIn(task, config)
  return { sub: got.claims().sub, audience: got.claims().aud === config.clientMetadata().client_id }
}
