package com.mics.hooksdk.kafka;

import com.mics.contracts.hook.v1.MqEvent;
import com.mics.contracts.message.v1.MessageRequest;
import com.mics.hooksdk.MqEventDecoder;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Which events were handled, because an event can be on the topic twice. Implement it on the handler's own database, in
 * the same transaction, where handling twice would do harm.
 */
public interface ProcessedEvents {
    boolean contains(String key);

    /** Called after the handler succeeded. */
    void add(String key);

    /** The last {@code capacity} events of this process. */
    static ProcessedEvents inMemory(int capacity) {
        Map<String, Boolean> keys = new LinkedHashMap<>() {
            @Override
            protected boolean removeEldestEntry(Map.Entry<String, Boolean> eldest) {
                return size() > capacity;
            }
        };
        return new ProcessedEvents() {
            @Override
            public synchronized boolean contains(String key) {
                return keys.containsKey(key);
            }

            @Override
            public synchronized void add(String key) {
                keys.put(key, true);
            }
        };
    }

    /**
     * Names an event: the same for a copy that the gateway published twice and for a message that a client sent twice.
     * Connection events are named by type and trace, messages by type, sender, device, id, target and body.
     */
    static String key(MqEvent event) {
        MqEvent.Builder named = MqEvent.newBuilder()
                .setTenantId(event.getTenantId())
                .setEventType(event.getEventType())
                .setMsgId(event.getMsgId())
                .setUserId(event.getUserId())
                .setDeviceId(event.getDeviceId())
                .setToUserId(event.getToUserId())
                .setGroupId(event.getGroupId());
        MqEventDecoder.tryDecodeMessage(event)
                .map(MessageRequest::getMsgBody)
                .ifPresentOrElse(named::setEventData, () -> named.setTraceId(event.getTraceId()));
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(named.build().toByteArray()));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every JDK has SHA-256", e);
        }
    }
}
