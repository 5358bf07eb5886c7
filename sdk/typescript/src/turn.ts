import { randomUUID } from "node:crypto";

import { hear, notAnswered } from "./ask.js";
import type { Authorization } from "./authorization.js";
import type { Client } from "./client.js";
import type { Credential } from "./credential.js";
import { ConsentRequired, CredentialRefused, DeputyError, errorCode } from "./errors.js";
import { credentialFetch } from "./fetch.js";
import type { Outlet } from "./outlet.js";
import type { Secret } from "./secret.js";
import { consentArgs, consentFunction } from "./stream.js";
import { bindOrigins, type Call, type Fetch, type Session, type Tool } from "./tool.js";
import { Wallet } from "./wallet.js";

/** What a turn needs of its agent. */
export interface TurnWorld {
  agent: string;
  tools: ReadonlyMap<string, Tool>;
  deputy: Client;
  fetch: typeof globalThis.fetch;
  log: (level: "info" | "warn" | "error", message: string, detail: Record<string, unknown>) => void;
  progress: (turn: Turn, authorization: Authorization) => void;
}

/** One prompt and the answer to it. */
export class Turn {
  readonly #wallet: Wallet;

  /** @internal */
  constructor(
    private readonly world: TurnWorld,
    private readonly wat: Secret,
    private readonly out: Outlet,
    readonly prompt: string,
    readonly session: Session,
    /** SPIFFE IDs of the agents that called this one for the user, nearest first. */
    readonly chain: readonly string[],
    readonly requestId: string,
    /** Aborted when the user goes away or the turn has lasted too long. */
    readonly signal: AbortSignal,
  ) {
    this.#wallet = new Wallet({
      deputy: world.deputy,
      options: this.#options,
      keep: 0,
      identity: () => Promise.resolve(wat),
      consent: (_wat, callId, authorization) => this.#consent(callId, authorization),
    });
  }

  /** The agent's tools, to show to a language model. */
  get tools(): Tool[] {
    return [...this.world.tools.values()];
  }

  /** Sends a piece of the answer to the user. */
  say(text: string): void {
    this.out.say(text);
  }

  /** Runs a tool with these arguments and returns its result. */
  async call(name: string, input: unknown = {}): Promise<unknown> {
    const tool = this.world.tools.get(name);
    if (!tool) {
      const fix = "use one of the tools that were listed";
      throw new DeputyError({ code: "tool_not_found", message: `there is no tool ${JSON.stringify(name.slice(0, 64))}`, fix });
    }
    const id = `call-${randomUUID()}`;
    this.out.call(id, name, input);
    try {
      const result = await this.#run(tool, id, input);
      // The result itself stays here: it may be a whole document, and the user asked for an answer.
      this.out.done(id, name, { status: "ok" });
      return result;
    } catch (error) {
      this.out.done(id, name, { status: "error", code: errorCode(error) });
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
        if (!this.out.live) {
          throw new ConsentRequired({ ...authorization, state: "pending", reason: "", message: "", provider: agent, scopes: [], expiresAt: undefined });
        }
        this.out.call(id, consentFunction, consentArgs(id, key, authorization));
        return true;
      },
      decided: (id, outcome) => this.out.done(id, consentFunction, outcome),
    });
  }

  /**
   * Makes the next use of the credential in this turn ask the user, even if Deputy
   * holds a good one: for a user who wants to choose another account.
   */
  askAgain(credential: Credential): Promise<void> {
    return this.#wallet.askAgain(credential);
  }

  /**
   * Gets what the turn will need before it begins: the user sees the links of all
   * providers that he has to agree to side by side, and answers them in whatever
   * order. It returns when each is decided. One that came to nothing is thrown, and
   * several together as an AggregateError; the others can be used.
   */
  async authorize(...credentials: Credential[]): Promise<void> {
    const outcomes = await Promise.allSettled(credentials.map((credential) => this.#wallet.token(credential, `turn-${randomUUID()}`)));
    const errors = outcomes.flatMap((outcome) => (outcome.status === "rejected" ? [outcome.reason as unknown] : []));
    if (errors.length > 1) throw new AggregateError(errors, "several authorizations came to nothing");
    if (errors.length === 1) throw errors[0];
  }

  /**
   * Returns a fetch like {@link Call.fetch} for the whole turn, outside of tools: for
   * a library that keeps its connections while the turn lasts, such as one that
   * speaks MCP and lists another's tools.
   */
  fetch(...credentials: Credential[]): Fetch {
    return credentialFetch(this.world.fetch, bindOrigins(credentials), this.#wallet.holder(`turn-${randomUUID()}`), this.signal);
  }

  /** Runs a tool, and once more after {@link CredentialRefused}. */
  async #run(tool: Tool, callId: string, input: unknown): Promise<unknown> {
    const call: Call = {
      fetch: credentialFetch(this.world.fetch, tool.origins, this.#wallet.holder(callId), this.signal),
      session: this.session,
      signal: this.signal,
      clear: (credential) => this.#wallet.forget(credential, () => this.world.deputy.clear(this.wat, credential.provider, this.#options)),
      token: (credential) => this.#wallet.token(credential, callId),
      keys: (provider) => this.world.deputy.keys(this.wat, provider, this.#options),
    };
    try {
      return await tool.run(call, input);
    } catch (error) {
      if (!(error instanceof CredentialRefused) || this.signal.aborted) throw error;
    }
    const keys = new Set<string>();
    for (const credential of tool.needs) {
      if (keys.has(credential.key)) continue; // what was refused is noted already
      keys.add(credential.key);
      await this.#wallet.refused(credential);
    }
    return tool.run(call, input);
  }

  /** Shows the link and waits for what the user makes of it. */
  async #consent(callId: string, a: Authorization): Promise<void> {
    const { agent, deputy, log, progress } = this.world;
    if (!this.out.live) throw new ConsentRequired(a);
    const id = `adk-${randomUUID()}`;
    const key = `oauth_access_token:${agent}:${this.session.user?.subject ?? ""}:${a.provider}`;
    this.out.call(id, consentFunction, consentArgs(callId, key, a));
    const about = { request: this.requestId, provider: a.provider, authorization: a.id };
    log("info", "waiting for the user's consent", about);
    const tell = (now: Authorization): void => progress(this, now);
    tell(a);
    try {
      await deputy.follow(this.wat, a, tell, this.#options);
      this.out.done(id, consentFunction, { status: "completed" });
      log("info", "consent is over", { ...about, outcome: "completed" });
    } catch (error) {
      this.out.done(id, consentFunction, { status: "failed", code: errorCode(error) });
      log("info", "consent is over", { ...about, outcome: "failed", code: errorCode(error) });
      throw error;
    }
  }

  get #options(): { signal: AbortSignal; requestId: string } {
    return { signal: this.signal, requestId: this.requestId };
  }
}
