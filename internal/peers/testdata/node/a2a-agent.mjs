#!/usr/bin/env node
// An agent that is spoken to by A2A, with the official SDK, in its two versions; and by WebSocket, with the ws package. It says who is calling.
import { createServer } from 'node:http'
import express from 'express'
import { WebSocketServer } from 'ws'
import { AGENT_CARD_PATH, Role, TaskState } from '@a2a-js/sdk'
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from '@a2a-js/sdk/server'
import { agentCardHandler, jsonRpcHandler } from '@a2a-js/sdk/server/express'

const own = `http://127.0.0.1:${process.env.PORT}/`
const card = {
  name: 'who', description: 'Says who is calling', version: '1', provider: undefined, capabilities: { streaming: true, extensions: [] },
  supportedInterfaces: ['1.0', '0.3'].map((protocolVersion) => ({ url: own, protocolBinding: 'JSONRPC', tenant: '', protocolVersion })),
  securitySchemes: {}, securityRequirements: [], defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'], skills: [], signatures: [],
}
const part = (text) => ({ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: 'text/plain' })

// One message is answered by a message; if it asks for work, by a task that goes on in pieces.
const executor = {
  async execute({ userMessage, taskId, contextId, context }, bus) {
    const who = context.user.userName
    if (userMessage.parts[0].content.value !== 'work') {
      bus.publish(AgentEvent.message({ messageId: 'm1', contextId, taskId: '', role: Role.ROLE_AGENT, parts: [part(who)], metadata: undefined, extensions: [], referenceTaskIds: [] }))
      return bus.finished()
    }
    const status = (state) => ({ state, message: undefined, timestamp: new Date().toISOString() })
    bus.publish(AgentEvent.task({ id: taskId, contextId, status: status(TaskState.TASK_STATE_WORKING), artifacts: [], history: [userMessage], metadata: undefined }))
    for (const text of ['for ', who]) {
      bus.publish(AgentEvent.artifactUpdate({
        taskId, contextId, append: text === who, lastChunk: text === who, metadata: undefined,
        artifact: { artifactId: 'a1', name: '', description: '', parts: [part(text)], metadata: undefined, extensions: [] },
      }))
    }
    bus.publish(AgentEvent.statusUpdate({ taskId, contextId, status: status(TaskState.TASK_STATE_COMPLETED), metadata: undefined }))
    bus.finished()
  },
  async cancelTask() {},
}

const handler = new DefaultRequestHandler(card, new InMemoryTaskStore(), executor)
const userBuilder = async (request) => ({ isAuthenticated: true, userName: String(request.headers.user_id) })
const app = express()
app.get('/ping', (_, response) => response.json({ status: 'Healthy' }))
app.use(`/${AGENT_CARD_PATH}`, agentCardHandler({ agentCardProvider: handler, legacyCompat: { enabled: true } }))
app.use('/', jsonRpcHandler({ requestHandler: handler, userBuilder, legacyCompat: { enabled: true } }))

const server = createServer(app)
new WebSocketServer({ server, path: '/ws', handleProtocols: (offered) => offered.values().next().value ?? false }).on('connection', (socket, request) => {
  socket.on('message', (data, binary) => socket.send(binary ? data : `${request.headers.user_id}: ${data}`, { binary }))
})
server.listen(Number(process.env.PORT), '127.0.0.1')
