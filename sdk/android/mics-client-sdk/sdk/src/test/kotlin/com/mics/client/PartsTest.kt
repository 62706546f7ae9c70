package com.mics.client

import com.mics.contracts.message.v1.MessageRequest
import java.security.GeneralSecurityException
import java.time.Duration
import kotlin.random.Random
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNotEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

/** Parts without a socket: pauses, de-duplication, messages in flight, ids, addresses. */
class PartsTest {
    private val options = MicsClientOptions()

    @Test
    fun `pauses have full jitter and are bounded`() {
        for (attempt in 0 until 12) {
            val ceiling = minOf(200L shl attempt, 5000L)
            val pauses = (0 until 300).map { seed ->
                val backoff = Backoff(options, Random(seed))
                repeat(attempt) { backoff.nextMillis(CloseAction.RETRY) }
                backoff.nextMillis(CloseAction.RETRY)
            }
            assertTrue(pauses.all { it in 0..ceiling })
            assertTrue(pauses.any { it < ceiling / 4 } && pauses.any { it > ceiling / 2 })
        }
    }

    @Test
    fun `a limit means a long pause`() {
        val backoff = Backoff(options, Random(7))
        assertTrue(backoff.nextMillis(CloseAction.RETRY_LATER) in 2500..5000)
        repeat(10) { assertTrue(backoff.nextMillis(CloseAction.RETRY_LATER) in 5000..60_000) }
        backoff.reset()
        assertTrue(backoff.nextMillis(CloseAction.RETRY_LATER) <= 5000)
    }

    @Test
    fun `a token that could not be checked may be tried again`() {
        assertEquals(CloseAction.RETRY, CloseAction.of(4001, "auth hook circuit open"))
        assertEquals(CloseAction.STOP, CloseAction.of(4001, "bad token"))
        assertEquals(CloseAction.RETRY, CloseAction.of(1006))
        assertEquals(CloseAction.RETRY, CloseAction.of(4999))
    }

    @Test
    fun `repetitions are known by sender and content, and the memory is bounded`() {
        fun message(user: String, id: String, body: String) =
            MessageRequest.newBuilder().setUserId(user).setMsgId(id).setMsgBody(utf8(body)).build()
        fun Dedup.isRepeated(message: MessageRequest): Boolean {
            val name = nameOf(message)
            return knows(name).also { remember(name) }
        }
        val dedup = Dedup(2)
        assertFalse(dedup.isRepeated(message("a", "1", "x")))
        assertTrue(dedup.isRepeated(message("a", "1", "x")))
        assertFalse(dedup.isRepeated(message("b", "1", "x")))
        assertFalse(dedup.isRepeated(message("a", "1", "other")))
        assertFalse(dedup.isRepeated(message("a", "1", "x")), "the oldest is forgotten")
        assertFalse(Dedup(0).run { isRepeated(message("a", "1", "x")) || isRepeated(message("a", "1", "x")) })
        assertFalse(Dedup(9).run { isRepeated(message("a", "", "x")) || isRepeated(message("a", "", "x")) })
    }

    private fun job(id: String, bodySize: Int = 0) =
        SendJob(MessageRequest.newBuilder().setMsgId(id).setMsgBody(utf8("x".repeat(bodySize))).build())

    @Test
    fun `a cut short attempt does not count and order is kept`() {
        val flight = InFlight()
        listOf("a", "b", "c").forEach { flight.markWritten(flight.add(job(it))!!, 0, 10) }
        assertEquals("b", flight.finish("b")!!.request.msgId)
        assertNull(flight.finish("b"))
        assertEquals(listOf(0L, 2L), flight.rewind())
        flight.markWritten(0, 0, 10)
        assertEquals(listOf(0L), flight.due(10, 2).again)
        flight.markWritten(0, 10, 10)
        assertEquals(listOf("a"), flight.due(20, 2).silent.map { it.request.msgId })
        assertEquals(1, flight.size)
    }

    @Test
    fun `ids are taken once, abandoned messages are not written`() {
        val flight = InFlight()
        val first = job("a")
        assertEquals(0L, flight.add(first))
        assertNull(flight.add(job("a")))
        first.reply.cancel()
        assertNull(flight.request(0))
        assertEquals(1L, flight.add(job("a")), "a finished id may be used again")
    }

    @Test
    fun `too large hits the largest message on the wire`() {
        val flight = InFlight()
        listOf(job("a", 3), job("b", 5), job("c", 9)).forEach(flight::add)
        flight.markWritten(0, 0, 10)
        flight.markWritten(1, 0, 10)
        assertEquals("b", flight.finishLargest()!!.request.msgId)
    }

    @Test
    fun `ids are UUIDv7`() {
        val id = MessageIds.next(0x0123456789ABL)
        assertTrue(Regex("01234567-89ab-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").matches(id), id)
        assertEquals(1000, (0 until 1000).map { MessageIds.next() }.toSet().size)
    }

    @Test
    fun `identity is encoded and replaces what was there`() {
        fun url(base: String) = Link.url(MicsConnectParams(base, "t1", "", "my dev+&="), "valid:u1").toString()
        assertEquals(
            "http://h:8080/ws?a=1&tenantId=t1&token=valid%3Au1&deviceId=my%20dev%2B%26%3D",
            url("ws://h:8080/ws?a=1&TOKEN=old&deviceId=x"),
        )
        for (bad in listOf("", "localhost:8080/ws", "http://h/ws", "/ws", "ws://")) {
            assertThrows(IllegalArgumentException::class.java) { url(bad) }
        }
    }

    @Test
    fun `options and keys are checked`() {
        assertThrows(IllegalArgumentException::class.java) { MicsClientOptions(maxSendAttempts = 0) }
        assertThrows(IllegalArgumentException::class.java) { MicsClientOptions(ackTimeout = Duration.ZERO) }
        for (size in listOf(0, 15, 31, 33)) {
            assertThrows(IllegalArgumentException::class.java) { AesGcmMessageCrypto(ByteArray(size)) }
        }
        val crypto = AesGcmMessageCrypto(ByteArray(32))
        assertNotEquals(hex(crypto.encrypt(ByteArray(1))), hex(crypto.encrypt(ByteArray(1))), "every body has its own nonce")
    }

    @Test
    fun `the shortest envelope holds an empty body`() {
        val crypto = AesGcmMessageCrypto(ByteArray(32))
        val envelope = crypto.seal(ByteArray(12), ByteArray(0))
        assertEquals(29, envelope.size)
        assertEquals(0, crypto.decrypt(envelope).size)
        assertThrows(GeneralSecurityException::class.java) { crypto.decrypt(envelope.copyOf(28)) }
    }
}
