import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";

import { readAuthorization, type Authorization } from "./authorization.js";
import type { Credential } from "./credential.js";
import { ConsentRequired, DeputyError } from "./errors.js";
import { Wire } from "./http.js";
import { identity, parse, signedBy, type Identity, type User } from "./jwt.js";
import { KeySet } from "./keys.js";
import { noSecret, Secret } from "./secret.js";
import { sleep as realSleep, type Sleep } from "./time.js";
import { Waiter } from "./wait.js";

const maxTokenSize = 16 << 10;

/** How a {@link Client} is made. */
export interface ClientOptions {
  /** Deputy's public URL: the issuer and the audience of workload access tokens. */
  url: string;
  /** This agent's SPIFFE ID. Tokens minted for another workload are refused. Left out: not checked. */
  workload?: string | undefined;
  /**
   * The launch file, from which {@link Client.workloadToken} proves what this process is. For a workload that Deputy
   * did not launch it is the file in which Kubernetes projects a service account's token, or a SPIFFE helper keeps a
   * JWT-SVID, whose audience is url.
   */
  tokenFile?: string | undefined;
  /**
   * Lets other processes use the launch file, too. If not, the launch is this process's once it has exchanged the
   * file, and nobody else who reads the file can do anything with it.
   */
  unbound?: boolean | undefined;
  /**
   * For an agent that no ingress of Deputy's stands before: {@link Client.authenticate} exchanges the bearer token of
   * a request, its user's or another agent's call token, and takes nothing else. Whose tokens count is a setting of
   * the workload in Deputy.
   */
  direct?: boolean | undefined;
  /** Carries the requests to Deputy. */
  fetch?: typeof globalThis.fetch | undefined;
  /** The clock, in milliseconds. */
  now?: (() => number) | undefined;
  /** Waits between two attempts. */
  sleep?: Sleep | undefined;
}

/** What every method takes besides its subject. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** To find the request in Deputy's log. */
  requestId?: string | undefined;
}

/** What one agent calls another one with, for its user. */
export interface CallToken {
  token: Secret;
  expires: Date | undefined;
  /** Where that agent is reached: `${url}/invoke`, `${url}/a2a`, and so on. Empty if Deputy does not run it. */
  url: string;
}

/** A workload access token. */
export interface WorkloadToken {
  token: Secret;
  expires: Date | undefined;
}

/** What this process makes up for {@link Client.workloadToken}: all its clients are of the same launch. */
const launchBinding = randomBytes(24).toString("base64url");

/** What requests to a third party carry: one user's access token, or the API key or password that an operator gave Deputy. */
export interface AccessToken {
  /** "Bearer", as the third party says it; "Basic" for a password; empty for an API key. */
  type: string;
  /** The token, key or password. */
  value: Secret;
  /** The user name that belongs to a password. */
  user: string;
  /** That carries it: "Authorization", unless an API key's operator said otherwise. */
  header: string;
  /** Stands before an API key in that header, with its space. */
  prefix: string;
  /** Undefined when it does not expire, or the third party did not say. */
  expires: Date | undefined;
  scopes: string[];
}

/** Temporary keys of a cloud, as its own SDK takes them. */
export interface Keys {
  /** "volcengine", "aws". */
  cloud: string;
  /** Where the operator has what the keys are for; may be empty. */
  region: string;
  accessKeyId: string;
  secretAccessKey: Secret;
  sessionToken: Secret;
  expires: Date | undefined;
}

/**
 * Speaks to Deputy. {@link Agent} uses one behind the scenes; use it directly to
 * put Deputy under an agent framework of your own.
 */
export class Client {
  readonly workload: string | undefined;
  /** Whether no ingress stands before this agent; see {@link ClientOptions.direct}. */
  readonly direct: boolean;
  readonly now: () => number;
  readonly #tokenFile: string | undefined;
  readonly #unbound: boolean;
  readonly #fetch: typeof globalThis.fetch;
  readonly #wire: Wire;
  readonly #keys: KeySet;
  readonly #sleep: Sleep;

  constructor(options: ClientOptions) {
    this.workload = options.workload;
    this.direct = options.direct ?? false;
    this.now = options.now ?? Date.now;
    this.#tokenFile = options.tokenFile;
    this.#unbound = options.unbound ?? false;
    this.#fetch = options.fetch ?? globalThis.fetch;
    this.#sleep = options.sleep ?? realSleep;
    this.#wire = new Wire(options.url, this.#fetch, this.#sleep);
    this.#keys = new KeySet(() => this.#wire.once({ method: "GET", path: "/.well-known/jwks.json" }, 20_000), this.now);
  }

  /**
   * A client for the Deputy that launched this process, from DEPUTY_URL, DEPUTY_WORKLOAD and
   * DEPUTY_WORKLOAD_TOKEN_FILE. An agent of several processes sets DEPUTY_WORKLOAD_BINDING to "off" in its
   * runtime_envs; see {@link ClientOptions.unbound}. One that runs elsewhere, with all that set by whoever starts
   * it, sets DEPUTY_INGRESS to "off"; see {@link ClientOptions.direct}.
   */
  static fromEnvironment(env: NodeJS.ProcessEnv = process.env): Client {
    const need = (name: string): string => {
      const value = env[name];
      if (!value) {
        const fix = "Deputy's runtime sets it when it launches an agent from its agentkit.yaml; elsewhere, set it as docs/attestation.md says";
        throw new DeputyError({ code: "environment_incomplete", message: `${name} is not set`, fix });
      }
      return value;
    };
    const unbound = env["DEPUTY_WORKLOAD_BINDING"] === "off";
    const direct = env["DEPUTY_INGRESS"] === "off";
    return new Client({ url: need("DEPUTY_URL"), workload: need("DEPUTY_WORKLOAD"), tokenFile: need("DEPUTY_WORKLOAD_TOKEN_FILE"), unbound, direct });
  }

  /**
   * Returns what a workload access token proves: it is signed by Deputy, made for
   * Deputy, not expired, and minted for this workload. A token that proves nothing
   * is a {@link DeputyError} whose code begins with "token_".
   */
  async verify(token: Secret): Promise<Identity> {
    const parsed = parse(token.reveal());
    if (!signedBy(parsed, await this.#keys.key(parsed.keyId))) {
      throw new DeputyError({ code: "token_signature", message: "the token's signature is wrong" });
    }
    const id = identity(parsed, this.#wire.base, this.now());
    if (this.workload && id.workload !== this.workload) {
      throw new DeputyError({ code: "token_workload", message: "the token was minted for another workload" });
    }
    return id;
  }

  /**
   * Returns who sent a request, and the token to act for him with: the one that came
   * through the ingress or, with {@link ClientOptions.direct}, the one that Deputy
   * gives for the request's bearer token. For the routes of an agent that are not
   * {@link Agent}'s own. No other header says who is asking.
   */
  async authenticate(request: IncomingMessage, options: CallOptions = {}): Promise<Identity & { token: Secret }> {
    const given = request.headers["workloadaccesstoken"];
    const token = this.direct ? await this.#trade(request, options) : new Secret(typeof given === "string" ? given : "");
    if (token.empty) {
      throw new DeputyError({ code: "token_missing", message: "the request has no workload access token; it did not come through the ingress" });
    }
    return { ...(await this.verify(token)), token };
  }

  /** Exchanges a request's bearer token (RFC 6750, section 2.1). Without one, Deputy would give a token for the workload. */
  async #trade(request: IncomingMessage, options: CallOptions): Promise<Secret> {
    const given = request.headersDistinct["authorization"] ?? [];
    const bearer = /^bearer +([^ ]+) *$/i.exec(given[0] ?? "")?.[1];
    if (!bearer) throw new DeputyError({ code: "token_missing", message: "the request has no bearer token" });
    if (given.length > 1 || bearer.length > maxTokenSize) throw new DeputyError({ code: "token_malformed", message: "the bearer token is none" });
    return (await this.workloadToken(new Secret(bearer), options)).token;
  }

  /**
   * Returns the access token that the user and the workload of wat may use for a
   * provider, or the API key or password that the provider gives to the workload.
   * When the user has to be asked first, it throws {@link ConsentRequired} with
   * the link; {@link Client.wait} waits for the outcome. With force, a token that
   * Deputy holds is ignored and the user is asked anew. With refused, which the
   * third party refused, Deputy refreshes it, even if it should not have expired;
   * the same token comes back when there is no better one.
   */
  async token(wat: Secret, credential: Credential, options: CallOptions & { force?: boolean; refused?: Secret } = {}): Promise<AccessToken> {
    const answer = await this.#ask(wat, credential, options);
    const got = record(answer["credential"]);
    if (answer["status"] === "ready" && got) return accessToken(got);
    const need = readAuthorization(answer["authorization"]);
    if (answer["status"] === "authorization_required" && need?.id && isWebURL(need.url)) {
      throw new ConsentRequired({ ...need, provider: need.provider || credential.provider });
    }
    throw new DeputyError({ code: "answer_malformed", message: "Deputy answered neither with a credential nor with a link" });
  }

  /**
   * Returns temporary keys from the provider of that name, of type sts, for the
   * workload of wat. No user is asked. Deputy keeps them until shortly before they
   * expire; a caller should ask again rather than keep them.
   */
  async keys(wat: Secret, provider: string, options: CallOptions = {}): Promise<Keys> {
    const answer = await this.#ask(wat, { provider, scopes: [] }, options);
    const got = record(answer["credential"]);
    if (answer["status"] !== "ready" || got?.["type"] !== "sts") {
      const message = `the provider ${provider} does not give keys to sign with`;
      throw new DeputyError({ code: "credential_type", message, fix: "ask for its credential with token" });
    }
    const keys: Keys = {
      cloud: text(got, "cloud"),
      region: text(got, "region"),
      accessKeyId: text(got, "accessKeyId"),
      secretAccessKey: new Secret(text(got, "secretAccessKey")),
      sessionToken: new Secret(text(got, "sessionToken")),
      expires: date(got),
    };
    if (!keys.accessKeyId || keys.secretAccessKey.empty || keys.sessionToken.empty) {
      throw new DeputyError({ code: "answer_malformed", message: "Deputy answered with keys that are none" });
    }
    return keys;
  }

  /**
   * Returns when an authorization is over and the user agreed; throws
   * {@link AuthorizationFailed} when no credential will come of it. Deputy pushes
   * the news; the wait survives Deputy's restarts and lost connections, and ends at
   * the latest shortly after the authorization does.
   */
  wait(wat: Secret, authorization: Authorization, options: CallOptions = {}): Promise<void> {
    return this.follow(wat, authorization, () => undefined, options);
  }

  /** {@link Client.wait}, which tells of each state that the authorization comes to. It may miss some that are over at once. */
  async follow(wat: Secret, authorization: Authorization, tell: (authorization: Authorization) => void, options: CallOptions = {}): Promise<void> {
    await new Waiter(this.#wire, this.now, this.#sleep, wat, authorization, tell).wait(options.signal);
  }

  /**
   * Withdraws the permission of wat's workload to use wat's user's credential of a
   * provider. The next {@link Client.token} asks the user again. It is no error if
   * there is nothing to withdraw.
   */
  async clear(wat: Secret, provider: string, options: CallOptions = {}): Promise<void> {
    await this.#wire.call({ method: "DELETE", path: `/api/v1/credentials/${encodeURIComponent(provider)}`, bearer: wat, ...options });
  }

  /**
   * Exchanges the launch file for a workload access token. userToken is the JWT of
   * the user to act for, or the call token with which another agent called; without
   * one the workload acts for itself. The launch file is read each time, because the
   * runtime replaces it every few minutes.
   */
  workloadToken(userToken: Secret = noSecret, options: CallOptions = {}): Promise<WorkloadToken> {
    return this.#exchange(userToken.empty ? {} : { userToken: userToken.reveal() }, options);
  }

  /**
   * {@link Client.workloadToken} for a user without his proof. An operator must have
   * let the workload assert users of his issuer.
   */
  workloadTokenFor(user: User, options: CallOptions = {}): Promise<WorkloadToken> {
    return this.#exchange({ user: { issuer: user.issuer, subject: user.subject } }, options);
  }

  /**
   * Returns what wat's workload calls another agent of its pool with, for wat's
   * user: the bearer token of that one call, good for two minutes and for that agent
   * alone. An operator must have let the workload call it.
   */
  async callToken(wat: Secret, agent: string, options: CallOptions = {}): Promise<CallToken> {
    const answer = record(await this.#wire.call({ method: "POST", path: "/api/v1/call-tokens", bearer: wat, json: { agent }, ...options })) ?? {};
    const made = { token: new Secret(text(answer, "token")), expires: date(answer), url: text(answer, "url") };
    if (made.token.empty || (made.url !== "" && !isWebURL(made.url))) {
      throw new DeputyError({ code: "answer_malformed", message: "Deputy answered without a token or with an address that is none" });
    }
    return made;
  }

  /** @internal Asks another agent and returns its answer, of which nothing is read yet. */
  async invoke(call: CallToken, prompt: string, session: string, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = {
      authorization: `Bearer ${call.token.reveal()}`,
      "content-type": "application/json",
      accept: "text/event-stream, application/json",
    };
    if (session) headers["session_id"] = session;
    try {
      return await this.#fetch(`${call.url}/invoke`, { method: "POST", headers, body: JSON.stringify({ prompt }), redirect: "manual", signal });
    } catch {
      signal.throwIfAborted();
      throw new DeputyError({ code: "agent_unreachable", message: "the other agent does not answer" });
    }
  }

  /** @internal Whether a link is a page of this Deputy. */
  isOwn(url: string): boolean {
    return url.startsWith(`${this.#wire.base}/`);
  }

  async #exchange(wanted: Record<string, unknown>, options: CallOptions): Promise<WorkloadToken> {
    const json = this.#unbound ? wanted : { ...wanted, binding: launchBinding };
    const answer = record(await this.#wire.call({ method: "POST", path: "/api/v1/workload-tokens", bearer: await this.#launchToken(), json, ...options }));
    const token = new Secret(text(answer ?? {}, "token"));
    if (token.empty) throw new DeputyError({ code: "answer_malformed", message: "Deputy answered without a token" });
    return { token, expires: date(answer ?? {}) };
  }

  async #launchToken(): Promise<Secret> {
    const unreadable = (message: string): DeputyError => new DeputyError({ code: "launch_file_unreadable", message });
    if (!this.#tokenFile) {
      const fix = "Deputy's runtime names it in DEPUTY_WORKLOAD_TOKEN_FILE when it launches an agent; elsewhere, docs/attestation.md says what takes its place";
      throw new DeputyError({ code: "environment_incomplete", message: "there is no launch file", fix });
    }
    let content: string;
    try {
      content = await readFile(this.#tokenFile, "utf8");
    } catch {
      throw unreadable("the launch file cannot be read");
    }
    const token = new Secret(content.trim());
    if (token.empty || content.length > maxTokenSize) throw unreadable("the launch file holds no token");
    return token;
  }

  async #ask(
    wat: Secret,
    credential: Pick<Credential, "provider" | "scopes">,
    options: CallOptions & { force?: boolean; refused?: Secret },
  ): Promise<Record<string, unknown>> {
    const { force = false, refused = noSecret, ...rest } = options;
    const json = {
      provider: credential.provider,
      ...(credential.scopes.length > 0 && { scopes: credential.scopes }),
      ...(force && { force }),
      ...(!refused.empty && { refused: refused.reveal() }),
    };
    return record(await this.#wire.call({ method: "POST", path: "/api/v1/credentials", bearer: wat, json, ...rest })) ?? {};
  }
}

/** Returns what of a credential a request can carry. */
function accessToken(json: Record<string, unknown>): AccessToken {
  const t: AccessToken = { type: "", value: noSecret, user: "", header: "Authorization", prefix: "", expires: date(json), scopes: [] };
  switch (json["type"]) {
    case "oauth2":
      t.type = text(json, "tokenType") || "Bearer";
      t.value = new Secret(text(json, "accessToken"));
      t.scopes = Array.isArray(json["scopes"]) ? json["scopes"].filter((s) => typeof s === "string") : [];
      break;
    case "api_key":
      t.value = new Secret(text(json, "apiKey"));
      t.header = text(json, "header");
      t.prefix = text(json, "prefix");
      break;
    case "basic":
      t.type = "Basic";
      t.user = text(json, "username");
      t.value = new Secret(text(json, "password"));
      break;
    case "sts":
      throw new DeputyError({
        code: "credential_type",
        message: "the provider gives keys to sign with, and no header carries them",
        fix: "ask for them with keys",
      });
  }
  if (t.value.empty || !t.header) {
    throw new DeputyError({ code: "answer_malformed", message: "Deputy answered with a credential of which nothing is known" });
  }
  return t;
}

function record(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
}

export function text(json: Record<string, unknown>, key: string): string {
  const value = json[key];
  return typeof value === "string" ? value : "";
}

function date(json: Record<string, unknown>): Date | undefined {
  const at = new Date(text(json, "expiresAt"));
  return Number.isNaN(at.getTime()) ? undefined : at;
}

function isWebURL(s: string): boolean {
  return URL.canParse(s) && ["https:", "http:"].includes(new URL(s).protocol);
}
