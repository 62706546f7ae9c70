package com.mics.client

import com.mics.contracts.message.v1.MessageRequest

/** Where the connection is in its life. */
public enum class MicsClientState {
    DISCONNECTED,
    CONNECTING,
    CONNECTED,
    RECONNECTING,

    /** `disconnect()` was called and the connection is being closed. */
    DISPOSING,
}

/**
 * What `connect_ack` said.
 *
 * @property traceId names this connection in the gateway's logs.
 */
public data class MicsSession(
    val tenantId: String,
    val userId: String,
    val deviceId: String,
    val nodeId: String,
    val traceId: String,
)

/**
 * A message for this user.
 *
 * @property message the message; its body is decrypted when the client has a [MessageCrypto].
 * @property decryptFailed the body could not be decrypted and is handed over as it came.
 * @property droppedBefore deliveries lost just before this one because the application read too slowly.
 */
public class MicsDelivery(
    public val message: MessageRequest,
    public val decryptFailed: Boolean,
    public val droppedBefore: Long,
)

/** Turns in the life of a client, in the order in which they happened. */
public sealed class MicsLifecycle {
    public data class StateChanged(val state: MicsClientState) : MicsLifecycle()

    /** A session was opened: at the start and after every reconnect. */
    public data class Connected(val session: MicsSession) : MicsLifecycle()

    /**
     * The connection ended with this WebSocket close code (1005: none given, 1006: broken).
     *
     * @property terminal the client does not come back by itself.
     */
    public data class Closed(val code: Int, val reason: String, val terminal: Boolean) : MicsLifecycle()
}
