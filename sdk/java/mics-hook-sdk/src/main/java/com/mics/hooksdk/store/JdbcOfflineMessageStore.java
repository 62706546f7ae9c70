package com.mics.hooksdk.store;

import com.mics.contracts.message.v1.MessageRequest;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import javax.sql.DataSource;

/**
 * {@link OfflineMessageStore} in one SQL table. {@link #createTable} fits H2, MySQL and SQLite; on PostgreSQL create the
 * table yourself, with {@code BYTEA} for the payload. Use a pool: every call takes a connection.
 */
public final class JdbcOfflineMessageStore implements OfflineMessageStore {
    private static final String WHERE_RECIPIENT = " WHERE tenant_id = ? AND recipient_id = ?";

    private final DataSource database;
    private final Clock clock;

    /**
     * Microseconds since 1970, always growing. All events of a sender are read by one process, so its order is kept
     * also when several write.
     */
    private final AtomicLong lastPosition = new AtomicLong();

    public JdbcOfflineMessageStore(DataSource database) {
        this(database, Clock.systemUTC());
    }

    public JdbcOfflineMessageStore(DataSource database, Clock clock) {
        this.database = database;
        this.clock = clock;
    }

    /** Creates the table when it is not there. */
    public void createTable() throws SQLException {
        try (Connection connection = database.getConnection(); Statement statement = connection.createStatement()) {
            statement.executeUpdate("""
                    CREATE TABLE IF NOT EXISTS mics_offline_message (
                      tenant_id VARCHAR(64) NOT NULL,
                      recipient_id VARCHAR(256) NOT NULL,
                      position BIGINT NOT NULL,
                      message_key CHAR(64) NOT NULL,
                      sender_id VARCHAR(256) NOT NULL,
                      msg_id VARCHAR(256) NOT NULL,
                      payload BLOB NOT NULL,
                      PRIMARY KEY (tenant_id, recipient_id, position),
                      UNIQUE (tenant_id, recipient_id, message_key))""");
        }
    }

    @Override
    public boolean save(String tenantId, String recipientId, MessageRequest message) throws SQLException {
        String sql = "INSERT INTO mics_offline_message"
                + " (tenant_id, recipient_id, position, message_key, sender_id, msg_id, payload) VALUES (?, ?, ?, ?, ?, ?, ?)";
        String key = key(message);
        try (Connection connection = database.getConnection()) {
            if (has(connection, tenantId, recipientId, key)) {
                return false;
            }
            try (PreparedStatement insert = connection.prepareStatement(sql)) {
                insert.setString(1, tenantId);
                insert.setString(2, recipientId);
                insert.setLong(3, nextPosition());
                insert.setString(4, key);
                insert.setString(5, message.getUserId());
                insert.setString(6, message.getMsgId());
                insert.setBytes(7, message.toByteArray());
                insert.executeUpdate();
                return true;
            } catch (SQLException e) {
                // Another thread may have been quicker with the same message.
                if (has(connection, tenantId, recipientId, key)) {
                    return false;
                }
                throw e;
            }
        }
    }

    @Override
    public Page page(String tenantId, String recipientId, String cursor, int max) throws Exception {
        String sql = "SELECT position, payload FROM mics_offline_message" + WHERE_RECIPIENT
                + " AND position > ? ORDER BY position LIMIT ?";
        long behind = position(cursor);
        int wanted = Math.max(1, Math.min(max, 1000));
        List<MessageRequest> messages = new ArrayList<>();
        try (Connection connection = database.getConnection();
                PreparedStatement select = connection.prepareStatement(sql)) {
            select.setString(1, tenantId);
            select.setString(2, recipientId);
            select.setLong(3, behind);
            select.setInt(4, wanted + 1);
            try (ResultSet rows = select.executeQuery()) {
                while (rows.next()) {
                    if (messages.size() == wanted) {
                        return new Page(messages, Long.toString(behind), true);
                    }
                    behind = rows.getLong(1);
                    messages.add(MessageRequest.parseFrom(rows.getBytes(2)));
                }
            }
        }
        return new Page(messages, "", false);
    }

    @Override
    public boolean delete(String tenantId, String recipientId, String senderId, String msgId) throws SQLException {
        String sql = "DELETE FROM mics_offline_message" + WHERE_RECIPIENT + " AND sender_id = ? AND msg_id = ?";
        try (Connection connection = database.getConnection();
                PreparedStatement delete = connection.prepareStatement(sql)) {
            delete.setString(1, tenantId);
            delete.setString(2, recipientId);
            delete.setString(3, senderId);
            delete.setString(4, msgId);
            return delete.executeUpdate() > 0;
        }
    }

    @Override
    public int purge(Duration age) throws SQLException {
        try (Connection connection = database.getConnection();
                PreparedStatement delete = connection.prepareStatement("DELETE FROM mics_offline_message WHERE position < ?")) {
            delete.setLong(1, clock.instant().minus(age).toEpochMilli() * 1000);
            return delete.executeUpdate();
        }
    }

    private boolean has(Connection connection, String tenantId, String recipientId, String key) throws SQLException {
        String sql = "SELECT 1 FROM mics_offline_message" + WHERE_RECIPIENT + " AND message_key = ?";
        try (PreparedStatement select = connection.prepareStatement(sql)) {
            select.setString(1, tenantId);
            select.setString(2, recipientId);
            select.setString(3, key);
            try (ResultSet rows = select.executeQuery()) {
                return rows.next();
            }
        }
    }

    private long nextPosition() {
        long now = clock.millis() * 1000;
        return lastPosition.updateAndGet(last -> Math.max(last + 1, now));
    }

    private static long position(String cursor) {
        try {
            return cursor.isEmpty() ? -1 : Long.parseLong(cursor);
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("not a cursor of this store", e);
        }
    }

    /** Names a message; the time is left out because a client's repetition has another one. */
    private static String key(MessageRequest message) {
        byte[] named = message.toBuilder().clearTimestampMs().build().toByteArray();
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(named));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every JDK has SHA-256", e);
        }
    }
}
