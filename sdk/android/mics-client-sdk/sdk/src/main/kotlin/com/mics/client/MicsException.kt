package com.mics.client

import java.io.IOException

/** What a client does after a close code. */
public enum class CloseAction {
    /** Another try cannot help until something else changes. */
    STOP,

    /** Try again soon, with jitter. */
    RETRY,

    /** Try again, but only after a long pause: a limit, or two clients with one device id. */
    RETRY_LATER,
    ;

    public companion object {
        /** Reasons of a 4001 that tell of the tenant's back end being out of reach, not of a bad token. */
        private val authUnreachable =
            setOf("hook timeout/failure", "hook queue rejected", "auth hook circuit open", "canceled")

        /** Tells what to do after a WebSocket close code, as the gateway's table of codes says. */
        @JvmStatic
        public fun of(code: Int, reason: String = ""): CloseAction = when (code) {
            4001 -> if (reason in authUnreachable) RETRY else STOP
            1002, 1007, 4002, 4409, 4410 -> STOP
            4429 -> RETRY_LATER
            else -> RETRY
        }
    }
}

/** Every error of this SDK. None of them contains a token or a message body. */
public sealed class MicsException(message: String, cause: Throwable? = null) : IOException(message, cause) {
    /** The close code or `connect_ack` code that the gateway gave; none for other failures. */
    public open val code: Int? get() = null

    /** What to do after this error ended an attempt to connect. */
    internal open val action: CloseAction get() = CloseAction.RETRY

    /** No `connect_ack` within `connectTimeout`. */
    public class ConnectTimeout : MicsException("connect timeout")

    /** The connection could not be opened: name, TCP, TLS or WebSocket handshake. */
    public class ConnectFailed(cause: Throwable?) :
        MicsException("connect failed: ${cause?.javaClass?.simpleName}: ${cause?.message}", cause)

    /** The gateway refused the upgrade with this HTTP status (503: it is draining or full). */
    public class HttpRefused(public val status: Int) :
        MicsException("gateway refused the upgrade with HTTP $status")

    /** The gateway answered with a `connect_ack` whose code is not 1000. */
    public class ConnectRefused(override val code: Int) :
        MicsException("gateway refused the connection with code $code") {
        override val action: CloseAction get() = CloseAction.of(code)
    }

    /**
     * The connection was closed. [code] is the WebSocket close code: 1005 when the gateway gave none, 1006 when the
     * connection broke without a close frame.
     */
    public class Closed(override val code: Int, public val reason: String) :
        MicsException("connection closed: $code $reason") {
        override val action: CloseAction get() = CloseAction.of(code, reason)
    }

    /** The token provider failed. */
    public class TokenFailed(cause: Throwable) : MicsException("token provider failed: ${cause.javaClass.simpleName}", cause)

    /** The client is not connected and does not come back by itself. */
    public class Disconnected : MicsException("client is disconnected")

    /** No outcome within `sendDeadline`; the message may or may not have arrived. */
    public class SendDeadline : MicsException("send deadline passed")

    /** A message with this id is still waiting for its ack. */
    public class DuplicateId(public val msgId: String) : MicsException("message id $msgId is already in flight")
}
