package com.mics.client

import com.google.protobuf.InvalidProtocolBufferException
import com.mics.contracts.message.v1.ClientFrame
import com.mics.contracts.message.v1.ServerFrame
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.ReceiveChannel
import kotlinx.coroutines.channels.trySendBlocking
import okhttp3.HttpUrl
import okhttp3.HttpUrl.Companion.toHttpUrlOrNull
import okhttp3.OkHttpClient
import okhttp3.Request
import okhttp3.Response
import okhttp3.WebSocket
import okhttp3.WebSocketListener
import okio.ByteString
import okio.ByteString.Companion.toByteString

/** What one socket tells. */
internal sealed class LinkEvent {
    /** A binary message; null when it could not be read. */
    class Frame(val frame: ServerFrame?) : LinkEvent()

    class Ended(val error: MicsException) : LinkEvent()
}

/** One socket and what came from it. Events of an older socket cannot reach a newer one: each has its own inbox. */
internal class Link(private val client: OkHttpClient, url: HttpUrl) {
    /** Full when the connection's coroutine is behind; then the socket is not read, and the gateway waits. */
    private val events = Channel<LinkEvent>(INBOX)
    private val listener = Listener(events)
    private val socket: WebSocket

    val inbox: ReceiveChannel<LinkEvent> get() = events
    lateinit var session: MicsSession

    /** Frames that came before `connect_ack`: some gateways let a delivery slip in. */
    val early = ArrayList<ServerFrame>()

    init {
        socket = client.newWebSocket(Request.Builder().url(url).build(), listener)
    }

    /** Room for another message. The client library keeps what the network does not take, without telling. */
    fun hasRoom(): Boolean = socket.queueSize() < MAX_QUEUED_BYTES

    /** A failed write is told by an event as well. */
    fun send(frame: ClientFrame) {
        socket.send(frame.toByteArray().toByteString())
    }

    /** Begins the close handshake; the end comes as an event. */
    fun leave() {
        socket.close(1000, null)
    }

    /** Gives the socket up without a word; only our half of a close handshake may still go out. */
    fun abandon() {
        events.cancel()
        if (!listener.closing) socket.cancel()
    }

    private class Listener(private val events: Channel<LinkEvent>) : WebSocketListener() {
        private var open = false

        @Volatile
        var closing = false
            private set

        override fun onOpen(webSocket: WebSocket, response: Response) {
            open = true
        }

        override fun onMessage(webSocket: WebSocket, bytes: ByteString) {
            val frame = try {
                ServerFrame.parseFrom(bytes.toByteArray())
            } catch (_: InvalidProtocolBufferException) {
                null
            }
            events.trySendBlocking(LinkEvent.Frame(frame))
        }

        override fun onClosing(webSocket: WebSocket, code: Int, reason: String) {
            closing = true
            // 1005 means that no code was given; it must not be put on the wire.
            webSocket.close(if (code == 1005) 1000 else code, null)
            events.trySendBlocking(LinkEvent.Ended(MicsException.Closed(code, reason)))
        }

        /** Can come before [onClosing] is through, on another thread. */
        override fun onClosed(webSocket: WebSocket, code: Int, reason: String) {
            events.trySendBlocking(LinkEvent.Ended(MicsException.Closed(code, reason)))
            events.close()
        }

        override fun onFailure(webSocket: WebSocket, t: Throwable, response: Response?) {
            val error = when {
                open -> MicsException.Closed(1006, t.message ?: t.javaClass.simpleName)
                response != null -> MicsException.HttpRefused(response.code)
                else -> MicsException.ConnectFailed(t)
            }
            events.trySendBlocking(LinkEvent.Ended(error))
            events.close()
        }
    }

    companion object {
        private const val INBOX = 64
        private const val MAX_QUEUED_BYTES = 1L shl 20

        /** The address to dial. It holds the token and must not be logged. */
        fun url(params: MicsConnectParams, token: String): HttpUrl {
            val http = params.url.replaceFirst(Regex("^ws", RegexOption.IGNORE_CASE), "http")
            val base = http.toHttpUrlOrNull()
            require(base != null && params.url.startsWith("ws", ignoreCase = true)) { "need ws://host or wss://host" }
            val ours = mapOf("tenantId" to params.tenantId, "token" to token, "deviceId" to params.deviceId)
            val builder = base.newBuilder().fragment(null)
            base.queryParameterNames.filter { name -> ours.keys.any { it.equals(name, ignoreCase = true) } }
                .forEach(builder::removeAllQueryParameters)
            ours.forEach { (name, value) -> builder.addQueryParameter(name, value) }
            return builder.build()
        }
    }
}
