import type { Authorization } from "./authorization.js";
import { Client } from "./client.js";
import type { Credential } from "./credential.js";
import { ConsentRequired } from "./errors.js";
import { credentialFetch } from "./fetch.js";
import { noSecret, Secret } from "./secret.js";
import { bindOrigins, type Fetch } from "./tool.js";
import { Wallet } from "./wallet.js";

/** How long a {@link Caller} uses a credential without a word from Deputy, in milliseconds: what was taken back is not used for longer. */
const keepFor = 60_000;
/** How long before its end a workload access token is replaced, in milliseconds. */
const renewBefore = 60_000;

/** How a {@link Caller} is made. */
export interface CallerOptions {
  /** Left out: {@link Client.fromEnvironment}. */
  deputy?: Client;
  /**
   * The workload access token of the request that is being answered; see {@link Client.authenticate}. Left out: the
   * workload acts for itself, with tokens that it gets for its launch file and renews.
   */
  token?: Secret;
  /**
   * Told of a question to the user, with the link to show him, and of each state that it comes to. The request waits
   * for the end of it. Left out: the request ends with a {@link ConsentRequired}.
   */
  ask?: (authorization: Authorization) => void;
  /** Carries the requests to third parties. */
  fetch?: typeof globalThis.fetch;
  /** Ends all of its requests. */
  signal?: AbortSignal;
}

/**
 * Sends requests with credentials outside of an {@link Agent}: from a job that
 * runs by the clock, or under an agent framework of your own.
 */
export class Caller {
  readonly #deputy: Client;
  readonly #fetch: typeof globalThis.fetch;
  readonly #signal: AbortSignal;
  readonly #wallet: Wallet;
  /** Of the workload itself. */
  #own: Promise<{ token: Secret; expires: Date | undefined }> | undefined;

  constructor(options: CallerOptions = {}) {
    const deputy = (this.#deputy = options.deputy ?? Client.fromEnvironment());
    this.#fetch = options.fetch ?? globalThis.fetch;
    this.#signal = options.signal ?? new AbortController().signal;
    const { token = noSecret, ask } = options;
    const calls = { signal: this.#signal };
    this.#wallet = new Wallet({
      deputy,
      options: calls,
      keep: keepFor,
      identity: (refused) => (token.empty ? this.#identity(refused) : Promise.resolve(token)),
      consent: async (wat, _callId, authorization) => {
        if (!ask) throw new ConsentRequired(authorization);
        ask(authorization);
        await deputy.follow(wat, authorization, ask, calls);
      },
    });
  }

  /**
   * Returns a fetch that sends requests to the origins of these credentials, each
   * with its credential, and to nowhere else. Any library that takes a fetch can be
   * given it: the official client of a third party, or one that speaks MCP.
   */
  fetch(...credentials: Credential[]): Fetch {
    return credentialFetch(this.#fetch, bindOrigins(credentials), this.#wallet.holder(""), this.#signal);
  }

  /** Returns the workload's own token, and another one than that which Deputy refused. One request gets it for all who wait. */
  async #identity(refused: Secret): Promise<Secret> {
    const held = this.#own;
    const now = this.#deputy.now();
    const got = await held?.catch(() => undefined);
    if (got && !got.token.equals(refused) && (!got.expires || now + renewBefore < got.expires.getTime())) return got.token;
    if (this.#own === held) this.#own = this.#deputy.workloadToken(noSecret, { signal: this.#signal });
    return (await this.#own)!.token;
  }
}
