package com.mics.hooksdk.kafka;

import com.mics.hooksdk.MicsTopics;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.function.UnaryOperator;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * What a consumer reads and how it tries.
 *
 * @param tenantSecrets the tenants whose events are read, with the secrets that sign them.
 * @param requireSign refuse unsigned events.
 * @param maxAttempts times the handler is called with an event that fails.
 * @param retryDelay pause before the second call; doubles each time, 5 s at most.
 * @param processed which events were handled.
 * @param topicOf a tenant's topic; only other than {@link MicsTopics#eventTopicName} when events are copied elsewhere.
 */
public record MicsEventConsumerOptions(
        Map<String, String> tenantSecrets,
        boolean requireSign,
        int maxAttempts,
        Duration retryDelay,
        ProcessedEvents processed,
        UnaryOperator<String> topicOf) {

    public MicsEventConsumerOptions {
        tenantSecrets = Map.copyOf(tenantSecrets);
        if (tenantSecrets.isEmpty() || maxAttempts <= 0) {
            throw new IllegalArgumentException("need a tenant, and maxAttempts above zero");
        }
    }

    /** Signatures required, 3 attempts, 200 ms, the last 100 000 events remembered in memory. */
    public static MicsEventConsumerOptions of(Map<String, String> tenantSecrets) {
        return new MicsEventConsumerOptions(
                tenantSecrets, true, 3, Duration.ofMillis(200), ProcessedEvents.inMemory(100_000), MicsTopics::eventTopicName);
    }

    public MicsEventConsumerOptions withRequireSign(boolean value) {
        return new MicsEventConsumerOptions(tenantSecrets, value, maxAttempts, retryDelay, processed, topicOf);
    }

    public MicsEventConsumerOptions withAttempts(int attempts, Duration delay) {
        return new MicsEventConsumerOptions(tenantSecrets, requireSign, attempts, delay, processed, topicOf);
    }

    public MicsEventConsumerOptions withProcessed(ProcessedEvents value) {
        return new MicsEventConsumerOptions(tenantSecrets, requireSign, maxAttempts, retryDelay, value, topicOf);
    }

    public MicsEventConsumerOptions withTopicOf(UnaryOperator<String> value) {
        return new MicsEventConsumerOptions(tenantSecrets, requireSign, maxAttempts, retryDelay, processed, value);
    }

    /** Settings of the Kafka consumer that {@link MicsEventConsumer} relies on; add security settings as needed. */
    public static Properties consumerProperties(String bootstrapServers, String groupId) {
        Properties properties = new Properties();
        properties.put(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrapServers);
        properties.put(ConsumerConfig.GROUP_ID_CONFIG, groupId);
        properties.put(ConsumerConfig.KEY_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        properties.put(ConsumerConfig.VALUE_DESERIALIZER_CLASS_CONFIG, ByteArrayDeserializer.class);
        // Offsets are committed after handling; a new group begins with what is there.
        properties.put(ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
        properties.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        properties.put(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 100);
        // Topics that come later are seen after this time.
        properties.put(ConsumerConfig.METADATA_MAX_AGE_CONFIG, 5000);
        return properties;
    }

    /** Settings of the Kafka producer for {@link DeadLetters#toKafka}. */
    public static Properties producerProperties(String bootstrapServers) {
        Properties properties = new Properties();
        properties.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrapServers);
        properties.put(ProducerConfig.KEY_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
        properties.put(ProducerConfig.VALUE_SERIALIZER_CLASS_CONFIG, ByteArraySerializer.class);
        properties.put(ProducerConfig.ACKS_CONFIG, "all");
        return properties;
    }
}
