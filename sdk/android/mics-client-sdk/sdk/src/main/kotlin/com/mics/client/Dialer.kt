package com.mics.client

import com.mics.contracts.message.v1.ServerFrame
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.delay
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.withTimeoutOrNull
import okhttp3.OkHttpClient

/** From nothing to a session: token, socket, `connect_ack`; and the loop that repeats it with pauses. */
internal class Dialer(
    private val params: MicsConnectParams,
    private val options: MicsClientOptions,
    private val client: OkHttpClient,
    private val log: Log,
) {
    /** One attempt, within `connectTimeout` in all. Leaves no socket behind when it fails or is cancelled. */
    suspend fun establish(): Link {
        var link: Link? = null
        var done = false
        try {
            done = withTimeoutOrNull(options.connectTimeout.toMillis()) {
                val dialled = Link(client, Link.url(params, token())).also { link = it }
                dialled.session = awaitSession(dialled)
                true
            } ?: false
            return link?.takeIf { done } ?: throw MicsException.ConnectTimeout()
        } finally {
            if (!done) link?.abandon()
        }
    }

    /** Repeats [establish] until it succeeds or must not be repeated. [lost] is what ended the previous connection. */
    suspend fun reEstablish(backoff: Backoff, lost: CloseAction): Link {
        var action = lost
        while (true) {
            val pause = backoff.nextMillis(action)
            delay(pause)
            try {
                return establish()
            } catch (e: MicsException) {
                if (e.action == CloseAction.STOP) throw e
                log.info("reconnect attempt failed after a pause of $pause ms", e)
                action = e.action
            }
        }
    }

    private suspend fun token(): String = try {
        params.tokenProvider.token()
    } catch (e: Exception) {
        // A cancelled connect goes on as such; a time-out inside the provider is the provider's failure.
        if (e is CancellationException) currentCoroutineContext().ensureActive()
        throw MicsException.TokenFailed(e)
    }

    private suspend fun awaitSession(link: Link): MicsSession {
        for (event in link.inbox) {
            val frame = when (event) {
                is LinkEvent.Ended -> throw event.error
                is LinkEvent.Frame -> event.frame ?: continue
            }
            if (frame.payloadCase != ServerFrame.PayloadCase.CONNECT_ACK) {
                link.early.add(frame)
                continue
            }
            val ack = frame.connectAck
            if (ack.code != CONNECTED) throw MicsException.ConnectRefused(ack.code)
            return MicsSession(ack.tenantId, ack.userId, ack.deviceId, ack.nodeId, ack.traceId)
        }
        throw MicsException.Closed(1006, "closed before connect_ack")
    }

    private companion object {
        const val CONNECTED = 1000
    }
}

/** The application's logger, or nothing. A logger that throws must not end the connection. */
internal class Log(private val logger: MicsLogger?) {
    fun debug(message: String) = write(MicsLogLevel.DEBUG, message, null)

    fun info(message: String, error: Throwable? = null) = write(MicsLogLevel.INFO, message, error)

    fun warn(message: String, error: Throwable? = null) = write(MicsLogLevel.WARN, message, error)

    private fun write(level: MicsLogLevel, message: String, error: Throwable?) {
        runCatching { logger?.log(level, message, error) }
    }
}
