import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";

import type { Authorization } from "./authorization.js";
import { Client } from "./client.js";
import { DeputyError, errorCode } from "./errors.js";
import type { Identity, User } from "./jwt.js";
import { json, refuse, wantsWhole, Whole, type Outlet } from "./outlet.js";
import type { Secret } from "./secret.js";
import { Stream } from "./stream.js";
import { anySignal } from "./time.js";
import type { Tool } from "./tool.js";
import { Turn, type TurnWorld } from "./turn.js";

/** Bounds the time in which a request's body arrives, in milliseconds. */
const bodyTimeout = 30_000;
/** How long running answers may take to finish after the agent was told to stop. */
const grace = 5_000;
/** Afterwards they are cancelled, and this long they may take to say so. */
const lastWords = 2_000;

const sessionName = /^[A-Za-z0-9_-]{1,128}$/;
const requestName = /^[A-Za-z0-9_.-]{1,128}$/;

/** How an {@link Agent} is declared. */
export interface AgentOptions {
  /** The author of the answer's events, and the name in logs. */
  name: string;
  /** What the agent can do. */
  tools?: Tool[];
  /**
   * Answers one prompt: it calls tools with {@link Turn.call} and speaks with
   * {@link Turn.say}. Of an error it throws, the user sees the words only if it is
   * a {@link DeputyError} or an {@link AuthorizationFailed}.
   */
  respond(turn: Turn): Promise<void> | void;
  /**
   * Told of each question that is put to the user, whose link is on the answer's stream by then, and of each state
   * that it comes to. It may {@link Turn.say} something.
   */
  progress?(turn: Turn, authorization: Authorization): void;
  /**
   * Lets in requests that act for no user: of programs with a key, or of everybody, if the agent's runtime_auth_type
   * is "none". {@link Session.user} has empty members then, and there are no credentials that a user has to give.
   */
  unattended?: boolean;
  /** Left out: {@link Client.fromEnvironment}. */
  deputy?: Client;
  /** Carries the tools' requests to third parties. */
  fetch?: typeof globalThis.fetch;
  /** Gets what operators want to know, and never a secret. Left out: a line of JSON on standard error. */
  log?: TurnWorld["log"];
  /** Bounds one answer, the user's time to decide included, in milliseconds. 15 minutes: workload access tokens do not live longer. */
  maxTurn?: number;
  /** Bounds the body of a request, in bytes. 256 KiB. */
  maxPrompt?: number;
}

/** Answers prompts on behalf of users. */
export class Agent {
  readonly #name: string;
  readonly #respond: AgentOptions["respond"];
  readonly #world: TurnWorld;
  readonly #unattended: boolean;
  readonly #maxTurn: number;
  readonly #maxPrompt: number;

  constructor(options: AgentOptions) {
    const tools = new Map<string, Tool>();
    for (const t of options.tools ?? []) {
      if (tools.has(t.name)) throw new DeputyError({ code: "agent_invalid", message: `there are two tools named "${t.name}"` });
      tools.set(t.name, t);
    }
    if (!options.name) throw new DeputyError({ code: "agent_invalid", message: "an agent needs a name" });
    this.#name = options.name;
    this.#respond = (turn) => options.respond(turn);
    this.#unattended = options.unattended ?? false;
    this.#maxTurn = options.maxTurn ?? 15 * 60_000;
    this.#maxPrompt = options.maxPrompt ?? 256 << 10;
    this.#world = {
      agent: options.name,
      tools,
      deputy: options.deputy ?? Client.fromEnvironment(),
      fetch: options.fetch ?? globalThis.fetch,
      progress: (turn, authorization) => options.progress?.(turn, authorization),
      log: options.log ?? ((level, message, detail) => process.stderr.write(`${JSON.stringify({ level, message, ...detail })}\n`)),
    };
  }

  /** The agent's routes, for a node:http server: POST /invoke, GET /ping and GET /health. signal ends all turns. */
  handler(signal?: AbortSignal): RequestListener {
    return (request, response) => {
      const path = (request.url ?? "").split("?", 1)[0];
      switch (`${request.method} ${path}`) {
        case "POST /invoke":
          void this.#invoke(request, response, signal);
          return;
        case "GET /ping":
          json(response, 200, { status: "Healthy" });
          return;
        case "GET /health":
          json(response, 200, { status: "healthy", timestamp: this.#world.deputy.now() / 1000, service: this.#name });
          return;
        default:
          refuse(response, 404, "route_not_found", "This agent answers POST /invoke, GET /ping and GET /health.");
      }
    };
  }

  /**
   * Answers requests at the port that the environment's PORT names, on 127.0.0.1
   * or, in a pod, on the address in DEPUTY_HOST, until signal, or without one
   * SIGTERM or SIGINT. Then it takes no new requests, lets running ones finish for
   * 5 s and cancels the rest. It returns after such a stop.
   */
  async serve(signal: AbortSignal = untilTold()): Promise<void> {
    const port = Number(process.env["PORT"]);
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      const fix = "Deputy's runtime sets it when it launches an agent";
      throw new DeputyError({ code: "environment_incomplete", message: "PORT is not set to a port number", fix });
    }
    const cancelled = new AbortController();
    const server = createServer({ headersTimeout: 10_000, requestTimeout: 0, keepAliveTimeout: 120_000, maxHeaderSize: 64 << 10 }, this.handler(cancelled.signal));
    // A connection that has had its answer must not keep an agent alive that was told to stop.
    server.on("request", (_, response: ServerResponse) => response.once("close", () => signal.aborted && setImmediate(() => server.closeIdleConnections())));
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, process.env["DEPUTY_HOST"] || "127.0.0.1", resolve);
    });
    await aborted(signal);
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    const cancel = setTimeout(() => cancelled.abort(new DOMException("the agent stops", "AbortError")), grace);
    const hangUp = setTimeout(() => server.closeAllConnections(), grace + lastWords);
    await closed;
    clearTimeout(cancel);
    clearTimeout(hangUp);
  }

  /** Answers one prompt. Who is asking is taken from the verified token and from nowhere else. */
  async #invoke(request: IncomingMessage, response: ServerResponse, stop: AbortSignal | undefined): Promise<void> {
    const { log } = this.#world;
    const given = header(request, "x-request-id");
    const requestId = requestName.test(given) ? given : `req_${randomUUID().replaceAll("-", "")}`;
    response.setHeader("x-request-id", requestId);
    const gone = new AbortController();
    const leave = (): void => gone.abort(new DOMException("the user went away", "AbortError"));
    response.once("close", () => response.writableFinished || leave());
    response.on("error", leave);
    const signal = anySignal(gone.signal, stop, AbortSignal.timeout(this.#maxTurn));
    try {
      const who = await this.#authenticate(request, response, requestId, signal);
      if (!who) return;
      const prompt = await this.#readPrompt(request, response, requestId);
      if (prompt === undefined) return;
      const id = header(request, "session_id");
      const session = { user: who.user, id: sessionName.test(id) ? id : "" };
      const out = this.#outlet(request, response, leave);
      try {
        await this.#respond(new Turn(this.#world, who.token, out, prompt, session, who.chain, requestId, signal));
        signal.throwIfAborted(); // an answer that was cut off is not finished
        out.finish();
      } catch (error) {
        log("warn", "turn failed", { request: requestId, code: errorCode(error), error: String(error) });
        out.fail(error);
      }
    } catch (error) {
      log("error", "request failed", { request: requestId, error: String(error) });
      if (response.headersSent) response.destroy();
      else refuse(response, 500, "internal", "Internal error.");
    }
  }

  /** Begins the answer in the form that the client asked for. */
  #outlet(request: IncomingMessage, response: ServerResponse, gone: () => void): Outlet {
    if (wantsWhole(request)) return new Whole(response);
    const stream = new Stream(response, this.#name, this.#world.deputy.now, gone);
    stream.begin();
    return stream;
  }

  /** Returns who is asking, or answers a request without a believable token. */
  async #authenticate(
    request: IncomingMessage,
    response: ServerResponse,
    requestId: string,
    signal: AbortSignal,
  ): Promise<(Identity & { user: User; token: Secret }) | undefined> {
    try {
      const caller = await this.#world.deputy.authenticate(request, { requestId, signal });
      const user = caller.user ?? (this.#unattended ? { issuer: "", subject: "" } : undefined);
      if (!user) throw new DeputyError({ code: "token_without_user", message: "the workload access token acts for nobody" });
      return { ...caller, user };
    } catch (error) {
      this.#world.log("warn", "caller refused", { request: requestId, error: String(error) });
      const [status, code, message] = this.#blame(error);
      if (status === 401) {
        response.setHeader("www-authenticate", `Bearer realm="deputy", error="invalid_token", error_description="${message.replaceAll(/["\\]/g, "")}"`);
      }
      refuse(response, status, code, message);
      return undefined;
    }
  }

  /**
   * What a caller is told who was not believed. Not being able to check a token is a
   * failure of ours, not of the caller; so is a proof of our own that Deputy does not
   * take.
   */
  #blame(error: unknown): [status: number, code: string, message: string] {
    if (error instanceof DeputyError) {
      if (error.status === 0 && error.code.startsWith("token_")) return [401, error.code, error.reason];
      if (error.source === "userToken" && (error.status === 401 || error.status === 403)) return [error.status, error.code, error.reason];
    }
    if (this.#world.deputy.direct) return [503, "exchange_failed", "the caller cannot be verified now, because Deputy does not exchange his token"];
    return [503, "keys_unavailable", "the caller cannot be verified now, because Deputy's keys cannot be read"];
  }

  /** Reads {"prompt":"…"}, or answers that it cannot. Other members are left alone: clients send some of their own. */
  async #readPrompt(request: IncomingMessage, response: ServerResponse, requestId: string): Promise<string | undefined> {
    const refused = (status: number, code: string, message: string): undefined => {
      this.#world.log("info", "request refused", { request: requestId, code });
      response.setHeader("connection", "close"); // the rest of the body is not read
      refuse(response, status, code, message);
    };
    const chunks: Buffer[] = [];
    let size = 0;
    const late = setTimeout(() => request.destroy(), bodyTimeout);
    try {
      // Not destroyed on return: the answer still has to go out.
      for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        if ((size += chunk.length) > this.#maxPrompt) {
          return refused(413, "prompt_too_large", `The request body is larger than ${this.#maxPrompt} bytes.`);
        }
        chunks.push(chunk);
      }
    } finally {
      clearTimeout(late);
    }
    let payload: unknown;
    try {
      payload = JSON.parse(Buffer.concat(chunks).toString());
    } catch {
      // Told below: it is no object either.
    }
    if (typeof payload !== "object" || payload === null || Array.isArray(payload)) {
      return refused(400, "json_invalid", "Invalid JSON payload. Please provide a valid JSON object in the request body.");
    }
    const { prompt } = payload as { prompt?: unknown };
    if (typeof prompt !== "string" || prompt.trim() === "") {
      return refused(400, "prompt_missing", 'The request needs a "prompt" that is a text and not empty.');
    }
    return prompt;
  }
}

/** Aborted by SIGTERM and SIGINT. */
function untilTold(): AbortSignal {
  const told = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => told.abort());
  return told.signal;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function header(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === "string" ? value : "";
}
