// The official A2A client, in both versions of the protocol, and the ws package's WebSocket, at an agent behind the ingress.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import WebSocket from 'ws'
import { Role } from '@a2a-js/sdk'
import { ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory } from '@a2a-js/sdk/client'
import { hear, say } from './talk.mjs'

const message = (text) => ({
  tenant: '', configuration: undefined, metadata: undefined,
  message: { messageId: crypto.randomUUID(), contextId: '', taskId: '', role: Role.ROLE_USER, parts: [{ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: 'text/plain' }], metadata: undefined, extensions: [], referenceTaskIds: [] },
})
const text = (parts) => parts.map((p) => p.content.value).join('')

async function byA2A({ url, token }, version) {
  const asked = []
  const fetchImpl = (address, init) => {
    asked.push(String(address))
    return fetch(address, { ...init, headers: { ...Object.fromEntries(new Headers(init?.headers)), Authorization: `Bearer ${token}` } })
  }
  const legacyCompat = { enabled: true }
  const resolver = new DefaultAgentCardResolver({ fetchImpl, legacyCompat })
  const factory = new ClientFactory({ transports: [new JsonRpcTransportFactory({ fetchImpl, legacyCompat })], cardResolver: resolver })
  const card = await resolver.resolve(url, undefined)
  // What the client sees of the card: every address is the ingress's.
  const own = card.supportedInterfaces.filter((i) => i.protocolVersion === version)
  assert.equal(own.length, 1, JSON.stringify(card))
  const client = await factory.createFromAgentCard({ ...card, supportedInterfaces: own })
  const answer = await client.sendMessage(message('who'))
  const events = []
  let streamed = ''
  for await (const { payload } of client.sendMessageStream(message('work'))) {
    events.push(payload.$case)
    if (payload.$case === 'artifactUpdate') streamed += text(payload.value.artifact.parts)
  }
  return { user: text(answer.parts ?? answer.message.parts), streamed, events, addresses: [...new Set(asked)] }
}

async function byWebSocket({ url, token }, way) {
  const address = `${url.replace(/^http/, 'ws')}ws`
  const subprotocols = [`base64UrlBearerAuthorization.${Buffer.from(token).toString('base64url')}`, 'base64UrlBearerAuthorization']
  const socket = way === 'header' ? new WebSocket(address, { headers: { Authorization: `Bearer ${token}` } }) : new WebSocket(address, subprotocols)
  await once(socket, 'open')
  socket.send('hello')
  const [said] = await once(socket, 'message')
  const large = Buffer.alloc(200_000, 7)
  socket.send(large)
  const [back, binary] = await once(socket, 'message')
  socket.close(1000, 'done')
  const [code] = await once(socket, 'close')
  return { said: String(said), large: binary && large.equals(back), code }
}

async function strangers({ url }) {
  const refused = await new DefaultAgentCardResolver().resolve(url).then(() => 'taken', (error) => String(error.message).match(/\b401\b/)?.[0] ?? String(error))
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}ws`)
  const [, response] = await once(socket, 'unexpected-response')
  return [refused, String(response.statusCode)]
}

const task = await hear()
try {
  const done = { new: await byA2A(task, '1.0'), old: await byA2A(task, '0.3'), header: await byWebSocket(task, 'header'), protocol: await byWebSocket(task, 'protocol'), strangers: await strangers(task) }
  say({ done })
} catch (error) {
  say({ failed: String(error.stack ?? error) })
}
process.exit(0)
