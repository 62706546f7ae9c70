/** Recognises a request that was sent before: a signature alone does not say that it is not a copy. */

export interface ReplayCache {
  /**
   * Remembers `key` until `untilMs` (Unix milliseconds) and tells whether it was there already, in one step. Several
   * processes behind one address need a shared one (Redis: `SET key 1 NX PXAT untilMs`).
   */
  seen(key: string, untilMs: number): boolean | Promise<boolean>;
}

/** In memory of this process. Bounded: beyond `capacity` the oldest are forgotten. */
export class MemoryReplayCache implements ReplayCache {
  private readonly until = new Map<string, number>();

  constructor(
    private readonly capacity = 200_000,
    private readonly now: () => number = Date.now,
  ) {}

  seen(key: string, untilMs: number): boolean {
    const now = this.now();
    // Nearly in the order of their time: keys come with the clock of the gateways.
    for (const [oldest, end] of this.until) {
      if (end > now && this.until.size < this.capacity) break;
      this.until.delete(oldest);
    }
    const known = (this.until.get(key) ?? 0) > now;
    if (!known) this.until.set(key, untilMs);
    return known;
  }

  get size(): number {
    return this.until.size;
  }
}
