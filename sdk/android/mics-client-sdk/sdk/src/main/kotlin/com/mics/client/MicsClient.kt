package com.mics.client

import com.google.protobuf.ByteString
import com.mics.contracts.message.v1.MessageAck
import com.mics.contracts.message.v1.MessageRequest
import com.mics.contracts.message.v1.MessageType
import com.mics.contracts.message.v1.ServerError
import java.io.Closeable
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicReference
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Deferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.async
import kotlinx.coroutines.cancel
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.ClosedSendChannelException
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.SharedFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull
import okhttp3.OkHttpClient

/**
 * A client of a MICS gateway for Android 8+ and the JVM.
 *
 * All methods and flows may be used from any thread. Collectors that are slow do not hold up the connection: what they
 * have not read waits in bounded queues, see [MicsClientOptions.eventCapacity].
 *
 * @param okHttpClient sockets are opened with it, so its proxy, DNS, TLS and interceptors apply. Left out, the client
 *   has one of its own and shuts it down in [close]. One `OkHttpClient` serves at most `dispatcher.maxRequests` (64)
 *   connections at a time: raise that when many clients share one.
 */
public class MicsClient @JvmOverloads constructor(
    private val options: MicsClientOptions = MicsClientOptions(),
    okHttpClient: OkHttpClient? = null,
) : Closeable {
    private class Connection(val jobs: Channel<SendJob>) {
        val stop = CompletableDeferred<Unit>()
        val ended = CompletableDeferred<Unit>()
    }

    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val log = Log(options.logger)
    private val ownHttp = if (okHttpClient == null) OkHttpClient() else null
    private val http = (okHttpClient ?: ownHttp!!).newBuilder()
        .connectTimeout(options.connectTimeout.toMillis(), TimeUnit.MILLISECONDS)
        .pingInterval(0, TimeUnit.MILLISECONDS)
        .build()
    private val active = AtomicReference<Connection?>()

    @Volatile
    private var disposed = false

    private val states = MutableStateFlow(MicsClientState.DISCONNECTED)
    private val losses = MutableStateFlow(0L)
    private val deliveryQueue = EventQueue<MicsDelivery>(scope, options.eventCapacity, keep = true)
    private val connectedQueue = EventQueue<MicsSession>(scope, options.eventCapacity, keep = false)
    private val ackQueue = EventQueue<MessageAck>(scope, options.eventCapacity, keep = false)
    private val errorQueue = EventQueue<ServerError>(scope, options.eventCapacity, keep = false)
    private val lifecycleQueue = EventQueue<MicsLifecycle>(scope, options.eventCapacity, keep = false)

    /** The present state. Quick changes may be passed over, [lifecycle] has them all. */
    public val state: StateFlow<MicsClientState> = states.asStateFlow()

    /** Sessions, at the start and after every reconnect. */
    public val connected: SharedFlow<MicsSession> get() = connectedQueue.flow

    /** Messages for this user, in the order in which the gateway sent them. They wait for the first collector. */
    public val deliveries: SharedFlow<MicsDelivery> get() = deliveryQueue.flow

    /** Outcomes of all messages sent: the gateway's acks and local ones. For those who collect at that time. */
    public val acks: SharedFlow<MessageAck> get() = ackQueue.flow

    /** Error frames of the gateway. For those who collect at that time. */
    public val errors: SharedFlow<ServerError> get() = errorQueue.flow

    /** State changes, sessions and closes, in order. For those who collect at that time. */
    public val lifecycle: SharedFlow<MicsLifecycle> get() = lifecycleQueue.flow

    /** Events lost since the start because they were not collected fast enough. */
    public val dropped: StateFlow<Long> = losses.asStateFlow()

    /** The session of the present connection, or of the last one; null before the first. */
    @Volatile
    public var session: MicsSession? = null
        private set

    /**
     * Connects and waits for the gateway's `connect_ack`. After an error nothing goes on in the background. After
     * success the client reconnects by itself, until [disconnect], a terminal close code, or [close].
     *
     * @throws MicsException when the gateway refused or could not be reached in time.
     * @throws IllegalStateException when the client is not [MicsClientState.DISCONNECTED], or was closed.
     */
    public suspend fun connect(params: MicsConnectParams): MicsSession {
        check(!disposed) { "client is closed" }
        val connection = Connection(Channel(options.sendQueueCapacity))
        check(active.compareAndSet(null, connection)) { "client is already connected or connecting" }
        val first = CompletableDeferred<MicsSession>()
        scope.launch { live(connection, Dialer(params, options, http, log), first) }
            .invokeOnCompletion { first.cancel(); connection.ended.complete(Unit) }
        try {
            return first.await()
        } catch (e: Throwable) {
            connection.stop.complete(Unit)
            withContext(NonCancellable) { connection.ended.await() }
            throw e
        }
    }

    /**
     * Closes the connection with code 1000 and stays disconnected. Messages without an outcome end with
     * [MicsException.Disconnected]. Returns once the connection is closed, after about a second at most.
     */
    public suspend fun disconnect() {
        val connection = active.get() ?: return
        connection.stop.complete(Unit)
        connection.ended.await()
    }

    /** [disconnect] in the background; the client cannot be used again. Deliveries not yet collected are dropped. */
    override fun close() {
        disposed = true
        scope.launch {
            disconnect()
            ownHttp?.run {
                dispatcher.executorService.shutdown()
                connectionPool.evictAll()
            }
            scope.cancel()
        }
    }

    /**
     * Sends to one user and waits for the outcome: the gateway's ack (`FAILED` is an outcome, not an error), the local
     * ack `ack timeout` after all attempts, or an error. While the client reconnects, sends wait.
     *
     * @param msgBody at most 1 MiB with the gateway's defaults.
     * @param msgId the same id again means the same message; a UUIDv7 when left out.
     * @throws MicsException when there is no outcome: disconnected, closed for good, deadline.
     */
    @JvmOverloads
    public suspend fun sendSingleChat(toUserId: String, msgBody: ByteArray, msgId: String? = null): MessageAck {
        require(toUserId.isNotBlank()) { "toUserId is blank" }
        return send(message(MessageType.SINGLE_CHAT, msgBody, msgId).setToUserId(toUserId).build())
    }

    /** Sends to all members of a group; otherwise as [sendSingleChat]. */
    @JvmOverloads
    public suspend fun sendGroupChat(groupId: String, msgBody: ByteArray, msgId: String? = null): MessageAck {
        require(groupId.isNotBlank()) { "groupId is blank" }
        return send(message(MessageType.GROUP_CHAT, msgBody, msgId).setGroupId(groupId).build())
    }

    /** [sendSingleChat] without waiting. Messages go out in the order of the calls. */
    @JvmOverloads
    public fun sendSingleChatAsync(toUserId: String, msgBody: ByteArray, msgId: String? = null): Deferred<MessageAck> =
        scope.async(start = CoroutineStart.UNDISPATCHED) { sendSingleChat(toUserId, msgBody, msgId) }

    /** [sendGroupChat] without waiting. Messages go out in the order of the calls. */
    @JvmOverloads
    public fun sendGroupChatAsync(groupId: String, msgBody: ByteArray, msgId: String? = null): Deferred<MessageAck> =
        scope.async(start = CoroutineStart.UNDISPATCHED) { sendGroupChat(groupId, msgBody, msgId) }

    /** The life of one connection: from the first attempt to the end of the last. */
    private suspend fun live(connection: Connection, dialer: Dialer, first: CompletableDeferred<MicsSession>) {
        sink.state(MicsClientState.CONNECTING)
        var link: Link? = null
        val attempt = scope.async { dialer.establish().also { link = it } }
        connection.stop.invokeOnCompletion { if (!first.isCompleted) attempt.cancel() }
        try {
            val engine = Engine(options, dialer, connection.jobs, connection.stop, first, sink, log)
            engine.run(attempt.await()) { active.compareAndSet(connection, null) }
        } catch (e: Exception) {
            link?.abandon()
            val error = if (connection.stop.isCompleted) MicsException.Disconnected() else e
            connection.jobs.close()
            connection.jobs.rest().forEach { it.reply.completeExceptionally(MicsException.Disconnected()) }
            if (e is MicsException.Closed) sink.closed(e.code, e.reason, terminal = true)
            log.info("could not connect", error)
            active.compareAndSet(connection, null)
            sink.state(MicsClientState.DISCONNECTED)
            first.completeExceptionally(error)
        }
    }

    private fun message(type: MessageType, body: ByteArray, msgId: String?): MessageRequest.Builder {
        require(msgId == null || msgId.isNotBlank()) { "msgId is blank" }
        require(body.size <= MAX_BODY) { "msgBody is longer than $MAX_BODY bytes" }
        // Encrypted once: every attempt sends the same bytes.
        val sealed = options.messageCrypto?.takeIf { body.isNotEmpty() }?.encrypt(body) ?: body
        return MessageRequest.newBuilder()
            .setMsgType(type).setMsgId(msgId ?: MessageIds.next()).setMsgBody(ByteString.copyFrom(sealed))
    }

    private suspend fun send(request: MessageRequest): MessageAck {
        val connection = active.get() ?: throw MicsException.Disconnected()
        val job = SendJob(request)
        try {
            return withTimeoutOrNull(options.sendDeadline.toMillis()) {
                connection.jobs.send(job)
                job.reply.await()
            } ?: throw MicsException.SendDeadline().also { sink.ack(localAck(request.msgId, "send deadline")) }
        } catch (_: ClosedSendChannelException) {
            throw MicsException.Disconnected()
        } finally {
            // Without effect when the outcome is there; else nobody waits any more.
            job.reply.cancel()
        }
    }

    private val sink = object : EngineSink {
        override fun state(state: MicsClientState) {
            states.value = state
            emit(MicsLifecycle.StateChanged(state))
        }

        override fun connected(session: MicsSession) {
            this@MicsClient.session = session
            count(connectedQueue.push(session))
            emit(MicsLifecycle.Connected(session))
        }

        override fun closed(code: Int, reason: String, terminal: Boolean) {
            emit(MicsLifecycle.Closed(code, reason, terminal))
        }

        override fun delivery(message: MessageRequest, decryptFailed: Boolean) =
            count(deliveryQueue.pushCounting { before -> MicsDelivery(message, decryptFailed, before) })

        override fun ack(ack: MessageAck) {
            count(ackQueue.push(ack))
        }

        override fun serverError(code: Int, message: String) {
            log.warn("gateway reports error $code $message")
            count(errorQueue.push(ServerError.newBuilder().setCode(code).setMessage(message).build()))
        }

        private fun emit(event: MicsLifecycle) = count(lifecycleQueue.push(event))

        private fun count(taken: Boolean): Boolean {
            if (!taken) {
                losses.update { it + 1 }
                if (losses.value == 1L) log.warn("events are collected too slowly, some were dropped")
            }
            return taken
        }
    }

    private companion object {
        /** The client library closes a connection whose queue would exceed 16 MiB. */
        const val MAX_BODY = 14 shl 20
    }
}
