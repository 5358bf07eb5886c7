import { timingSafeEqual } from "node:crypto";
import { inspect } from "node:util";

const redacted = "[redacted]";

/**
 * A value that does not print: whatever turns it into text (templates, JSON,
 * `console.log`) says "[redacted]".
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value. The caller must not print, log or keep it. */
  reveal(): string {
    return this.#value;
  }

  /** Whether there is no value in it. */
  get empty(): boolean {
    return this.#value === "";
  }

  /** Whether both hold the same value, compared in constant time; two empty ones never do. */
  equals(other: Secret): boolean {
    const mine = Buffer.from(this.#value);
    const theirs = Buffer.from(other.#value);
    return mine.length > 0 && mine.length === theirs.length && timingSafeEqual(mine, theirs);
  }

  toString(): string {
    return redacted;
  }

  toJSON(): string {
    return redacted;
  }

  [inspect.custom](): string {
    return redacted;
  }
}

/** A secret without a value. */
export const noSecret = new Secret("");
