/** How long to wait before the next attempt to connect. Arithmetic only. */
import type { CloseAction } from './errors.js';
import type { MicsClientOptions } from './options.js';

export class Backoff {
  private attempt = 0;
  private limited = 0;

  constructor(
    private readonly options: MicsClientOptions,
    private readonly random: () => number = Math.random,
  ) {}

  /**
   * Milliseconds. Full jitter (anything from nothing to the doubling ceiling) spreads the clients of a node that went
   * away; after a refusal for a limit at least half of the long pause is kept.
   */
  next(action: CloseAction): number {
    const { limitedDelayMs, reconnectMinDelayMs, reconnectMaxDelayMs } = this.options;
    if (action === 'retry_later') {
      const ceiling = limitedDelayMs * Math.min(2 ** this.limited++, 12);
      return ceiling / 2 + (ceiling / 2) * this.random();
    }
    return Math.min(reconnectMinDelayMs * 2 ** Math.min(this.attempt++, 16), reconnectMaxDelayMs) * this.random();
  }

  /** Forgets earlier failures; called once a connection has proved stable. */
  reset(): void {
    this.attempt = 0;
    this.limited = 0;
  }
}
