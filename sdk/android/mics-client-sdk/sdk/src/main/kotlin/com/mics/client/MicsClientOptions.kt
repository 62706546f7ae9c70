package com.mics.client

import java.time.Duration

/** Gives the token for each attempt to connect, so that a reconnect never presents an expired one. */
public fun interface TokenProvider {
    /** The token. What it throws counts as a failed attempt. The time it takes is part of `connectTimeout`. */
    public suspend fun token(): String
}

/**
 * Where to connect and as whom.
 *
 * @property url the gateway's `ws://` or `wss://` address. Other query parameters are kept; `tenantId`, `token` and
 *   `deviceId` are replaced.
 * @property tokenProvider asked before every attempt to connect.
 */
public class MicsConnectParams(
    public val url: String,
    public val tenantId: String,
    public val tokenProvider: TokenProvider,
    public val deviceId: String,
) {
    /** The same token for ever. */
    public constructor(url: String, tenantId: String, token: String, deviceId: String) :
        this(url, tenantId, TokenProvider { token }, deviceId)
}

/** How serious a log line is. */
public enum class MicsLogLevel { DEBUG, INFO, WARN }

/** Takes the SDK's log lines. They never contain tokens, keys or message bodies. Must not block. */
public fun interface MicsLogger {
    public fun log(level: MicsLogLevel, message: String, error: Throwable?)
}

/**
 * Limits and times.
 *
 * @property connectTimeout from the call of the token provider to `connect_ack`.
 * @property ackTimeout wait for an ack before the message is sent again under the same id.
 * @property maxSendAttempts times a message is sent before the local ack FAILED `ack timeout`.
 * @property heartbeatInterval interval of `heartbeat_ping`; zero or less switches heartbeat and watchdog off.
 * @property autoReconnect come back after a lost connection, unless the close code forbids it.
 * @property reconnectMinDelay upper end of the first random pause before a reconnect; doubles with every attempt.
 * @property reconnectMaxDelay upper end of every such pause.
 * @property messageCrypto end-to-end encryption of bodies.
 * @property sendDeadline from the call to the outcome of a send, time spent reconnecting included.
 * @property watchdogSlack the connection is given up after two heartbeat intervals plus this without any frame.
 * @property limitedDelay first pause after close code 4429; doubles up to twelve times its length.
 * @property sendQueueCapacity messages waiting between the application and the connection; further sends wait.
 * @property maxInFlight messages taken up and not yet acked; further ones wait in the queue.
 * @property eventCapacity deliveries (and other events, each kind for itself) not yet read by the application; above
 *   it they are dropped and counted, see [MicsClient.dropped] and [MicsDelivery.droppedBefore].
 * @property dedupWindow deliveries remembered in order to drop repeated ones; 0 switches it off.
 * @property logger takes log lines; none by default.
 */
public data class MicsClientOptions(
    val connectTimeout: Duration = Duration.ofSeconds(5),
    val ackTimeout: Duration = Duration.ofSeconds(3),
    val maxSendAttempts: Int = 3,
    val heartbeatInterval: Duration = Duration.ofSeconds(10),
    val autoReconnect: Boolean = true,
    val reconnectMinDelay: Duration = Duration.ofMillis(200),
    val reconnectMaxDelay: Duration = Duration.ofSeconds(5),
    val messageCrypto: MessageCrypto? = null,
    val sendDeadline: Duration = Duration.ofSeconds(30),
    val watchdogSlack: Duration = Duration.ofSeconds(2),
    val limitedDelay: Duration = Duration.ofSeconds(5),
    val sendQueueCapacity: Int = 256,
    val maxInFlight: Int = 256,
    val eventCapacity: Int = 1024,
    val dedupWindow: Int = 1024,
    val logger: MicsLogger? = null,
) {
    init {
        require(connectTimeout > Duration.ZERO) { "connectTimeout must be above zero" }
        require(ackTimeout > Duration.ZERO) { "ackTimeout must be above zero" }
        require(sendDeadline > Duration.ZERO) { "sendDeadline must be above zero" }
        require(maxSendAttempts > 0) { "maxSendAttempts must be above zero" }
        require(sendQueueCapacity > 0) { "sendQueueCapacity must be above zero" }
        require(maxInFlight > 0) { "maxInFlight must be above zero" }
        require(eventCapacity > 0) { "eventCapacity must be above zero" }
        require(dedupWindow >= 0) { "dedupWindow must not be negative" }
        require(!reconnectMinDelay.isNegative && !reconnectMaxDelay.isNegative && !limitedDelay.isNegative) {
            "delays must not be negative"
        }
    }

    internal val heartbeats: Boolean get() = heartbeatInterval > Duration.ZERO
}
