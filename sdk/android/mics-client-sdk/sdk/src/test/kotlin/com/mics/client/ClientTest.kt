package com.mics.client

import com.mics.contracts.message.v1.AckStatus
import java.time.Duration
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicInteger
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Assertions.fail
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.Timeout

/** The client against a gateway on a real socket. */
@Timeout(60)
class ClientTest {
    private val gateway = FakeGateway()
    private val scope = CoroutineScope(Dispatchers.Default)
    private val clients = ArrayList<MicsClient>()

    /** Short pauses. Times that a busy machine could exceed are long; tests that wait for one have a short one of their own. */
    private val fast = MicsClientOptions(
        connectTimeout = Duration.ofSeconds(20),
        ackTimeout = Duration.ofSeconds(20),
        reconnectMinDelay = Duration.ofMillis(20),
        reconnectMaxDelay = Duration.ofMillis(100),
    )

    @AfterEach
    fun stop() {
        scope.cancel()
        clients.forEach(MicsClient::close)
        gateway.close()
    }

    private fun client(options: MicsClientOptions = fast) = MicsClient(options).also(clients::add)

    private fun params(token: TokenProvider = TokenProvider { "valid:u1" }) = MicsConnectParams(gateway.url, "t1", token, "d1")

    private fun closes(client: MicsClient): LinkedBlockingQueue<MicsLifecycle.Closed> {
        val closes = LinkedBlockingQueue<MicsLifecycle.Closed>()
        scope.launch(Dispatchers.Unconfined) { client.lifecycle.collect { if (it is MicsLifecycle.Closed) closes.add(it) } }
        return closes
    }

    private suspend fun MicsClient.awaitState(wanted: MicsClientState) = withTimeout(10_000) { state.first { it == wanted } }

    private suspend fun failure(block: suspend () -> Unit): Throwable = try {
        block()
        fail("should have failed")
    } catch (e: Exception) {
        e
    }

    @Test
    fun `connects, sends and disconnects for good`() = runBlocking {
        val client = client()
        val session = client.connect(params())
        assertEquals(MicsSession("t1", "u1", "d1", "node", "trace-0"), session)
        assertEquals(MicsClientState.CONNECTED, client.state.value)
        val ack = client.sendSingleChat("u2", "hi".toByteArray())
        assertEquals(AckStatus.SENT, ack.status)
        val sent = gateway.next()
        assertEquals("hi", sent.message().msgBody.toStringUtf8())
        client.disconnect()
        assertEquals(1000, sent.closeCode())
        assertEquals(MicsClientState.DISCONNECTED, client.state.value)
        assertTrue(failure { client.sendSingleChat("u2", ByteArray(1)) } is MicsException.Disconnected)
        delay(300)
        assertEquals(1, gateway.handshakes.size)
        assertEquals("trace-1", client.connect(params()).traceId, "a client can be used again")
    }

    @Test
    fun `a lost ack is followed by the same message under the same id`() = runBlocking {
        val seen = AtomicInteger()
        gateway.onFrame = { if (it.hasMessage() && seen.incrementAndGet() == 3) ack(it.message.msgId) }
        val client = client(
            fast.copy(ackTimeout = Duration.ofMillis(150), maxSendAttempts = 100, messageCrypto = AesGcmMessageCrypto(ByteArray(16))),
        )
        client.connect(params())
        val ack = client.sendGroupChat("g", "text".toByteArray())
        assertEquals(AckStatus.SENT, ack.status)
        val session = gateway.next()
        val attempts = List(3) { session.message() }
        assertEquals(setOf(ack.msgId), attempts.map { it.msgId }.toSet())
        assertEquals(1, attempts.map { it.msgBody }.toSet().size, "encrypted once")
    }

    @Test
    fun `silence ends with a local ack`() = runBlocking {
        gateway.onFrame = {}
        val client = client(fast.copy(ackTimeout = Duration.ofMillis(150)))
        client.connect(params())
        val ack = client.sendSingleChat("u2", ByteArray(1), "mine")
        assertEquals(listOf("mine", AckStatus.FAILED, "ack timeout"), listOf(ack.msgId, ack.status, ack.reason))
        val session = gateway.next()
        repeat(3) { assertEquals("mine", session.message().msgId) }
        assertNull(session.messages.poll(300, TimeUnit.MILLISECONDS))
    }

    @Test
    fun `a FAILED ack is final`() = runBlocking {
        gateway.onFrame = { ack(it.message.msgId, AckStatus.FAILED, "denied") }
        val client = client()
        client.connect(params())
        assertEquals("denied", client.sendSingleChat("u2", ByteArray(1)).reason)
        assertEquals(1, gateway.next().messages.size)
    }

    @Test
    fun `a drained node is left with a fresh token and nothing is lost`() = runBlocking {
        gateway.onFrame = { if (number > 0) answer(it) }
        val number = AtomicInteger()
        // One attempt only: the one that the close cut short must not count.
        val client = client(fast.copy(maxSendAttempts = 1))
        val closes = closes(client)
        client.connect(params { "token-${number.getAndIncrement()}" })
        val acks = (0 until 20).map { client.sendSingleChatAsync("u2", "m$it".toByteArray()) }
        val first = gateway.next()
        repeat(20) { first.message() }
        first.socket.close(4200, "server draining")
        assertTrue(acks.all { it.await().status == AckStatus.SENT })
        val second = gateway.next()
        assertEquals((0 until 20).map { "m$it" }, List(20) { second.message().msgBody.toStringUtf8() }, "in order")
        assertEquals(listOf<String?>("token-0", "token-1"), gateway.tokens())
        assertEquals(MicsLifecycle.Closed(4200, "server draining", false), closes.poll(5, TimeUnit.SECONDS))
    }

    @Test
    fun `refusals of the first connect are told and nothing goes on`() = runBlocking {
        for (code in listOf(4001, 4002, 4429)) {
            gateway.onOpen = { socket.close(code, "no") }
            val before = gateway.handshakes.size
            val client = client()
            val error = failure { client.connect(params()) } as MicsException.Closed
            assertEquals(code to "no", error.code to error.reason)
            assertEquals(MicsClientState.DISCONNECTED, client.state.value)
            delay(200)
            assertEquals(before + 1, gateway.handshakes.size)
        }
    }

    @Test
    fun `terminal codes end a client, with an outcome for what was under way`() = runBlocking {
        gateway.onFrame = {}
        for (code in listOf(4001, 4002, 4409, 4410)) {
            val client = client()
            val closes = closes(client)
            client.connect(params())
            val before = gateway.handshakes.size
            val pending = client.sendSingleChatAsync("u2", ByteArray(1))
            val session = gateway.next()
            session.message()
            session.socket.close(code, "bye")
            assertEquals(code, (failure { pending.await() } as MicsException.Closed).code)
            client.awaitState(MicsClientState.DISCONNECTED)
            assertEquals(MicsLifecycle.Closed(code, "bye", true), closes.poll(5, TimeUnit.SECONDS))
            delay(200)
            assertEquals(before, gateway.handshakes.size)
        }
    }

    @Test
    fun `a silent gateway is given up`() = runBlocking {
        gateway.onFrame = { if (number > 0) answer(it) }
        val client = client(fast.copy(heartbeatInterval = Duration.ofMillis(200), watchdogSlack = Duration.ofSeconds(2)))
        val closes = closes(client)
        client.connect(params())
        gateway.next()
        assertEquals(1, gateway.next().number)
        assertEquals(1006, closes.poll(10, TimeUnit.SECONDS)!!.code)
        client.awaitState(MicsClientState.CONNECTED)
        // Longer than the silence that ended the first connection.
        delay(3500)
        assertEquals(2, gateway.handshakes.size, "pongs keep a connection")
    }

    @Test
    fun `disconnect during a reconnect stays disconnected`() = runBlocking {
        val client = client()
        client.connect(params())
        gateway.refuse = 503
        gateway.next().socket.close(4200, "server draining")
        client.awaitState(MicsClientState.RECONNECTING)
        val waiting = client.sendSingleChatAsync("u2", ByteArray(1))
        client.disconnect()
        assertEquals(MicsClientState.DISCONNECTED, client.state.value)
        assertTrue(failure { waiting.await() } is MicsException)
        gateway.refuse = null
        val before = gateway.handshakes.size
        delay(500)
        assertEquals(before, gateway.handshakes.size)
    }

    @Test
    fun `disconnect ends a connect under way`() = runBlocking {
        gateway.onOpen = {}
        val client = client()
        val connecting = scope.async { runCatching { client.connect(params()) } }
        val session = gateway.next()
        client.disconnect()
        assertTrue(connecting.await().exceptionOrNull() is MicsException.Disconnected)
        assertEquals(1006, session.closeCode())
        assertEquals(MicsClientState.DISCONNECTED, client.state.value)
    }

    @Test
    fun `a gateway that does not answer is left in time`() = runBlocking {
        gateway.onOpen = {}
        val hasty = client(fast.copy(connectTimeout = Duration.ofSeconds(3)))
        assertTrue(failure { hasty.connect(params()) } is MicsException.ConnectTimeout)
        assertEquals(1006, gateway.next().closeCode(), "the socket is not left open")
        assertEquals(MicsClientState.DISCONNECTED, hasty.state.value)
        val client = client()
        gateway.refuse = 503
        assertEquals(503, (failure { client.connect(params()) } as MicsException.HttpRefused).status)
        assertTrue(failure { client.connect(params { error("no token") }) } is MicsException.TokenFailed)
        assertTrue(failure { client.connect(MicsConnectParams("http://x", "t", "k", "d")) } is IllegalArgumentException)
    }

    @Test
    fun `deliveries come in order, once, and wait for their collector`() = runBlocking {
        val client = client()
        client.connect(params())
        val session = gateway.next()
        for (i in 0 until 200) {
            session.deliver("$i", "b$i".toByteArray())
            if (i % 10 == 0) session.deliver("$i", "b$i".toByteArray())
        }
        val got = ConcurrentLinkedQueue<String>()
        withTimeout(10_000) { client.deliveries.first { got.add(it.message.msgId); got.size == 200 } }
        assertEquals((0 until 200).map { "$it" }, got.toList())
        assertEquals(0, client.dropped.value)
    }

    @Test
    fun `an overflow is visible where it happened`() = runBlocking {
        val client = client(fast.copy(eventCapacity = 4))
        client.connect(params())
        val session = gateway.next()
        repeat(20) { session.deliver("$it", ByteArray(1)) }
        // The ack comes behind the deliveries, so all of them have been handled.
        client.sendSingleChat("u2", ByteArray(1))
        val lost = client.dropped.value
        // Four wait in the queue, one may be on its way to the collector.
        assertTrue(lost in 15..16, "$lost")
        val got = ConcurrentLinkedQueue<MicsDelivery>()
        val reading = scope.launch(start = CoroutineStart.UNDISPATCHED) { client.deliveries.collect(got::add) }
        withTimeout(10_000) { while (got.size < 20 - lost) delay(5) }
        session.deliver("last", ByteArray(1))
        withTimeout(10_000) { while (got.last().message.msgId != "last") delay(5) }
        assertEquals(lost, got.last().droppedBefore)
        // What was lost is no repetition when it comes again.
        session.deliver("10", ByteArray(1))
        withTimeout(10_000) { while (got.last().message.msgId != "10") delay(5) }
        assertEquals(0, got.first().droppedBefore)
        reading.cancel()
    }

    @Test
    fun `bodies are decrypted, and marked when that fails`() = runBlocking {
        val crypto = AesGcmMessageCrypto(ByteArray(32))
        val client = client(fast.copy(messageCrypto = crypto))
        client.connect(params())
        val session = gateway.next()
        val got = scope.async { client.deliveries.take(3).toList() }
        session.deliver("1", crypto.encrypt("secret".toByteArray()))
        session.deliver("2", "in the clear".toByteArray())
        session.deliver("3", ByteArray(0))
        val (opened, plain, empty) = withTimeout(10_000) { got.await() }
        assertEquals("secret" to false, opened.message.msgBody.toStringUtf8() to opened.decryptFailed)
        assertEquals("in the clear" to true, plain.message.msgBody.toStringUtf8() to plain.decryptFailed)
        assertFalse(empty.decryptFailed)
        client.sendSingleChat("u2", "secret".toByteArray())
        val sent = session.message().msgBody.toByteArray()
        assertArrayEquals("secret".toByteArray(), crypto.decrypt(sent))
    }

    @Test
    fun `too large a frame ends its message, other errors are told`() = runBlocking {
        gateway.onFrame = { if (it.hasMessage()) error(4401) }
        val client = client()
        client.connect(params())
        val code = CompletableDeferred<Int>()
        scope.launch(Dispatchers.Unconfined) { client.errors.collect { code.complete(it.code) } }
        assertEquals("frame too large", client.sendSingleChat("u2", ByteArray(100)).reason)
        assertEquals(4401, withTimeout(10_000) { code.await() })
    }

    @Test
    fun `sends while reconnecting wait, up to their deadline`() = runBlocking {
        val client = client(fast.copy(sendDeadline = Duration.ofSeconds(3)))
        client.connect(params())
        gateway.refuse = 503
        gateway.next().socket.close(4200, "server draining")
        client.awaitState(MicsClientState.RECONNECTING)
        assertTrue(failure { client.sendSingleChat("u2", ByteArray(1)) } is MicsException.SendDeadline)
        gateway.refuse = null
        val session = gateway.next()
        client.awaitState(MicsClientState.CONNECTED)
        assertEquals(AckStatus.SENT, client.sendSingleChat("u2", "second".toByteArray()).status)
        assertEquals("second", session.message().msgBody.toStringUtf8(), "what was given up is not sent any more")
    }

    @Test
    fun `an id in flight is not taken twice, blank targets not at all`() = runBlocking {
        gateway.onFrame = {}
        val client = client()
        client.connect(params())
        val first = client.sendSingleChatAsync("u2", ByteArray(1), "id")
        val session = gateway.next()
        session.message()
        assertTrue(failure { client.sendSingleChat("u2", ByteArray(1), "id") } is MicsException.DuplicateId)
        session.ack("id")
        assertEquals(AckStatus.SENT, first.await().status)
        assertTrue(failure { client.sendSingleChat(" ", ByteArray(1)) } is IllegalArgumentException)
        assertTrue(failure { client.connect(params()) } is IllegalStateException)
    }

    @Test
    fun `log lines have neither token nor body`() = runBlocking {
        val lines = ConcurrentLinkedQueue<String>()
        val client = client(fast.copy(logger = { _, message, error -> lines.add("$message $error") }))
        client.connect(params { "valid:top-secret" })
        gateway.next().socket.close(4200, "server draining")
        gateway.next()
        client.sendSingleChat("u2", "private words".toByteArray())
        client.disconnect()
        assertTrue(lines.any { "connection lost" in it })
        assertFalse(lines.any { "top-secret" in it || "private" in it })
    }
}
