package com.mics.hooksdk;

import com.google.protobuf.MessageLite;
import com.mics.contracts.hook.v1.HookMeta;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * Signatures of hook requests:
 * {@code base64(HMAC-SHA256(secret, request without meta.sign || request_id || timestamp_ms as int64 little-endian))}.
 */
public final class HookSigner {
    private HookSigner() {}

    /** @param payload the request with {@code meta.sign} cleared. */
    public static String computeBase64(String secret, HookMeta meta, MessageLite payload) {
        return computeBase64(secret, meta, payload.toByteArray());
    }

    /** @param payload the bytes of the request with {@code meta.sign} cleared. */
    public static String computeBase64(String secret, HookMeta meta, byte[] payload) {
        byte[] time = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(meta.getTimestampMs()).array();
        return Hmac.base64(secret, payload, meta.getRequestId().getBytes(StandardCharsets.UTF_8), time);
    }

    /**
     * True when {@code meta.sign} is right, or absent and not required.
     *
     * @param payload the request with {@code meta.sign} cleared. Fields unknown to this SDK must still be in it; for
     *     bytes that came over the wire {@link #verifyReceived} is safer.
     */
    public static boolean verify(String secret, HookMeta meta, MessageLite payload, boolean requireSign) {
        return verify(secret, meta, payload.toByteArray(), requireSign);
    }

    /** As the other {@code verify}, with the bytes of the request without {@code meta.sign}. */
    public static boolean verify(String secret, HookMeta meta, byte[] payload, boolean requireSign) {
        if (meta.getSign().isEmpty()) {
            return !requireSign;
        }
        return !Hmac.isBlank(secret) && Hmac.equal(computeBase64(secret, meta, payload), meta.getSign());
    }

    /** Checks a request as it came over the wire, whatever fields it has. False also for bytes that are no protobuf. */
    public static boolean verifyReceived(String secret, HookMeta meta, byte[] received, boolean requireSign) {
        try {
            return verify(secret, meta, WireBytes.hookRequestWithoutSign(received), requireSign);
        } catch (IOException e) {
            return false;
        }
    }
}
