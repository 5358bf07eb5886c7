/** Waits, in milliseconds, or rejects with the signal's reason. */
export type Sleep = (ms: number, signal: AbortSignal | undefined) => Promise<void>;

/** The clock's own {@link Sleep}. */
export const sleep: Sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });

/**
 * A pause that doubles, from about 0.2 s to about 5 s, of which up to a half is
 * left to chance, so that many agents do not return in step.
 */
export class Backoff {
  #next = 200;

  constructor(private readonly sleep: Sleep) {}

  reset(): void {
    this.#next = 200;
  }

  /** Waits, and not less than Deputy said, in milliseconds. */
  async wait(signal: AbortSignal | undefined, atLeast = 0): Promise<void> {
    const full = this.#next;
    this.#next = Math.min(full * 2, 5_000);
    await this.sleep(Math.max(full / 2, atLeast) + (Math.random() * full) / 2, signal);
  }
}

/** A signal that is aborted with any of those given; undefined ones are left out. */
export function anySignal(...signals: (AbortSignal | undefined)[]): AbortSignal {
  return AbortSignal.any(signals.filter((s) => s !== undefined));
}
