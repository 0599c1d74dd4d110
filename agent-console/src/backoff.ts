/** Waiting times between attempts: exponential with full jitter, so that a whole desk doesn't return at once. Pure. */
export class Backoff {
  #attempt = 0;

  constructor(
    private readonly firstMs = 500,
    private readonly mostMs = 8_000,
  ) {}

  /** Milliseconds to wait before the next attempt; `random` is in [0, 1). */
  next(random: number): number {
    const ceiling = Math.min(this.mostMs, this.firstMs * 2 ** this.#attempt);
    this.#attempt += 1;
    return Math.round(random * ceiling);
  }
}
