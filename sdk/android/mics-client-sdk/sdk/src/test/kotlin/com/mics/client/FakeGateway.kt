package com.mics.client

import com.mics.contracts.message.v1.AckStatus
import com.mics.contracts.message.v1.ClientFrame
import com.mics.contracts.message.v1.ConnectAck
import com.mics.contracts.message.v1.HeartbeatPong
import com.mics.contracts.message.v1.MessageAck
import com.mics.contracts.message.v1.MessageDelivery
import com.mics.contracts.message.v1.MessageRequest
import com.mics.contracts.message.v1.ServerError
import com.mics.contracts.message.v1.ServerFrame
import java.io.Closeable
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import okhttp3.Response
import okhttp3.WebSocket
import okhttp3.WebSocketListener
import okhttp3.mockwebserver.Dispatcher
import okhttp3.mockwebserver.MockResponse
import okhttp3.mockwebserver.MockWebServer
import okhttp3.mockwebserver.RecordedRequest
import okio.ByteString
import okio.ByteString.Companion.toByteString

/** A gateway on a real socket that does what a test says. Sessions come one after the other, numbered from 0. */
internal class FakeGateway : Closeable {
    private val server = MockWebServer()
    private val queue = LinkedBlockingQueue<Session>()

    /** Requests of the WebSocket handshakes, with their queries. */
    val handshakes = CopyOnWriteArrayList<RecordedRequest>()

    /** Answers a handshake with this HTTP status instead of an upgrade. */
    @Volatile
    var refuse: Int? = null

    /** What happens when a socket opens; by default a `connect_ack`. */
    @Volatile
    var onOpen: Session.() -> Unit = { accept() }

    /** What happens with a frame; by default SENT and pongs. */
    @Volatile
    var onFrame: Session.(ClientFrame) -> Unit = { answer(it) }

    init {
        server.dispatcher = object : Dispatcher() {
            override fun dispatch(request: RecordedRequest): MockResponse {
                val number = handshakes.size
                handshakes.add(request)
                refuse?.let { return MockResponse().setResponseCode(it) }
                return MockResponse().withWebSocketUpgrade(Session(number))
            }
        }
        server.start()
    }

    val url: String get() = "ws://127.0.0.1:${server.port}/ws"

    fun tokens(): List<String?> = handshakes.map { it.requestUrl!!.queryParameter("token") }

    /** The next session that opened. */
    fun next(): Session = queue.poll(10, TimeUnit.SECONDS) ?: error("no connection came")

    override fun close() = server.shutdown()

    inner class Session(val number: Int) : WebSocketListener() {
        lateinit var socket: WebSocket

        /** Messages that came on this socket. */
        val messages = LinkedBlockingQueue<MessageRequest>()
        val closed = LinkedBlockingQueue<Int>()

        override fun onOpen(webSocket: WebSocket, response: Response) {
            socket = webSocket
            onOpen(this)
            queue.add(this)
        }

        override fun onMessage(webSocket: WebSocket, bytes: ByteString) {
            val frame = ClientFrame.parseFrom(bytes.toByteArray())
            if (frame.hasMessage()) messages.add(frame.message)
            onFrame(this, frame)
        }

        override fun onClosing(webSocket: WebSocket, code: Int, reason: String) {
            closed.add(code)
            webSocket.close(code, null)
        }

        override fun onFailure(webSocket: WebSocket, t: Throwable, response: Response?) {
            closed.add(1006)
        }

        fun message(): MessageRequest = messages.poll(10, TimeUnit.SECONDS) ?: error("no message came")

        fun closeCode(): Int = closed.poll(10, TimeUnit.SECONDS) ?: error("the socket was not closed")

        fun accept() = send(
            ServerFrame.newBuilder().setConnectAck(
                ConnectAck.newBuilder().setCode(1000).setTenantId("t1").setUserId("u1").setDeviceId("d1")
                    .setNodeId("node").setTraceId("trace-$number"),
            ),
        )

        fun answer(frame: ClientFrame) {
            if (frame.hasMessage()) {
                ack(frame.message.msgId)
            } else {
                send(ServerFrame.newBuilder().setHeartbeatPong(HeartbeatPong.newBuilder().setTimestampMs(1)))
            }
        }

        fun ack(msgId: String, status: AckStatus = AckStatus.SENT, reason: String = "") =
            send(ServerFrame.newBuilder().setAck(MessageAck.newBuilder().setMsgId(msgId).setStatus(status).setReason(reason)))

        fun deliver(id: String, body: ByteArray, from: String = "u2") = send(
            ServerFrame.newBuilder().setDelivery(
                MessageDelivery.newBuilder().setMessage(
                    MessageRequest.newBuilder().setUserId(from).setMsgId(id)
                        .setMsgBody(com.google.protobuf.ByteString.copyFrom(body)),
                ),
            ),
        )

        fun error(code: Int) = send(ServerFrame.newBuilder().setError(ServerError.newBuilder().setCode(code)))

        fun send(frame: ServerFrame.Builder) {
            socket.send(frame.build().toByteArray().toByteString())
        }
    }
}
