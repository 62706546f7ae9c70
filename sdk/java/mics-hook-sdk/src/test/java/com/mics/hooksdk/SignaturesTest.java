package com.mics.hooksdk;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import com.google.protobuf.UnknownFieldSet;
import com.mics.contracts.hook.v1.AuthRequest;
import com.mics.contracts.hook.v1.CheckMessageRequest;
import com.mics.contracts.hook.v1.EventType;
import com.mics.contracts.hook.v1.HookMeta;
import com.mics.contracts.hook.v1.MqEvent;
import com.mics.contracts.message.v1.MessageRequest;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;

/** Signatures equal the shared vectors, and hold whatever else is in a message. */
class SignaturesTest {
    private static final UnknownFieldSet UNKNOWN = UnknownFieldSet.newBuilder()
            .addField(777, UnknownFieldSet.Field.newBuilder().addLengthDelimited(ByteString.copyFromUtf8("new")).addVarint(1).build())
            .build();

    private static HookMeta meta(JsonObject vector) {
        JsonObject meta = vector.getAsJsonObject("meta");
        return HookMeta.newBuilder()
                .setTenantId(meta.get("tenant_id").getAsString())
                .setRequestId(meta.get("request_id").getAsString())
                .setTimestampMs(meta.get("timestamp_ms").getAsLong())
                .setTraceId(meta.has("trace_id") ? meta.get("trace_id").getAsString() : "")
                .setSign(vector.get("sign").getAsString())
                .build();
    }

    @TestFactory
    Stream<DynamicTest> hookRequests() {
        return Vectors.of("hook-signatures.json").stream().map(vector -> DynamicTest.dynamicTest(vector.get("name").getAsString(), () -> {
            String key = vector.get("key").getAsString();
            HookMeta meta = meta(vector);
            byte[] cleared = Vectors.bytes(vector, "cleared_hex");
            assertEquals(meta.getSign(), HookSigner.computeBase64(key, meta, cleared));
            assertTrue(HookSigner.verify(key, meta, cleared, true));
            assertFalse(HookSigner.verify("other", meta, cleared, true));
            if (vector.has("sent_hex")) {
                byte[] sent = Vectors.bytes(vector, "sent_hex");
                assertArrayEquals(cleared, WireBytes.hookRequestWithoutSign(sent));
                assertTrue(HookSigner.verifyReceived(key, meta, sent, true));
                everyChangedByteIsNoticed(key, meta, sent);
            }
        }));
    }

    /** In each byte one bit is turned; the signature itself is taken from the untouched meta. */
    private static void everyChangedByteIsNoticed(String key, HookMeta meta, byte[] sent) {
        int sign = HexFormat.of().formatHex(sent).indexOf(HexFormat.of().formatHex(meta.getSign().getBytes())) / 2;
        for (int i = 0; i < sent.length; i++) {
            boolean insideSign = i >= sign - 2 && i < sign + meta.getSign().length();
            byte[] changed = sent.clone();
            changed[i] ^= 1;
            if (!insideSign) {
                assertFalse(HookSigner.verifyReceived(key, meta, changed, true), "byte " + i);
            }
        }
    }

    @TestFactory
    Stream<DynamicTest> events() {
        return Vectors.of("event-signatures.json").stream().map(vector -> DynamicTest.dynamicTest(vector.get("name").getAsString(), () -> {
            String key = vector.get("key").getAsString();
            byte[] sent = Vectors.bytes(vector, "sent_hex");
            MqEvent event = MqEvent.parseFrom(sent);
            assertArrayEquals(Vectors.bytes(vector, "signed_hex"), WireBytes.eventWithoutSign(sent));
            assertEquals(vector.get("sign").getAsString(), MqEventSigner.computeBase64(key, event));
            assertTrue(MqEventSigner.verify(key, event, true) && MqEventSigner.verifyReceived(key, sent, true));
            assertFalse(MqEventSigner.verifyReceived("other", sent, true));
            assertFalse(MqEventSigner.verifyReceived(key, event.toBuilder().setUserId("u9").build().toByteArray(), true));
            String type = vector.getAsJsonObject("fields").get("event_type").getAsString();
            boolean connect = type.startsWith("CONNECT");
            assertEquals(connect, MqEventDecoder.tryVerifyAndDecodeConnectAck(key, event, true).isPresent());
            assertEquals(!connect, MqEventDecoder.tryVerifyAndDecodeMessage(key, event, true).isPresent());
            assertTrue(MqEventDecoder.tryVerifyAndDecodeMessage("other", event, true).isEmpty());
        }));
    }

    @Test
    void offlineMessagesAreDecoded() {
        MessageRequest message = MessageRequest.newBuilder().setMsgId("m").setToUserId("u2").build();
        MqEvent event = MqEvent.newBuilder().setEventType(EventType.OFFLINE_MESSAGE).setEventData(message.toByteString()).build();
        assertEquals(message, MqEventDecoder.tryDecodeMessage(event).orElseThrow());
        assertTrue(MqEventDecoder.tryDecodeMessage(event.toBuilder().setEventData(ByteString.copyFromUtf8("\u0001")).build()).isEmpty());
    }

    @Test
    void unknownFieldsAreCoveredAndHarmless() throws Exception {
        MessageRequest message = MessageRequest.newBuilder().setMsgId("m").setUnknownFields(UNKNOWN).build();
        HookMeta meta = HookMeta.newBuilder().setTenantId("t1").setRequestId("r").setTimestampMs(5).setUnknownFields(UNKNOWN).build();
        CheckMessageRequest cleared =
                CheckMessageRequest.newBuilder().setMeta(meta).setMessage(message).setUnknownFields(UNKNOWN).build();
        HookMeta signed = meta.toBuilder().setSign(HookSigner.computeBase64("k", meta, cleared)).build();
        byte[] sent = cleared.toBuilder().setMeta(signed).build().toByteArray();
        assertTrue(HookSigner.verifyReceived("k", signed, sent, true));
        byte[] without = CheckMessageRequest.parseFrom(sent).toBuilder().setUnknownFields(UnknownFieldSet.getDefaultInstance())
                .build().toByteArray();
        assertFalse(HookSigner.verifyReceived("k", signed, without, true));
        MqEvent event = MqEvent.newBuilder().setTenantId("t1").setUnknownFields(UNKNOWN).build();
        MqEvent signedEvent = event.toBuilder().setSign(MqEventSigner.computeBase64("k", event)).build();
        assertTrue(MqEventSigner.verifyReceived("k", signedEvent.toByteArray(), true));
    }

    @Test
    void otherSpellingsOfASignatureAreRefused() {
        AuthRequest request = AuthRequest.newBuilder().setMeta(HookMeta.newBuilder().setTenantId("t1").setRequestId("r")).build();
        String sign = HookSigner.computeBase64("k", request.getMeta(), request);
        String otherBits = sign.substring(0, sign.length() - 2) + (char) (sign.charAt(sign.length() - 2) + 1) + "=";
        for (String bad : List.of(sign.replace("=", ""), sign + "\n", " " + sign, otherBits)) {
            HookMeta meta = request.getMeta().toBuilder().setSign(bad).build();
            assertFalse(HookSigner.verify("k", meta, request, true), bad);
        }
        assertFalse(HookSigner.verify("k", request.getMeta(), request, true), "absent and required");
        assertTrue(HookSigner.verify("k", request.getMeta(), request, false), "absent and not required");
        assertFalse(HookSigner.verify("", request.getMeta().toBuilder().setSign(sign).build(), request, false));
    }

    @Test
    void garbageIsNoValidMessage() {
        HookMeta meta = HookMeta.newBuilder().setSign("x").build();
        assertFalse(HookSigner.verifyReceived("k", meta, new byte[] {10, 5, 1}, true));
        assertFalse(MqEventSigner.verifyReceived("k", new byte[] {(byte) 0xff, 0x02}, false));
    }
}
