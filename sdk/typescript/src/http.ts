import { DeputyError } from "./errors.js";
import { noSecret, type Secret } from "./secret.js";
import { anySignal, Backoff, type Sleep } from "./time.js";

const maxAnswerSize = 1 << 20;
/** Of a request that Deputy answers at once, in milliseconds. */
const answerTimeout = 20_000;
export const attempts = 4;
/** How long Deputy may make a request wait by Retry-After, in milliseconds; a longer wait is the caller's decision. */
export const maxPause = 10_000;

/** One request to Deputy. */
export interface Request {
  method: "GET" | "POST" | "DELETE";
  path: string;
  bearer?: Secret;
  json?: unknown;
  accept?: string;
  requestId?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Speaks HTTP to Deputy: bounded, without redirects, which would carry a token elsewhere. */
export class Wire {
  readonly base: string;

  constructor(
    url: string,
    private readonly fetch: typeof globalThis.fetch,
    private readonly sleep: Sleep,
  ) {
    const u = URL.canParse(url) ? new URL(url) : undefined;
    if (!u || !["https:", "http:"].includes(u.protocol) || u.username || u.password || u.search || u.hash) {
      throw new DeputyError({ code: "url_invalid", message: "Deputy's URL is not an http or https URL", fix: "check DEPUTY_URL" });
    }
    this.base = url.replace(/\/$/, "");
  }

  /**
   * Sends a request of the native API and returns its JSON; undefined if there is
   * none. It is repeated only when Deputy cannot have acted on it or when acting
   * twice does no harm, which is so for all it is used for.
   */
  async call(request: Request): Promise<unknown> {
    const pause = new Backoff(this.sleep);
    for (let attempt = 1; ; attempt++) {
      let said = 0;
      try {
        return await this.once(request, answerTimeout);
      } catch (error) {
        request.signal?.throwIfAborted();
        if (attempt === attempts || !isTransient(error) || (said = retryAfter(error)) > maxPause) throw error;
      }
      await pause.wait(request.signal, said);
    }
  }

  /** Sends a request once and returns its JSON. timeout is in milliseconds. */
  async once(request: Request, timeout: number): Promise<unknown> {
    const signal = anySignal(request.signal, AbortSignal.timeout(timeout));
    const response = await this.send({ ...request, signal });
    if (!response.ok) throw await problem(response);
    let body: Uint8Array;
    try {
      body = await readBounded(response);
    } catch (error) {
      request.signal?.throwIfAborted();
      if (error instanceof DeputyError) throw error;
      throw unreachable(error);
    }
    if (body.length === 0) return undefined;
    try {
      return JSON.parse(new TextDecoder().decode(body));
    } catch {
      // The parser's own error would show a piece of the answer.
      throw new DeputyError({ code: "answer_malformed", message: "Deputy's answer is not JSON" });
    }
  }

  /** Sends a request and returns whatever comes back. */
  async send(request: Request): Promise<Response> {
    const headers: Record<string, string> = { accept: request.accept ?? "application/json" };
    const init: RequestInit = { method: request.method, headers, redirect: "manual", signal: request.signal ?? null };
    const bearer = request.bearer ?? noSecret;
    if (!bearer.empty) headers["authorization"] = `Bearer ${bearer.reveal()}`;
    if (request.requestId) headers["x-request-id"] = request.requestId;
    if (request.json !== undefined) {
      headers["content-type"] = "application/json";
      init.body = JSON.stringify(request.json);
    }
    try {
      return await this.fetch(this.base + request.path, init);
    } catch (error) {
      throw unreachable(error);
    }
  }
}

/** The cause is in words only: fetch's own errors may hold the request. */
export function unreachable(cause: unknown): DeputyError {
  const words = cause instanceof Error ? (cause.cause instanceof Error ? cause.cause.message : cause.message) : "";
  return new DeputyError({ code: "deputy_unreachable", message: "Deputy does not answer", fix: "try again in a moment", cause: words });
}

/** Whether the same request may succeed a moment later. */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof DeputyError)) return false;
  return error.status === 0 ? error.code === "deputy_unreachable" : [429, 502, 503, 504].includes(error.status);
}

/** What an error says about when to come back, in milliseconds. */
export function retryAfter(error: unknown): number {
  return error instanceof DeputyError ? error.retryAfter : 0;
}

/** Reads Retry-After (RFC 9110, section 10.2.3); a time counts from the answer's own Date, for the clocks may differ. */
function pauseOf(headers: Headers): number {
  const said = headers.get("retry-after") ?? "";
  if (/^\d{1,9}$/.test(said)) return Number(said) * 1_000;
  const pause = Date.parse(said) - Date.parse(headers.get("date") ?? "");
  return /^[A-Z]/.test(said) && pause > 0 ? pause : 0;
}

/** Reads an application/problem+json answer (RFC 9457). */
export async function problem(response: Response): Promise<DeputyError> {
  const status = response.status;
  const requestId = response.headers.get("x-request-id") ?? "";
  const retryAfter = pauseOf(response.headers);
  try {
    const p = JSON.parse(new TextDecoder().decode(await readBounded(response))) as Record<string, unknown>;
    const text = (key: string): string => (typeof p[key] === "string" ? p[key] : "");
    if (text("code")) {
      const message = text("detail") || text("title");
      const source = text("source");
      return new DeputyError({ status, code: text("code"), message, fix: text("fix"), source, requestId: text("requestId") || requestId, retryAfter });
    }
  } catch {
    // Then it is somebody else's answer, of which the status says enough.
  }
  return new DeputyError({ status, code: "unexpected_answer", message: `Deputy answered ${status}`, requestId, retryAfter });
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    if ((size += chunk.length) > maxAnswerSize) {
      throw new DeputyError({ code: "answer_malformed", message: "Deputy's answer is too large" });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
