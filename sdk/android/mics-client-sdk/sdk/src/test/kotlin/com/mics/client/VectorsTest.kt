package com.mics.client

import com.google.gson.JsonObject
import com.mics.contracts.message.v1.AckStatus
import com.mics.contracts.message.v1.ClientFrame
import com.mics.contracts.message.v1.HeartbeatPing
import com.mics.contracts.message.v1.MessageRequest
import com.mics.contracts.message.v1.MessageType
import com.mics.contracts.message.v1.ServerFrame
import java.security.GeneralSecurityException
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.TestFactory

/** What goes over the wire equals the shared vectors byte for byte. */
class VectorsTest {
    private fun each(file: String, list: String, check: (JsonObject) -> Unit): List<DynamicTest> =
        Vectors.file(file).list(list).map { vector -> dynamicTest("$file ${vector.get("name").asString}") { check(vector) } }

    @TestFactory
    fun `client frames are written as in the vectors`() = each("frames.json", "vectors") { vector ->
        if (vector.text("type") != "ClientFrame") return@each
        val fields = vector.getAsJsonObject("fields")
        val frame = ClientFrame.newBuilder()
        if (vector.text("payload") == "message") {
            frame.setMessage(request(fields))
        } else {
            frame.setHeartbeatPing(HeartbeatPing.newBuilder().setTimestampMs(fields.get("timestamp_ms").asLong))
        }
        assertEquals(vector.text("hex"), hex(frame.build().toByteArray()))
    }

    @TestFactory
    fun `server frames are read as in the vectors`() = each("frames.json", "vectors") { vector ->
        if (vector.text("type") != "ServerFrame") return@each
        val fields = vector.getAsJsonObject("fields")
        val frame = ServerFrame.parseFrom(unhex(vector.text("hex")))
        assertEquals(vector.text("payload").uppercase(), frame.payloadCase.name)
        when (frame.payloadCase) {
            ServerFrame.PayloadCase.CONNECT_ACK -> {
                assertEquals(fields.get("code").asInt, frame.connectAck.code)
                assertEquals(fields.text("trace_id"), frame.connectAck.traceId)
            }
            ServerFrame.PayloadCase.DELIVERY -> assertEquals(request(fields.getAsJsonObject("message")), frame.delivery.message)
            ServerFrame.PayloadCase.ACK -> {
                assertEquals(AckStatus.valueOf(fields.text("status")), frame.ack.status)
                assertEquals(fields.text("reason"), frame.ack.reason)
                assertEquals(fields.get("partial_delivery").asBoolean, frame.ack.partialDelivery)
                assertEquals(fields.get("offline_skipped_users").asInt, frame.ack.offlineSkippedUsers)
                assertEquals(fields.get("offline_buffered_users").asInt, frame.ack.offlineBufferedUsers)
            }
            ServerFrame.PayloadCase.ERROR -> assertEquals(fields.get("code").asInt, frame.error.code)
            else -> assertEquals(fields.get("timestamp_ms").asLong, frame.heartbeatPong.timestampMs)
        }
        assertEquals(vector.text("hex"), hex(frame.toByteArray()))
    }

    @TestFactory
    fun `envelopes are sealed and opened as in the vectors`() = each("envelopes.json", "vectors") { vector ->
        val crypto = AesGcmMessageCrypto(unhex(vector.text("key_hex")))
        val plain = unhex(vector.text("plaintext_hex"))
        val envelope = unhex(vector.text("envelope_hex"))
        if (plain.isNotEmpty()) assertArrayEquals(envelope, crypto.seal(unhex(vector.text("nonce_hex")), plain))
        assertArrayEquals(plain, crypto.decrypt(envelope))
        assertArrayEquals(plain, crypto.decrypt(crypto.encrypt(plain)))
    }

    @TestFactory
    fun `bad envelopes are refused`() = each("envelopes.json", "rejected") { vector ->
        val crypto = AesGcmMessageCrypto(unhex(vector.text("key_hex")))
        assertThrows(GeneralSecurityException::class.java) { crypto.decrypt(unhex(vector.text("envelope_hex"))) }
    }

    @TestFactory
    fun `close codes lead to what the table says`() = each("close-codes.json", "close") { vector ->
        val reason = vector.get("reason").takeIf { !it.isJsonNull }?.asString ?: "some reason"
        assertEquals(vector.text("client").uppercase(), CloseAction.of(vector.get("code").asInt, reason).name)
    }

    private fun request(fields: JsonObject): MessageRequest = MessageRequest.newBuilder()
        .setTenantId(fields.text("tenant_id")).setUserId(fields.text("user_id")).setDeviceId(fields.text("device_id"))
        .setMsgId(fields.text("msg_id")).setMsgType(MessageType.valueOf(fields.text("msg_type")))
        .setToUserId(fields.text("to_user_id")).setGroupId(fields.text("group_id"))
        .setMsgBody(com.google.protobuf.ByteString.copyFrom(unhex(fields.text("msg_body_hex"))))
        .setTimestampMs(fields.get("timestamp_ms").asLong)
        .build()
}
