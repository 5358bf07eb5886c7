/**
 * A Deputy for the tests of agents: users, consent and failures at the call of a
 * method. It answers what an agent asks of the real one, over HTTP, with the same
 * words, and keeps everything in memory.
 *
 * @packageDocumentation
 */
import { generateKeyPairSync, randomUUID, sign, type KeyObject } from "node:crypto";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { isFinal, type State } from "./authorization.js";
import { Client } from "./client.js";
import type { User } from "./jwt.js";
import { Secret } from "./secret.js";
import type { Sleep } from "./time.js";

/** The SPIFFE ID of the agent under test. */
export const workload = "spiffe://deputy.test/default/agent";
/** The launch token that {@link FakeDeputy} believes. */
export const launchToken = "launch-token-of-the-agent-under-test";

interface Ask {
  id: string;
  user: User;
  provider: string;
  scopes: string[];
  state: State;
  reason: string;
  message: string;
  expiresAt: Date;
}

/** The fake. {@link FakeDeputy.start} serves it on loopback. */
export class FakeDeputy {
  /** Where it is reachable; the issuer of its tokens. */
  url = "";
  /** The clock, in milliseconds. */
  now: () => number = Date.now;
  /** Decides about each request: 0 means answer it, anything else is the status to refuse it with. */
  fail: (method: string, path: string) => number = () => 0;
  /** Every request, as "POST /api/v1/credentials". */
  readonly requests: string[] = [];

  #key!: KeyObject;
  #jwk!: Record<string, unknown>;
  #sequence = 0;
  readonly #server: Server;
  readonly #users = new Map<string, User | undefined>();
  /** By a token of their own. */
  readonly #people = new Map<string, User>();
  readonly #held = new Map<string, string>();
  readonly #kept = new Map<string, Record<string, string>>();
  readonly #renewing = new Set<string>();
  readonly #asks = new Map<string, Ask>();
  readonly #others = new Map<string, RequestListener>();
  /** What call tokens are for. */
  readonly #calls = new Map<string, { agent: string; user: User | undefined }>();
  readonly #listeners = new Set<() => void>();

  private constructor() {
    this.rotateKey();
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  /** Serves a fake on loopback until {@link FakeDeputy.close}. */
  static async start(): Promise<FakeDeputy> {
    const fake = new FakeDeputy();
    await new Promise<void>((resolve) => fake.#server.listen(0, "127.0.0.1", resolve));
    fake.url = `http://127.0.0.1:${(fake.#server.address() as AddressInfo).port}`;
    return fake;
  }

  /** Ends it, and every connection. */
  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  /** Hangs up on all who are connected, as a restart does. */
  hangUp(): void {
    this.#server.closeAllConnections();
  }

  /** A client of it that is the agent {@link workload}. Between two attempts it does not wait. */
  client(options: { tokenFile?: string; sleep?: Sleep; direct?: boolean } = {}): Client {
    return new Client({ url: this.url, workload, now: () => this.now(), sleep: async (_, signal) => signal?.throwIfAborted(), ...options });
  }

  /** Makes it sign with a new key and publish that one only. */
  rotateKey(): void {
    const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#key = pair.privateKey;
    this.#jwk = { ...pair.publicKey.export({ format: "jwk" }), use: "sig", alg: "ES256", kid: `key-${++this.#sequence}` };
  }

  /** A workload access token with which the agent acts for a user; without one, the agent's own. */
  mint(user?: User): Secret {
    const now = Math.floor(this.now() / 1000);
    const claims: Record<string, unknown> = { iss: this.url, aud: this.url, sub: workload, iat: now, exp: now + 900, jti: randomUUID() };
    if (user) {
      claims["sub"] = user.subject;
      claims["sub_id"] = { format: "iss_sub", iss: user.issuer, sub: user.subject };
      claims["act"] = { sub: workload };
    }
    const token = this.sign("wat+jwt", claims);
    this.#users.set(token.reveal(), user);
    return token;
  }

  /** A token of a user's own: the bearer token with which he comes to an agent whose client is direct, and which that exchanges. */
  userToken(user: User): Secret {
    const now = Math.floor(this.now() / 1000);
    const token = this.sign("at+jwt", { iss: user.issuer, aud: workload, sub: user.subject, iat: now, exp: now + 3600, jti: randomUUID() });
    this.#people.set(token.reveal(), user);
    return token;
  }

  /** Signs any claims with the present key. */
  sign(typ: string, claims: unknown, header: Record<string, unknown> = {}): Secret {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part({ alg: "ES256", typ, kid: this.#jwk["kid"], ...header })}.${part(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), { key: this.#key, dsaEncoding: "ieee-p1363" });
    return new Secret(`${signed}.${signature.toString("base64url")}`);
  }

  /** Lets the agent use a provider for a user at once, and returns the new access token, which replaces any older one. */
  grant(user: User, provider: string): string {
    const token = `access-${++this.#sequence}-of-${user.subject}`;
    this.#held.set(holding(user, provider), token);
    return token;
  }

  /** Has the next report that the third party refused the user's token lead to a new token, as if there were a refresh token. */
  renew(user: User, provider: string): void {
    this.#renewing.add(holding(user, provider));
  }

  /** Has a provider answer all with a credential that needs no user, such as { type: "api_key", apiKey: "k", header: "X-API-Key" }. */
  keep(provider: string, credential: Record<string, string>): void {
    this.#kept.set(provider, credential);
  }

  /**
   * Makes another agent, which the agent under test may call by name. It gets its
   * requests as the ingress hands them on, with the user's subject in the header
   * user_id.
   */
  agent(name: string, answer: RequestListener): void {
    this.#others.set(name, answer);
  }

  /** Resolves with the id of the oldest authorization that waits for a user, as soon as there is one. */
  async pending(user: User): Promise<string> {
    for (;;) {
      const found = [...this.#asks.values()].find((a) => a.state === "pending" && same(a.user, user));
      if (found) return found.id;
      await this.#news();
    }
  }

  /** Which provider's credential an authorization is about. */
  provider(id: string): string {
    return this.#ask(id).provider;
  }

  /** The user's consent. Returns the new access token. */
  agree(id: string): string {
    const ask = this.#ask(id);
    const token = this.grant(ask.user, ask.provider); // before the news: whoever hears it asks at once
    this.step(id, "completed");
    return token;
  }

  /** The user's refusal. */
  decline(id: string): void {
    this.step(id, "failed", "access_denied", "access was declined at the third party");
  }

  /** Ends an authorization because nobody came. */
  expire(id: string): void {
    this.step(id, "expired", "expired", "the link was not used in time");
  }

  /** Takes an authorization to a state. */
  step(id: string, state: State, reason = "", message = ""): void {
    Object.assign(this.#ask(id), { state, reason, message });
    this.#tell();
  }

  #ask(id: string): Ask {
    const ask = this.#asks.get(id);
    if (!ask) throw new Error(`there is no authorization ${id}`);
    return ask;
  }

  #tell(): void {
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const tell of listeners) tell();
  }

  #news(): Promise<void> {
    return new Promise((resolve) => this.#listeners.add(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.url);
    const method = request.method ?? "";
    this.requests.push(`${method} ${url.pathname}`);
    const status = this.fail(method, url.pathname);
    if (status !== 0) return problem(response, status, "injected", "the test wants it so");
    const bearer = (request.headers.authorization ?? "").replace(/^Bearer /, "");
    const [, , , kind, name = "", events] = url.pathname.split("/").map(decodeURIComponent);
    if (url.pathname === "/.well-known/jwks.json") return json(response, { keys: [this.#jwk] });
    if (`${method} ${url.pathname}` === "POST /api/v1/workload-tokens") {
      if (bearer !== launchToken) return problem(response, 401, "proof_unknown", "the launch token is not valid");
      const { userToken, user: named } = await body(request);
      const user = typeof userToken === "string" ? this.#people.get(userToken) : (named as User | undefined);
      if (userToken !== undefined && !user) return problem(response, 401, "token_signature", "the user's token is not valid", "", "userToken");
      return json(response, { token: this.mint(user).reveal(), expiresAt: new Date(this.now() + 900_000), workload });
    }
    if (url.pathname.startsWith("/agents/")) return this.#callAgent(request, response, bearer);
    const user = this.#users.get(bearer);
    if (!this.#users.has(bearer)) return problem(response, 401, "token_signature", "the token is not valid");
    if (method === "POST" && kind === "credentials") return this.#credential(response, user, await body(request));
    if (method === "DELETE" && kind === "credentials") {
      if (user) this.#held.delete(holding(user, name));
      response.writeHead(204).end();
      return;
    }
    if (method === "POST" && kind === "call-tokens") return this.#callToken(response, user, String((await body(request))["agent"]));
    const ask = this.#asks.get(name);
    if (kind !== "authorizations" || !ask || !user || !same(ask.user, user)) {
      return problem(response, 404, "authorization_not_found", "there is no such authorization");
    }
    return events === "events" ? this.#events(response, ask) : this.#poll(response, ask, url.searchParams.has("wait"));
  }

  /** Lets the agent under test call the others that there are. */
  #callToken(response: ServerResponse, user: User | undefined, agent: string): void {
    if (!this.#others.has(agent)) return problem(response, 403, "caller_not_allowed", `default/agent may not call "${agent}"`, "add it by FakeDeputy.agent");
    const token = `call-${randomUUID()}`;
    this.#calls.set(token, { agent, user });
    json(response, { token, expiresAt: new Date(this.now() + 120_000), url: `${this.url}/agents/default/${agent}` });
  }

  /** The ingress before another agent. */
  #callAgent(request: IncomingMessage, response: ServerResponse, bearer: string): void {
    const call = this.#calls.get(bearer);
    if (request.url !== `/agents/default/${call?.agent}/invoke`) {
      response.writeHead(401, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: { message: "the call token is not valid", code: "token_signature" } }));
      return;
    }
    delete request.headers.authorization;
    request.headers["user_id"] = call?.user?.subject;
    this.#others.get(call?.agent ?? "")?.(request as Parameters<RequestListener>[0], response as Parameters<RequestListener>[1]);
  }

  #credential(response: ServerResponse, user: User | undefined, asked: Record<string, unknown>): void {
    const provider = String(asked["provider"]);
    const kept = this.#kept.get(provider);
    if (kept) return json(response, { status: "ready", credential: kept });
    if (provider.startsWith("no-such") || !user) {
      return problem(response, 404, "provider_not_found", `there is no credential provider "${provider}"`, "create it, or correct the name");
    }
    const key = holding(user, provider);
    if (asked["refused"] !== undefined && asked["refused"] === this.#held.get(key) && this.#renewing.delete(key)) this.grant(user, provider);
    const scopes = Array.isArray(asked["scopes"]) ? (asked["scopes"] as string[]) : [];
    const token = this.#held.get(key);
    if (token !== undefined && asked["force"] !== true) {
      const credential = { type: "oauth2", accessToken: token, tokenType: "Bearer", scopes, expiresAt: new Date(this.now() + 7200_000) };
      return json(response, { status: "ready", credential });
    }
    const id = `auth_${String(++this.#sequence).padStart(6, "0")}`;
    const ask: Ask = { id, user, provider, scopes, state: "pending", reason: "", message: "", expiresAt: new Date(this.now() + 600_000) };
    this.#asks.set(id, ask);
    const link = `${this.url}/authorize?request_uri=urn:deputy:authorization:${id}`;
    json(response, { status: "authorization_required", authorization: { id, state: ask.state, expiresAt: ask.expiresAt, url: link } });
    this.#tell();
  }

  async #poll(response: ServerResponse, ask: Ask, wait: boolean): Promise<void> {
    while (wait && !isFinal(ask.state) && !response.destroyed) await this.#news();
    json(response, shown(ask));
  }

  async #events(response: ServerResponse, ask: Ask): Promise<void> {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    for (;;) {
      response.write(`event: state\ndata: ${JSON.stringify(shown(ask))}\n\n`);
      if (isFinal(ask.state)) break;
      await this.#news();
      if (response.destroyed) return;
    }
    response.end();
  }
}

const holding = (user: User, provider: string): string => JSON.stringify([user.issuer, user.subject, provider]);
const same = (a: User, b: User): boolean => a.issuer === b.issuer && a.subject === b.subject;

function shown(a: Ask): unknown {
  const { user: _, reason, message, ...rest } = a;
  return reason ? { ...rest, reason, message } : rest;
}

async function body(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || "{}") as Record<string, unknown>;
}

function json(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function problem(response: ServerResponse, status: number, code: string, detail: string, fix = "", source = ""): void {
  response.writeHead(status, { "content-type": "application/problem+json" });
  response.end(JSON.stringify({ type: `urn:deputy:error:${code}`, title: "refused", status, detail, code, fix, source, requestId: "req_test" }));
}
