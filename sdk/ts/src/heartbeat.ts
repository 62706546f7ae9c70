/** Keeps a connection alive and notices when the other side has gone silent. */

export interface HeartbeatEvents {
  /** Send a ping now. */
  ping(): void;
  /** A ping was not followed by any frame in time. */
  dead(): void;
}

export class Heartbeat {
  private next: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly intervalMs: number,
    private readonly slackMs: number,
    private readonly events: HeartbeatEvents,
  ) {
    // The first beat comes early by a random share: clients that connect together shall not beat together.
    if (intervalMs > 0) this.schedule(intervalMs * (0.5 + Math.random() / 2));
  }

  /** A frame came: the other side lives. */
  sawFrame(): void {
    clearTimeout(this.watchdog);
    this.watchdog = undefined;
  }

  stop(): void {
    clearTimeout(this.next);
    clearTimeout(this.watchdog);
  }

  private schedule(delayMs: number): void {
    this.next = setTimeout(() => {
      this.schedule(this.intervalMs);
      // Counted from the ping and not from the last frame: a page in the background may beat late without being dead.
      this.watchdog ??= setTimeout(() => this.events.dead(), this.intervalMs + this.slackMs);
      this.events.ping();
    }, delayMs);
  }
}
