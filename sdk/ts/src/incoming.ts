/** Hands items to the application one at a time and in order; bounded, and every loss is told where it happened. */

export class IncomingQueue<T> {
  private readonly waiting: ({ item: T } | { dropped: number })[] = [];
  private items = 0;
  private busy = false;
  private dropped = 0;

  constructor(
    private readonly capacity: number,
    /** Takes one item; the next one follows when its promise is settled. Must not throw or reject. */
    private readonly take: (item: T) => void | Promise<void>,
    private readonly lost: (dropped: number) => void,
  ) {}

  /** False when there was no room and the item was dropped. */
  push(item: T): boolean {
    if (this.items >= this.capacity) {
      this.dropped++;
      return false;
    }
    this.reportLoss();
    this.items++;
    this.waiting.push({ item });
    if (!this.busy) this.run();
    return true;
  }

  private reportLoss(): void {
    if (this.dropped > 0) this.waiting.push({ dropped: this.dropped });
    this.dropped = 0;
  }

  private run(): void {
    this.busy = true;
    for (;;) {
      if (this.waiting.length === 0) this.reportLoss();
      const next = this.waiting.shift();
      if (next === undefined) break;
      if ('dropped' in next) {
        this.lost(next.dropped);
        continue;
      }
      const pending = this.take(next.item);
      if (pending) {
        void pending.then(() => {
          this.items--;
          this.run();
        });
        return;
      }
      this.items--;
    }
    this.busy = false;
  }
}
