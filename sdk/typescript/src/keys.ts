import type { KeyObject } from "node:crypto";

import { DeputyError } from "./errors.js";
import { readKeys } from "./jwt.js";

/** After this, Deputy is asked again. */
const fresh = 10 * 60_000;
/** So long may Deputy's key page be out of reach. */
const stale = 24 * 3600_000;
/** Least time between two requests, whatever is asked for: the key id is chosen by whoever sent the token. */
const pause = 30_000;

/** The cache of Deputy's public keys. */
export class KeySet {
  #keys: Map<string, KeyObject> | undefined;
  #fetched = 0;
  #tried = -Infinity;
  #running: Promise<void> | undefined;

  constructor(
    private readonly fetchKeys: () => Promise<unknown>,
    private readonly now: () => number,
  ) {}

  /** Returns the key of that id. */
  async key(id: string): Promise<KeyObject> {
    const known = this.#keys?.get(id);
    if (known && this.now() - this.#fetched < fresh) return known;
    let failure: unknown;
    if (!this.#keys || this.now() - this.#tried >= pause) {
      // One request for all who wait; none of them may cancel it for the others.
      this.#running ??= this.#fetch().finally(() => (this.#running = undefined));
      await this.#running.catch((error: unknown) => (failure = error));
    }
    const key = this.#keys?.get(id);
    if (key && this.now() - this.#fetched < stale) return key;
    throw failure ?? new DeputyError({ code: "token_unknown_key", message: "the token is signed with a key that Deputy does not publish" });
  }

  async #fetch(): Promise<void> {
    this.#tried = this.now();
    this.#keys = readKeys(await this.fetchKeys());
    this.#fetched = this.#tried;
  }
}
