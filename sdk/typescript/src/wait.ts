import { isFinal, readAuthorization, type Authorization } from "./authorization.js";
import { AuthorizationFailed, DeputyError } from "./errors.js";
import { attempts, isTransient, maxPause, problem, retryAfter, unreachable, type Wire } from "./http.js";
import type { Secret } from "./secret.js";
import { readEvents } from "./sse.js";
import { anySignal, Backoff, type Sleep } from "./time.js";

/** Deputy sends a heartbeat every 15 s; a stream that is silent for longer than this is broken, however open it looks. */
const silence = 40_000;
/** How long Deputy may hold a long poll. */
const pollFor = 25_000;
const pollTimeout = pollFor + 20_000;
/** How long after an authorization's end its end is still awaited. */
const overtime = 15_000;
/** Bounds a wait for an authorization that does not say when it ends. */
const maxWait = 15 * 60_000;

/** Follows one authorization until its end. */
export class Waiter {
  #stream = true;

  constructor(
    private readonly wire: Wire,
    private readonly now: () => number,
    private readonly sleep: Sleep,
    private readonly bearer: Secret,
    private readonly authorization: Authorization,
    private readonly tell: (authorization: Authorization) => void = () => undefined,
  ) {}

  /** The state that was told of last. */
  #told = "pending";

  /** Returns when the user agreed; throws {@link AuthorizationFailed} when no credential will come of it. */
  async wait(signal: AbortSignal | undefined): Promise<void> {
    const a = this.authorization;
    const now = this.now();
    const end = Math.min(now + maxWait, (a.expiresAt?.getTime() ?? Infinity) + overtime);
    const deadline = AbortSignal.timeout(Math.max(0, end - now));
    let last: Authorization;
    try {
      last = await this.#run(anySignal(signal, deadline));
    } catch (error) {
      signal?.throwIfAborted();
      if (deadline.aborted) throw new AuthorizationFailed({ ...a, state: "expired", reason: "", message: "" });
      throw error;
    }
    this.#tell(last);
    if (last.state !== "completed") throw new AuthorizationFailed({ ...last, id: a.id, provider: last.provider || a.provider });
  }

  async #run(signal: AbortSignal): Promise<Authorization> {
    const pause = new Backoff(this.sleep);
    for (let failures = 0, garbled = 0; ; ) {
      const began = this.now();
      let said = 0;
      try {
        const last = this.#stream ? await this.#watch(signal) : await this.#poll(signal);
        if (last) return last;
        // The connection ended in good order, before the authorization did. It is asked again at once if it had
        // lasted; a peer that hangs up immediately is not asked in a tight loop.
        failures = garbled = 0;
        if (this.now() - began >= 1_000) {
          pause.reset();
          continue;
        }
      } catch (error) {
        signal.throwIfAborted();
        if (isMalformed(error)) {
          if (++garbled === attempts) throw error;
          this.#stream = false;
        } else if (!isTransient(error)) {
          throw error;
        } else if (++failures === 2) {
          this.#stream = false; // something on the way may not like streams
        }
        said = Math.min(retryAfter(error), maxPause);
      }
      await pause.wait(signal, said);
    }
  }

  /** Reads the event stream until a final state; undefined if the stream ended before, or there is none. */
  async #watch(signal: AbortSignal): Promise<Authorization | undefined> {
    const silent = new AbortController();
    let watchdog = setTimeout(() => silent.abort(), silence);
    try {
      const response = await this.wire.send({
        method: "GET",
        path: `${this.#path}/events`,
        bearer: this.bearer,
        accept: "text/event-stream",
        signal: anySignal(signal, silent.signal),
      });
      if (!response.ok) {
        const refusal = await problem(response);
        // A refusal that is not Deputy's own: something between us does not let streams through.
        if (refusal.code !== "unexpected_answer" || refusal.status < 400 || refusal.status >= 500 || refusal.status === 429) throw refusal;
      }
      if (!response.ok || !response.body || !/^text\/event-stream\s*(;|$)/i.test(response.headers.get("content-type") ?? "")) {
        await response.body?.cancel().catch(() => undefined);
        this.#stream = false;
        return undefined;
      }
      for await (const event of readEvents(alive(response.body, () => (watchdog = this.#again(watchdog, silent))))) {
        if (event.name !== "state") continue;
        const a = readAuthorization(parse(event.data));
        if (a && isFinal(a.state)) return a;
        if (a) this.#tell(a);
      }
      return undefined;
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof DeputyError ? error : unreachable(error);
    } finally {
      clearTimeout(watchdog);
      silent.abort(); // hangs up, if the stream still runs
    }
  }

  #again(watchdog: NodeJS.Timeout, silent: AbortController): NodeJS.Timeout {
    clearTimeout(watchdog);
    return setTimeout(() => silent.abort(), silence);
  }

  /** Asks once; Deputy answers when the state is final, or after {@link pollFor}. */
  async #poll(signal: AbortSignal): Promise<Authorization | undefined> {
    const path = `${this.#path}?wait=${pollFor / 1000}s`;
    const a = readAuthorization(await this.wire.once({ method: "GET", path, bearer: this.bearer, signal }, pollTimeout));
    if (!a) throw new DeputyError({ code: "answer_malformed", message: "Deputy answered with something that is no authorization" });
    if (isFinal(a.state)) return a;
    this.#tell(a);
    return undefined;
  }

  /** Tells of a state once. Deputy says what it is; the rest is known. */
  #tell(a: Authorization): void {
    if (a.state === this.#told) return;
    this.#told = a.state;
    const { id, provider, url, scopes, expiresAt } = this.authorization;
    this.tell({ id, provider, url, scopes, expiresAt, state: a.state, reason: a.reason, message: a.message });
  }

  get #path(): string {
    return `/api/v1/authorizations/${encodeURIComponent(this.authorization.id)}`;
  }
}

/**
 * Whether an answer does not come from Deputy as it was sent. The page of a proxy,
 * in place of a Deputy that restarts, does not make a consent come to nothing; one
 * that stays does.
 */
function isMalformed(error: unknown): boolean {
  return error instanceof DeputyError && error.code === "answer_malformed";
}

/** Passes chunks on, and tells of each. */
async function* alive(chunks: AsyncIterable<Uint8Array>, heard: () => void): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of chunks) {
    heard();
    yield chunk;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new DeputyError({ code: "answer_malformed", message: "Deputy's event is not JSON" });
  }
}
