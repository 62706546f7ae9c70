package com.mics.hooksdk.store;

import com.mics.contracts.message.v1.MessageRequest;
import java.time.Duration;
import java.util.List;

/**
 * Messages kept for users who were nowhere, for tenants with {@code offline_use_hook_pull}: filled from OFFLINE_MESSAGE
 * events, read by {@code /get-offline-messages}. Used by several threads at once.
 *
 * <p>An answer to the gateway is no proof of delivery, so reading does not delete: messages stay until the application
 * knows that they were read ({@link #delete}) or they are too old ({@link #purge}). Clients drop repetitions.
 */
public interface OfflineMessageStore {

    /** Some messages, oldest first. {@code nextCursor} asks for those behind them. */
    record Page(List<MessageRequest> messages, String nextCursor, boolean hasMore) {}

    /** Keeps a message for one recipient; false when it is there already (events can come twice). */
    boolean save(String tenantId, String recipientId, MessageRequest message) throws Exception;

    /**
     * Messages of one recipient behind {@code cursor}.
     *
     * @param cursor empty for the oldest, else a {@code nextCursor}; {@link IllegalArgumentException} for others.
     */
    Page page(String tenantId, String recipientId, String cursor, int max) throws Exception;

    /** Forgets one message that the recipient has read; false when it is not there. */
    boolean delete(String tenantId, String recipientId, String senderId, String msgId) throws Exception;

    /** Forgets what was saved longer ago than this; gives the number. */
    int purge(Duration age) throws Exception;
}
