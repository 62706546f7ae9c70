package com.mics.client

import com.google.protobuf.ByteString
import com.mics.contracts.message.v1.ClientFrame
import com.mics.contracts.message.v1.HeartbeatPing
import com.mics.contracts.message.v1.MessageAck
import com.mics.contracts.message.v1.MessageRequest
import com.mics.contracts.message.v1.ServerFrame
import com.mics.contracts.message.v1.ServerFrame.PayloadCase
import kotlin.random.Random
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.ClosedReceiveChannelException
import kotlinx.coroutines.channels.onClosed
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.selects.onTimeout
import kotlinx.coroutines.selects.select
import kotlinx.coroutines.withTimeoutOrNull

/** Where the connection puts what it has to tell. */
internal interface EngineSink {
    fun state(state: MicsClientState)
    fun connected(session: MicsSession)
    fun closed(code: Int, reason: String, terminal: Boolean)

    /** False when there was no room and it is lost. */
    fun delivery(message: MessageRequest, decryptFailed: Boolean): Boolean
    fun ack(ack: MessageAck)
    fun serverError(code: Int, message: String)
}

/**
 * The coroutine behind one client: writes messages, reads frames, keeps the heartbeat, comes back after a loss. It is
 * the only place where these meet, runs alone, and never waits for the application.
 */
@OptIn(ExperimentalCoroutinesApi::class)
internal class Engine(
    private val options: MicsClientOptions,
    private val dialer: Dialer,
    private val jobs: Channel<SendJob>,
    private val stop: CompletableDeferred<Unit>,
    private val ready: CompletableDeferred<MicsSession>,
    private val sink: EngineSink,
    private val log: Log,
) {
    private sealed class Ended {
        object Stopped : Ended()
        class Lost(val error: MicsException) : Ended()
    }

    private val flight = InFlight()

    /** Order numbers of messages to write; [PING] stands for a heartbeat. */
    private val outbox = ArrayDeque<Long>()
    private val dedup = Dedup(options.dedupWindow)
    private val backoff = Backoff(options)
    private var session = MicsSession("", "", "", "", "")
    private var nextPing = 0L
    private var lastFrame = 0L

    /** The life of one connected client, from its first session to its end; [onEnd] is called just before the last state. */
    suspend fun run(first: Link, onEnd: () -> Unit) {
        var link: Link? = first
        var last: MicsException = MicsException.Disconnected()
        while (link != null) {
            val since = now()
            val ended = try {
                serve(link)
            } finally {
                link.abandon()
            }
            val error = (ended as? Ended.Lost)?.error ?: break
            val again = options.autoReconnect && error.action != CloseAction.STOP
            log.info("connection lost, ${if (again) "reconnecting" else "staying away"}", error)
            sink.closed(error.code ?: BROKEN, (error as? MicsException.Closed)?.reason.orEmpty(), !again)
            last = error
            if (!again) break
            // A connection that ends at once must not start the pauses over.
            if (now() - since >= options.reconnectMaxDelay.toNanos()) backoff.reset()
            sink.state(MicsClientState.RECONNECTING)
            link = try {
                reconnect(error.action)
            } catch (e: MicsException) {
                log.warn("gave up reconnecting", e)
                sink.closed(e.code ?: BROKEN, (e as? MicsException.Closed)?.reason.orEmpty(), true)
                last = e
                break
            }
        }
        finish(last, onEnd)
    }

    private suspend fun serve(link: Link): Ended {
        begin(link)
        while (true) {
            onTimer(link)?.let { return it }
            write(link)
            val ended = select<Ended?> {
                stop.onAwait { Ended.Stopped }
                link.inbox.onReceiveCatching { event ->
                    event.onClosed { return@onReceiveCatching Ended.Lost(MicsException.Closed(BROKEN, "connection ended")) }
                    onEvent(event.getOrThrow())
                }
                if (hasRoom()) jobs.onReceive { takeUp(it); null }
                onTimeout(pauseMillis()) { null }
            }
            if (ended is Ended.Stopped) leave(link)
            if (ended != null) return ended
        }
    }

    private fun begin(link: Link) {
        lastFrame = now()
        // The first beat comes early by a random share, so that clients that connect together do not beat together.
        nextPing = lastFrame + (options.heartbeatInterval.toNanos() * Random.nextDouble(0.5, 1.0)).toLong()
        outbox.clear()
        outbox.addAll(flight.rewind())
        session = link.session
        log.debug("connected to ${session.nodeId}, trace ${session.traceId}")
        sink.state(MicsClientState.CONNECTED)
        sink.connected(session)
        ready.complete(session)
        link.early.forEach(::onFrame)
    }

    private fun write(link: Link) {
        while (outbox.isNotEmpty() && link.hasRoom()) {
            val order = outbox.removeFirst()
            val frame = ClientFrame.newBuilder()
            if (order == PING) {
                frame.setHeartbeatPing(HeartbeatPing.newBuilder().setTimestampMs(System.currentTimeMillis()))
            } else {
                val request = flight.request(order) ?: continue
                frame.setMessage(request.toBuilder().setTimestampMs(System.currentTimeMillis()))
                flight.markWritten(order, now(), options.ackTimeout.toNanos())
            }
            link.send(frame.build())
        }
    }

    /** Takes a message from the application into the order of messages. */
    private fun takeUp(job: SendJob) {
        if (job.abandoned) return
        val request = job.request.toBuilder()
            .setTenantId(session.tenantId).setUserId(session.userId).setDeviceId(session.deviceId).build()
        val order = flight.add(job.withRequest(request))
        if (order == null) {
            job.reply.completeExceptionally(MicsException.DuplicateId(request.msgId))
        } else {
            outbox.addLast(order)
        }
    }

    private fun onEvent(event: LinkEvent): Ended? {
        lastFrame = now()
        when (event) {
            is LinkEvent.Ended -> return Ended.Lost(event.error)
            is LinkEvent.Frame -> event.frame?.let(::onFrame) ?: log.warn("unreadable frame from the gateway")
        }
        return null
    }

    private fun onFrame(frame: ServerFrame) {
        when (frame.payloadCase) {
            PayloadCase.DELIVERY -> onDelivery(frame.delivery.message)
            PayloadCase.ACK -> flight.finish(frame.ack.msgId)?.let { settle(it, frame.ack) }
            PayloadCase.ERROR -> {
                if (frame.error.code == FRAME_TOO_LARGE) {
                    flight.finishLargest()?.let { settle(it, localAck(it.request.msgId, "frame too large")) }
                }
                sink.serverError(frame.error.code, frame.error.message)
            }
            else -> Unit
        }
    }

    private fun onDelivery(message: MessageRequest) {
        val name = dedup.nameOf(message)
        if (dedup.knows(name)) return log.debug("repeated delivery ${message.msgId} dropped")
        // One that was lost may come again.
        if (handOver(message)) dedup.remember(name)
    }

    private fun handOver(message: MessageRequest): Boolean {
        val crypto = options.messageCrypto
        if (crypto == null || message.msgBody.isEmpty) return sink.delivery(message, false)
        val body = runCatching { crypto.decrypt(message.msgBody.toByteArray()) }
        val opened = body.map { message.toBuilder().setMsgBody(ByteString.copyFrom(it)).build() }
        return sink.delivery(opened.getOrDefault(message), body.isFailure)
    }

    /** Ends a message with an ack, the gateway's or a local one. */
    private fun settle(job: SendJob, ack: MessageAck) {
        sink.ack(ack)
        job.reply.complete(ack)
    }

    private fun onTimer(link: Link): Ended? {
        val now = now()
        val due = flight.due(now, options.maxSendAttempts)
        outbox.addAll(due.again)
        due.silent.forEach { settle(it, localAck(it.request.msgId, "ack timeout")) }
        if (!options.heartbeats) return null
        // After a sleep of the device frames may be waiting unread: those count.
        if (now - lastFrame >= silenceLimit() && link.inbox.isEmpty) {
            return Ended.Lost(MicsException.Closed(BROKEN, "no frame from the gateway"))
        }
        if (now - nextPing >= 0) {
            // A stuck socket gets no second ping on top of the first.
            if (PING !in outbox) outbox.addLast(PING)
            nextPing = now + options.heartbeatInterval.toNanos()
        }
        return null
    }

    private fun silenceLimit(): Long = options.heartbeatInterval.toNanos() * 2 + options.watchdogSlack.toNanos()

    private fun hasRoom(): Boolean {
        if (flight.size >= options.maxInFlight) flight.dropAbandoned()
        return flight.size < options.maxInFlight && outbox.size < OUTBOX
    }

    /** Until the next thing can become due. */
    private fun pauseMillis(): Long {
        if (outbox.isNotEmpty()) return BLOCKED_PAUSE_MS
        val now = now()
        val beats = if (options.heartbeats) listOf(nextPing - now, lastFrame + silenceLimit() - now) else emptyList()
        val next = (beats + listOfNotNull(flight.nextDue()?.minus(now))).minOrNull() ?: return IDLE_PAUSE_MS
        return (next / 1_000_000 + 1).coerceIn(1, IDLE_PAUSE_MS)
    }

    /** Comes back; meanwhile sends are taken up. Null: stopped. */
    private suspend fun reconnect(lost: CloseAction): Link? = coroutineScope {
        flight.rewind()
        var link: Link? = null
        var taken = false
        val attempt = async { runCatching { dialer.reEstablish(backoff, lost).also { link = it } } }
        try {
            var result: Result<Link?>? = null
            while (result == null) {
                result = select {
                    stop.onAwait { Result.success(null) }
                    attempt.onAwait { taken = true; it }
                    if (hasRoom()) jobs.onReceive { takeUp(it); null }
                    onTimeout(IDLE_PAUSE_MS) { null }
                }
            }
            result.getOrThrow()
        } finally {
            attempt.cancelAndJoin()
            if (!taken) link?.abandon()
        }
    }

    /** Says goodbye and reads what is still under way, for a bounded time. */
    private suspend fun leave(link: Link) {
        sink.state(MicsClientState.DISPOSING)
        link.leave()
        withTimeoutOrNull(LEAVE_MS) {
            try {
                while (onEvent(link.inbox.receive()) == null) Unit
            } catch (_: ClosedReceiveChannelException) {
                // The socket is closed, which is what we wait for.
            }
        }
    }

    /** Every message that was taken over gets an outcome before the client is gone. */
    private fun finish(error: MicsException, onEnd: () -> Unit) {
        jobs.close()
        (flight.takeAll() + jobs.rest()).forEach { refuse(it, error) }
        onEnd()
        sink.state(MicsClientState.DISCONNECTED)
    }

    private fun refuse(job: SendJob, error: MicsException) {
        sink.ack(localAck(job.request.msgId, "disconnected"))
        job.reply.completeExceptionally(error)
    }

    private fun now(): Long = System.nanoTime()

    private companion object {
        const val PING = -1L
        const val OUTBOX = 64
        const val BROKEN = 1006
        const val FRAME_TOO_LARGE = 4401
        const val BLOCKED_PAUSE_MS = 10L
        const val IDLE_PAUSE_MS = 1000L
        const val LEAVE_MS = 1000L
    }
}

/** What a closed channel still holds. */
internal fun Channel<SendJob>.rest(): List<SendJob> = generateSequence { tryReceive().getOrNull() }.toList()
