/**
 * For people who write agents: tools that act for a person at a third party,
 * without ever holding that person's token.
 *
 * @packageDocumentation
 */
export { Agent, type AgentOptions } from "./agent.js";
export type { Authorization, State } from "./authorization.js";
export { Caller, type CallerOptions } from "./caller.js";
export { Client, type AccessToken, type CallOptions, type CallToken, type ClientOptions, type Keys, type WorkloadToken } from "./client.js";
export { apiKey, basic, Credential, oauth2 } from "./credential.js";
export { AuthorizationFailed, ConsentRequired, CredentialRefused, DeputyError, type Refusal } from "./errors.js";
export type { Identity, User } from "./jwt.js";
export { array, boolean, integer, number, object, optional, string, type JSONSchema, type ObjectOf, type Shape, type ValueOf } from "./schema.js";
export { Secret } from "./secret.js";
export { tokenTool, tool, type Call, type Fetch, type Session, type TokenToolOptions, type Tool, type ToolOptions } from "./tool.js";
export type { Turn } from "./turn.js";
