// Package sqlitestore keeps offline messages in SQLite: an example of micshooksdk.OfflineStore that needs no server and no C
// compiler. One process writes; for several, do the same in the database you have.
package sqlitestore

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver

	"micshooksdk"
)

const schema = `
CREATE TABLE IF NOT EXISTS offline_messages (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant_id  TEXT NOT NULL,
    to_user_id TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    device_id  TEXT NOT NULL,
    msg_id     TEXT NOT NULL,
    event_time INTEGER NOT NULL,
    message    BLOB NOT NULL,
    stored_at  INTEGER NOT NULL,
    UNIQUE (tenant_id, to_user_id, user_id, device_id, msg_id, event_time)
);
CREATE INDEX IF NOT EXISTS offline_by_recipient ON offline_messages (tenant_id, to_user_id, id);
CREATE INDEX IF NOT EXISTS offline_by_age ON offline_messages (stored_at);
`

// maxPageBytes keeps a page well below the 8 MiB that the gateway reads.
const maxPageBytes = 4 << 20

// Store is a micshooksdk.OfflineStore.
type Store struct {
	db           *sql.DB
	maxPageBytes int
}

var _ micshooksdk.OfflineStore = (*Store)(nil)

// Open opens or makes the database file.
func Open(path string) (*Store, error) {
	pragmas := url.Values{"_pragma": {"journal_mode(WAL)", "busy_timeout(5000)", "synchronous(NORMAL)"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+pragmas.Encode())
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(schema); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Store{db: db, maxPageBytes: maxPageBytes}, nil
}

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Save stores the message of an OFFLINE_MESSAGE event; false when it was there already.
func (s *Store) Save(ctx context.Context, e micshooksdk.MqEvent) (bool, error) {
	n, err := s.change(ctx, `INSERT OR IGNORE INTO offline_messages
		(tenant_id, to_user_id, user_id, device_id, msg_id, event_time, message, stored_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		e.TenantID, e.ToUserID, e.UserID, e.DeviceID, e.MsgID, e.Timestamp, append([]byte{}, e.EventData...), time.Now().UnixMilli())
	return n == 1, err
}

// Page gives messages for a user after cursor, oldest first; at least one when there is one.
func (s *Store) Page(ctx context.Context, tenantID, userID string, maxMessages int, cursor string) (micshooksdk.OfflinePage, error) {
	last, _ := strconv.ParseInt(cursor, 10, 64) // an unknown cursor is the start
	limit := max(1, maxMessages)
	var page micshooksdk.OfflinePage
	rows, err := s.db.QueryContext(ctx, `SELECT id, message FROM offline_messages
		WHERE tenant_id = ? AND to_user_id = ? AND id > ? ORDER BY id LIMIT ?`, tenantID, userID, last, limit+1)
	if err != nil {
		return page, err
	}
	defer rows.Close()
	size := 0
	for rows.Next() {
		var id int64
		var message []byte
		if err := rows.Scan(&id, &message); err != nil {
			return page, err
		}
		if len(page.Messages) == limit || (size > 0 && size+len(message) > s.maxPageBytes) {
			page.HasMore, page.NextCursor = true, strconv.FormatInt(last, 10)
			return page, nil
		}
		page.Messages = append(page.Messages, message)
		size += len(message)
		last = id
	}
	return page, rows.Err()
}

// DeleteRead forgets messages that the user's client has confirmed; it gives their number.
func (s *Store) DeleteRead(ctx context.Context, tenantID, userID string, msgIDs ...string) (int64, error) {
	var deleted int64
	for _, id := range msgIDs {
		n, err := s.change(ctx, `DELETE FROM offline_messages WHERE tenant_id = ? AND to_user_id = ? AND msg_id = ?`, tenantID, userID, id)
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// DeleteOlderThan forgets messages stored longer ago; it gives their number.
func (s *Store) DeleteOlderThan(ctx context.Context, age time.Duration) (int64, error) {
	return s.change(ctx, `DELETE FROM offline_messages WHERE stored_at < ?`, time.Now().Add(-age).UnixMilli())
}

func (s *Store) change(ctx context.Context, query string, values ...any) (int64, error) {
	result, err := s.db.ExecContext(ctx, query, values...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
