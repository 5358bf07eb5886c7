import type { Authorization } from "./authorization.js";
import type { AccessToken, CallOptions, Client } from "./client.js";
import type { Credential } from "./credential.js";
import { ConsentRequired, DeputyError } from "./errors.js";
import type { Holder } from "./fetch.js";
import { noSecret, type Secret } from "./secret.js";

/** How often a user is asked for one credential in one turn. */
const maxAsks = 3;
/** A token this close to its end is not used any more, in milliseconds. */
const nearlyStale = 10_000;

/** What a {@link Wallet} needs of whom it is for. */
export interface WalletOwner {
  readonly deputy: Client;
  readonly options: CallOptions;
  /** Returns the workload access token to ask with: if it can, another one than that which Deputy refused. */
  identity(refused: Secret): Promise<Secret>;
  /** Puts a question to the user and returns when he has agreed. */
  consent(wat: Secret, callId: string, authorization: Authorization): Promise<void>;
  /** How long a credential is used without a word from Deputy, in milliseconds. 0: until it expires. */
  readonly keep: number;
}

/** A credential in use. */
interface HeldToken {
  /** The last of those who use it, one after another: the one who waits for the user gets the answer for all. */
  queue: Promise<unknown>;
  token: AccessToken | undefined;
  /** When Deputy gave it, in milliseconds. */
  since: number;
  /** A token that a tool said was refused; if Deputy has no other one, only the user can help. */
  refused: Secret;
  /** Ask the user, whatever Deputy has. */
  force: boolean;
  /** How often nothing came of asking; failure is the last of them. */
  failures: number;
  failure: unknown;
}

/** The credentials in use during one turn, or by one {@link Caller}. */
export class Wallet {
  readonly #held = new Map<string, HeldToken>();

  constructor(private readonly owner: WalletOwner) {}

  /** Gives out credentials for one call of a tool. */
  holder(callId: string): Holder {
    return {
      token: (credential) => this.token(credential, callId),
      renew: (credential, refused) => {
        const another = (h: HeldToken): boolean => h.token !== undefined && !h.token.value.equals(refused.value); // another request was here first
        return this.#get(credential, another, () => this.#ask(credential, callId, false, refused.value));
      },
    };
  }

  /** Returns the credential; it may wait for the user. */
  token(credential: Credential, callId: string): Promise<AccessToken> {
    return this.#get(credential, (h) => this.#good(h), async (h) => {
      let got = await this.#ask(credential, callId, h.force, h.refused);
      if (got.value.equals(h.refused)) got = await this.#ask(credential, callId, true, noSecret);
      h.refused = noSecret;
      h.force = false;
      return got;
    });
  }

  /** Makes the next use ask the user, whatever Deputy has. */
  askAgain(credential: Credential): Promise<void> {
    return this.#hold(credential, (h) => {
      h.token = undefined;
      h.force = true;
    });
  }

  /** Notes that a tool said that what is held was refused. */
  refused(credential: Credential): Promise<void> {
    return this.#hold(credential, (h) => {
      h.refused = h.token?.value ?? noSecret;
      h.token = undefined;
    });
  }

  /** Forgets what is held while it does something. */
  forget(credential: Credential, meanwhile: () => Promise<void>): Promise<void> {
    return this.#hold(credential, async (h) => {
      h.token = undefined;
      await meanwhile();
    });
  }

  #good({ token, since }: HeldToken): boolean {
    const { deputy, keep } = this.owner;
    const now = deputy.now();
    return token !== undefined && (!token.expires || now + nearlyStale < token.expires.getTime()) && (keep === 0 || now - since < keep);
  }

  /** Returns what is held, if it is good, and what ask gets otherwise; those who waited for that get the same answer, be it a refusal. */
  #get(credential: Credential, good: (held: HeldToken) => boolean, ask: (held: HeldToken) => Promise<AccessToken>): Promise<AccessToken> {
    const before = this.#held.get(credential.key)?.failures ?? 0;
    return this.#hold(credential, async (h) => {
      if (h.token && good(h)) return h.token;
      if (h.failures > before) throw h.failure;
      try {
        h.token = await ask(h);
        h.since = this.owner.deputy.now();
        return h.token;
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
      held = { queue: Promise.resolve(), token: undefined, since: 0, refused: noSecret, force: false, failures: 0, failure: undefined };
      this.#held.set(credential.key, held);
    }
    const mine = held;
    const done = mine.queue.then(() => {
      this.owner.options.signal?.throwIfAborted();
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
      let wat = await this.owner.identity(noSecret);
      try {
        return await this.#request(wat, credential, { force: force && asks === 0, refused }, (other) => (wat = other));
      } catch (error) {
        if (!(error instanceof ConsentRequired)) throw error;
        await this.owner.consent(wat, callId, error.authorization);
      }
    }
    throw new DeputyError({
      code: "consent_incomplete",
      message: `the user agreed, but not to all that ${credential.provider} was asked for`,
      fix: "try again and grant every permission on the list",
    });
  }

  /** Asks Deputy once, and a second time if it refused the workload access token and there is another one. */
  async #request(wat: Secret, credential: Credential, wanted: { force: boolean; refused: Secret }, renewed: (wat: Secret) => void): Promise<AccessToken> {
    const { deputy, options } = this.owner;
    try {
      return await deputy.token(wat, credential, { ...wanted, ...options });
    } catch (error) {
      if (!(error instanceof DeputyError) || error.status !== 401) throw error;
      const other = await this.owner.identity(wat).catch(() => wat);
      if (other.equals(wat)) throw error;
      renewed(other);
      return deputy.token(other, credential, { ...wanted, ...options });
    }
  }
}
