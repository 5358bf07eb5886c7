import { randomUUID } from "node:crypto";

import { hear, notAnswered } from "./ask.js";
import type { Authorization } from "./authorization.js";
import type { AccessToken, Client } from "./client.js";
import type { Credential } from "./credential.js";
import { ConsentRequired, CredentialRefused, DeputyError, errorCode } from "./errors.js";
import { credentialFetch, type Holder } from "./fetch.js";
import { noSecret, type Secret } from "./secret.js";
import { consentArgs, consentFunction, type Stream } from "./stream.js";
import type { Call, Session, Tool } from "./tool.js";

/** How often a user is asked for one credential in one turn. */
const maxAsks = 3;
/** A token this close to its end is not used any more, in milliseconds. */
const nearlyStale = 10_000;

/** What a turn needs of its agent. */
export interface TurnWorld {
  agent: string;
  tools: ReadonlyMap<string, Tool>;
  deputy: Client;
  fetch: typeof globalThis.fetch;
  log: (level: "info" | "warn" | "error", message: string, detail: Record<string, unknown>) => void;
}

/** A credential in use during one turn. */
interface HeldToken {
  /** The last of those who use it, one after another: the one who waits for the user gets the answer for all. */
  queue: Promise<unknown>;
  token: AccessToken | undefined;
  /** A token that a tool said was refused; if Deputy has no other one, only the user can help. */
  refused: Secret;
  /** Ask the user, whatever Deputy has. */
  force: boolean;
  /** How often nothing came of asking; failure is the last of them. */
  failures: number;
  failure: unknown;
}

/** One prompt and the answer to it. */
export class Turn {
  readonly #held = new Map<string, HeldToken>();

  /** @internal */
  constructor(
    private readonly world: TurnWorld,
    private readonly wat: Secret,
    private readonly stream: Stream,
    readonly prompt: string,
    readonly session: Session,
    /** SPIFFE IDs of the agents that called this one for the user, nearest first. */
    readonly chain: readonly string[],
    readonly requestId: string,
    /** Aborted when the user goes away or the turn has lasted too long. */
    readonly signal: AbortSignal,
  ) {}

  /** The agent's tools, to show to a language model. */
  get tools(): Tool[] {
    return [...this.world.tools.values()];
  }

  /** Sends a piece of the answer to the user. */
  say(text: string): void {
    this.stream.say(text);
  }

  /** Runs a tool with these arguments and returns its result. */
  async call(name: string, input: unknown = {}): Promise<unknown> {
    const tool = this.world.tools.get(name);
    if (!tool) {
      const fix = "use one of the tools that were listed";
      throw new DeputyError({ code: "tool_not_found", message: `there is no tool ${JSON.stringify(name.slice(0, 64))}`, fix });
    }
    const id = `call-${randomUUID()}`;
    this.stream.call(id, name, input);
    try {
      const result = await this.#run(tool, id, input);
      // The result itself stays here: it may be a whole document, and the user asked for an answer.
      this.stream.done(id, name, { status: "ok" });
      return result;
    } catch (error) {
      this.stream.done(id, name, { status: "error", code: errorCode(error) });
      throw error;
    }
  }

  /**
   * Asks another agent of Deputy's runtime for the turn's user and returns its whole
   * answer. It gets a token of its own, for the same user, and sees which agents
   * called it. When it needs the user's consent, he sees the link in this turn's
   * stream, and the answer waits until he has decided.
   */
  async ask(agent: string, prompt: string): Promise<string> {
    const { deputy, log } = this.world;
    const call = await deputy.callToken(this.wat, agent, this.#options);
    if (!call.url) {
      const fix = "call it yourself, with the token that Client.callToken returns";
      throw new DeputyError({ code: "agent_elsewhere", message: "Deputy does not run that agent", fix });
    }
    const response = await deputy.invoke(call, prompt, this.session.id, this.signal);
    if (!response.ok) throw await notAnswered(response);
    return hear(response, {
      ask: ({ id, key, authorization }) => {
        // The user trusts the page that he came from, and that is not the other agent's.
        if (!deputy.isOwn(authorization.url)) {
          log("warn", "another agent sent the user elsewhere; that is not shown", { request: this.requestId });
          return false;
        }
        this.stream.call(id, consentFunction, consentArgs(id, key, authorization));
        return true;
      },
      decided: (id, outcome) => this.stream.done(id, consentFunction, outcome),
    });
  }

  /**
   * Makes the next use of the credential in this turn ask the user, even if Deputy
   * holds a good one: for a user who wants to choose another account.
   */
  async askAgain(credential: Credential): Promise<void> {
    await this.#hold(credential, (h) => {
      h.token = undefined;
      h.force = true;
    });
  }

  /** Runs a tool, and once more after {@link CredentialRefused}. */
  async #run(tool: Tool, callId: string, input: unknown): Promise<unknown> {
    const call: Call = {
      fetch: credentialFetch(this.world.fetch, tool.origins, this.#holder(callId), this.signal),
      session: this.session,
      signal: this.signal,
      clear: (credential) => this.#clear(credential),
      keys: (provider) => this.world.deputy.keys(this.wat, provider, this.#options),
    };
    try {
      return await tool.run(call, input);
    } catch (error) {
      if (!(error instanceof CredentialRefused) || this.signal.aborted) throw error;
    }
    for (const credential of new Set(tool.origins.values())) {
      await this.#hold(credential, (h) => {
        h.refused = h.token?.value ?? noSecret;
        h.token = undefined;
      });
    }
    return tool.run(call, input);
  }

  async #clear(credential: Credential): Promise<void> {
    await this.#hold(credential, async (h) => {
      h.token = undefined;
      await this.world.deputy.clear(this.wat, credential.provider, this.#options);
    });
  }

  #holder(callId: string): Holder {
    return {
      token: (credential) => {
        const good = (token: AccessToken): boolean => !token.expires || this.world.deputy.now() + nearlyStale < token.expires.getTime();
        return this.#get(credential, good, async (h) => {
          let got = await this.#ask(credential, callId, h.force, h.refused);
          if (got.value.equals(h.refused)) got = await this.#ask(credential, callId, true, noSecret);
          h.refused = noSecret;
          h.force = false;
          return got;
        });
      },
      renew: (credential, refused) => {
        const another = (token: AccessToken): boolean => !token.value.equals(refused.value); // another request of this turn was here first
        return this.#get(credential, another, () => this.#ask(credential, callId, false, refused.value));
      },
    };
  }

  /** Returns what is held, if it is good, and what ask gets otherwise; those who waited for that get the same answer, be it a refusal. */
  #get(credential: Credential, good: (token: AccessToken) => boolean, ask: (held: HeldToken) => Promise<AccessToken>): Promise<AccessToken> {
    const before = this.#held.get(credential.key)?.failures ?? 0;
    return this.#hold(credential, async (h) => {
      if (h.token && good(h.token)) return h.token;
      if (h.failures > before) throw h.failure;
      try {
        return (h.token = await ask(h));
      } catch (error) {
        h.failures++;
        h.failure = error;
        throw error;
      }
    });
  }

  /**
   * Lets one user of a credential do something with what is held, when those
   * before have done: they may wait for the person, and the others then get the
   * same answer instead of a second link.
   */
  #hold<T>(credential: Credential, use: (held: HeldToken) => T | Promise<T>): Promise<T> {
    let held = this.#held.get(credential.key);
    if (!held) {
      held = { queue: Promise.resolve(), token: undefined, refused: noSecret, force: false, failures: 0, failure: undefined };
      this.#held.set(credential.key, held);
    }
    const mine = held;
    const done = mine.queue.then(() => {
      this.signal.throwIfAborted();
      return use(mine);
    });
    mine.queue = done.catch(() => undefined);
    return done;
  }

  /**
   * Gets a credential from Deputy, and asks the user for as long as Deputy wants
   * that: the second time is for a user who did not grant all scopes.
   */
  async #ask(credential: Credential, callId: string, force: boolean, refused: Secret): Promise<AccessToken> {
    for (let asks = 0; asks < maxAsks; asks++) {
      try {
        return await this.world.deputy.token(this.wat, credential, { force: force && asks === 0, refused, ...this.#options });
      } catch (error) {
        if (!(error instanceof ConsentRequired)) throw error;
        await this.#consent(callId, error.authorization);
      }
    }
    throw new DeputyError({
      code: "consent_incomplete",
      message: `the user agreed, but not to all that ${credential.provider} was asked for`,
      fix: "try again and grant every permission on the list",
    });
  }

  /** Shows the link and waits for what the user makes of it. */
  async #consent(callId: string, a: Authorization): Promise<void> {
    const { agent, deputy, log } = this.world;
    const id = `adk-${randomUUID()}`;
    const key = `oauth_access_token:${agent}:${this.session.user.subject}:${a.provider}`;
    this.stream.call(id, consentFunction, consentArgs(callId, key, a));
    const about = { request: this.requestId, provider: a.provider, authorization: a.id };
    log("info", "waiting for the user's consent", about);
    try {
      await deputy.wait(this.wat, a, this.#options);
      this.stream.done(id, consentFunction, { status: "completed" });
      log("info", "consent is over", { ...about, outcome: "completed" });
    } catch (error) {
      this.stream.done(id, consentFunction, { status: "failed", code: errorCode(error) });
      log("info", "consent is over", { ...about, outcome: "failed", code: errorCode(error) });
      throw error;
    }
  }

  get #options(): { signal: AbortSignal; requestId: string } {
    return { signal: this.signal, requestId: this.requestId };
  }
}
