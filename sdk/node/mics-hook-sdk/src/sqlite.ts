/**
 * Offline messages in SQLite: an example of a store, complete enough for one process. The event consumer puts messages
 * in, `/get-offline-messages` takes them out. Nothing is deleted because it was answered: an answer can get lost.
 */
import type { GetOfflineMessagesReply } from './hooks.js';
import type { GetOfflineMessagesRequest, MqEvent } from './messages.js';
import { eventKey } from './events.js';

/** What `node:sqlite`'s `DatabaseSync` and `better-sqlite3`'s `Database` have in common. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): {
    run(...values: (string | number | Uint8Array)[]): { changes: number | bigint };
    all(...values: (string | number | Uint8Array)[]): unknown[];
  };
}

export interface SqliteOfflineStoreOptions {
  /** How long a message is kept, in milliseconds. 7 days. */
  retentionMs?: number;
  /**
   * A device gets a message again when it asks within this time after the first answer, because that answer may have
   * been lost; clients drop repetitions. 60000.
   */
  repeatForMs?: number;
  /** Upper end of a page, in bytes of messages; one message always fits. 1 MiB. */
  maxPageBytes?: number;
  /** For tests. */
  now?: () => number;
}

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS offline_messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL, user TEXT NOT NULL, event_key TEXT NOT NULL UNIQUE,
    message BLOB NOT NULL, stored_at INTEGER NOT NULL);
  CREATE INDEX IF NOT EXISTS offline_messages_user ON offline_messages (tenant, user, id);
  CREATE INDEX IF NOT EXISTS offline_messages_age ON offline_messages (stored_at);
  CREATE TABLE IF NOT EXISTS offline_answers (
    message_id INTEGER NOT NULL REFERENCES offline_messages (id) ON DELETE CASCADE,
    device TEXT NOT NULL, first_at INTEGER NOT NULL,
    PRIMARY KEY (message_id, device)) WITHOUT ROWID;
`;

const PAGE = `
  SELECT id, message FROM offline_messages AS m
  WHERE tenant = ? AND user = ? AND id > ? AND NOT EXISTS (
    SELECT 1 FROM offline_answers WHERE message_id = m.id AND device = ? AND first_at < ?)
  ORDER BY id LIMIT ?`;

export class SqliteOfflineStore {
  private readonly options: Required<SqliteOfflineStoreOptions>;

  constructor(
    private readonly db: SqliteDatabase,
    options: SqliteOfflineStoreOptions = {},
  ) {
    const day = 24 * 3600 * 1000;
    this.options = { retentionMs: 7 * day, repeatForMs: 60_000, maxPageBytes: 1 << 20, now: Date.now, ...options };
    db.exec('PRAGMA foreign_keys = ON');
    db.exec(SCHEMA);
  }

  /** Keeps the message of an OFFLINE_MESSAGE event for its recipient; false when it is there already. */
  put(event: MqEvent): boolean {
    const sql = `INSERT OR IGNORE INTO offline_messages (tenant, user, event_key, message, stored_at) VALUES (?, ?, ?, ?, ?)`;
    const { tenantId, toUserId, eventData } = event;
    const { changes } = this.db.prepare(sql).run(tenantId, toUserId, eventKey(event), eventData, this.options.now());
    return Number(changes) > 0;
  }

  /** Answers `/get-offline-messages`: oldest first, byte for byte, each device for itself. */
  page(tenantId: string, request: GetOfflineMessagesRequest): GetOfflineMessagesReply {
    const { userId, deviceId } = request;
    const after = Number(request.cursor || 0);
    if (!Number.isSafeInteger(after)) return { ok: false, reason: 'invalid cursor' };
    const limit = Math.min(Math.max(request.maxMessages, 1), 1000);
    const now = this.options.now();
    const values = [tenantId, userId, after, deviceId, now - this.options.repeatForMs, limit + 1] as const;
    const rows = this.db.prepare(PAGE).all(...values) as { id: number; message: Uint8Array }[];
    const page = this.cut(rows.slice(0, limit));
    if (page.length > 0) this.noteAnswered(page.map(({ id }) => id), deviceId, now);
    const hasMore = page.length < rows.length;
    const nextCursor = hasMore ? String(page.at(-1)!.id) : '';
    return { ok: true, messages: page.map((row) => new Uint8Array(row.message)), hasMore, nextCursor };
  }

  /** Forgets what is too old; call it now and then. Gives the number of messages. */
  expire(): number {
    const { now, retentionMs } = this.options;
    return Number(this.db.prepare('DELETE FROM offline_messages WHERE stored_at < ?').run(now() - retentionMs).changes);
  }

  /** In one statement, and so in one write to the disk. */
  private noteAnswered(ids: number[], deviceId: string, now: number): void {
    const rows = ids.map(() => '(?, ?, ?)').join(', ');
    const sql = `INSERT OR IGNORE INTO offline_answers (message_id, device, first_at) VALUES ${rows}`;
    this.db.prepare(sql).run(...ids.flatMap((id) => [id, deviceId, now]));
  }

  private cut<T extends { message: Uint8Array }>(rows: T[]): T[] {
    let bytes = 0;
    const tooFar = rows.findIndex((row, i) => (bytes += row.message.length) > this.options.maxPageBytes && i > 0);
    return tooFar < 0 ? rows : rows.slice(0, tooFar);
  }
}
