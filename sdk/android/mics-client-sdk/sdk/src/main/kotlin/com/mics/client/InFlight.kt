package com.mics.client

import com.mics.contracts.message.v1.AckStatus
import com.mics.contracts.message.v1.MessageAck
import com.mics.contracts.message.v1.MessageRequest
import java.util.TreeMap
import kotlinx.coroutines.CompletableDeferred

/** One message on its way from the application to the connection. */
internal class SendJob(
    val request: MessageRequest,
    val reply: CompletableDeferred<MessageAck> = CompletableDeferred(),
) {
    fun withRequest(request: MessageRequest): SendJob = SendJob(request, reply)

    /** Nobody waits for this message any more. */
    val abandoned: Boolean get() = reply.isCancelled
}

/**
 * Messages taken over from the application and not yet acked: order, attempts, ack time-outs. Does no I/O and reads no
 * clock; times are nanoseconds of one monotonic clock, passed in.
 */
internal class InFlight {
    private class Entry(val job: SendJob) {
        var attempts = 0

        /** On the wire and waiting for its ack; false while queued for writing. */
        var written = false
    }

    private class Timeout(val at: Long, val order: Long, val attempt: Int)

    /** What the timers ask for. */
    class Due(val again: List<Long>, val silent: List<SendJob>)

    private val byOrder = TreeMap<Long, Entry>()
    private val byId = HashMap<String, Long>()

    /** Earliest first: the time-out is the same for all. */
    private val clock = ArrayDeque<Timeout>()
    private var nextOrder = 0L

    val size: Int get() = byOrder.size

    /** Takes a message up and gives its order number; null when its id is already in flight. */
    fun add(job: SendJob): Long? {
        val order = nextOrder
        if (byId.putIfAbsent(job.request.msgId, order) != null) return null
        nextOrder++
        byOrder[order] = Entry(job)
        return order
    }

    /** The message to write under this order number; none when it was finished or given up meanwhile. */
    fun request(order: Long): MessageRequest? {
        val job = byOrder[order]?.job ?: return null
        if (job.abandoned) {
            remove(order)
            return null
        }
        return job.request
    }

    /** Starts the ack time-out of a message that was just written. */
    fun markWritten(order: Long, now: Long, ackTimeout: Long) {
        val entry = byOrder[order] ?: return
        entry.attempts++
        entry.written = true
        clock.addLast(Timeout(now + ackTimeout, order, entry.attempts))
    }

    /** Ends the message with this id; none for a late or unknown ack. */
    fun finish(msgId: String): SendJob? = byId[msgId]?.let(::remove)

    /** Ends the written message with the largest body: the gateway's `frame too large` names no message. */
    fun finishLargest(): SendJob? =
        byOrder.entries.filter { it.value.written }.maxByOrNull { it.value.job.request.msgBody.size() }?.let { remove(it.key) }

    /**
     * The connection is gone: everything is to be written again, in order, and the attempt that the connection cut
     * short does not count. Gives the order numbers.
     */
    fun rewind(): List<Long> {
        clock.clear()
        for (entry in byOrder.values.filter { it.written }) {
            entry.written = false
            entry.attempts--
        }
        dropAbandoned()
        return byOrder.keys.toList()
    }

    fun dropAbandoned() {
        byOrder.filterValues { it.job.abandoned }.keys.forEach(::remove)
    }

    fun due(now: Long, maxAttempts: Int): Due {
        val again = ArrayList<Long>()
        val silent = ArrayList<SendJob>()
        while (clock.isNotEmpty() && clock.first().at - now <= 0) {
            val timeout = clock.removeFirst()
            val entry = byOrder[timeout.order] ?: continue
            when {
                !entry.written || entry.attempts != timeout.attempt -> Unit
                entry.job.abandoned -> remove(timeout.order)
                entry.attempts >= maxAttempts -> remove(timeout.order)?.let(silent::add)
                else -> {
                    entry.written = false
                    again.add(timeout.order)
                }
            }
        }
        return Due(again, silent)
    }

    /** When [due] has something to say next. */
    fun nextDue(): Long? = clock.firstOrNull()?.at

    /** Gives everything back, in order. */
    fun takeAll(): List<SendJob> = byOrder.keys.toList().mapNotNull(::remove)

    private fun remove(order: Long): SendJob? {
        val entry = byOrder.remove(order) ?: return null
        byId.remove(entry.job.request.msgId)
        return entry.job
    }
}

/** The ack a client makes up itself when the gateway said nothing. */
internal fun localAck(msgId: String, reason: String): MessageAck = MessageAck.newBuilder()
    .setMsgId(msgId)
    .setStatus(AckStatus.FAILED)
    .setTimestampMs(System.currentTimeMillis())
    .setReason(reason)
    .build()
