package com.mics.hooksdk;

import com.mics.contracts.hook.v1.MqEvent;
import java.io.IOException;

/** Signatures of Kafka events: {@code base64(HMAC-SHA256(secret, event without sign))}. */
public final class MqEventSigner {
    private MqEventSigner() {}

    /** The signature of an event, whatever its field {@code sign} holds. */
    public static String computeBase64(String secret, MqEvent event) {
        return Hmac.base64(secret, event.toBuilder().clearSign().build().toByteArray());
    }

    /** True when {@code sign} is right, or absent and not required. */
    public static boolean verify(String secret, MqEvent event, boolean requireSign) {
        if (event.getSign().isEmpty()) {
            return !requireSign;
        }
        return !Hmac.isBlank(secret) && Hmac.equal(computeBase64(secret, event), event.getSign());
    }

    /** Checks the value of a Kafka record as it was read, whatever fields it has. False for bytes that are no event. */
    public static boolean verifyReceived(String secret, byte[] received, boolean requireSign) {
        try {
            MqEvent event = MqEvent.parseFrom(received);
            if (event.getSign().isEmpty()) {
                return !requireSign;
            }
            String expected = Hmac.isBlank(secret) ? "" : Hmac.base64(secret, WireBytes.eventWithoutSign(received));
            return !expected.isEmpty() && Hmac.equal(expected, event.getSign());
        } catch (IOException e) {
            return false;
        }
    }
}
