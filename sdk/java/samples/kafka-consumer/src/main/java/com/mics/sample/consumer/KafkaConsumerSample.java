package com.mics.sample.consumer;

import com.mics.contracts.hook.v1.MqEvent;
import com.mics.hooksdk.MicsTopics;
import com.mics.hooksdk.MqEventDecoder;
import com.mics.hooksdk.kafka.DeadLetters;
import com.mics.hooksdk.kafka.MicsEventConsumer;
import com.mics.hooksdk.kafka.MicsEventConsumerOptions;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;

/**
 * Prints a tenant's events. Environment: {@code KAFKA_BROKERS} (localhost:9092), {@code TENANT_ID} (t1),
 * {@code TENANT_SECRET} (dev-secret-t1), {@code REQUIRE_SIGN} (false), {@code TOPIC} (the tenant's event topic),
 * {@code GROUP_ID} (mics-hook-TENANT).
 */
public final class KafkaConsumerSample {
    private KafkaConsumerSample() {}

    public static void main(String[] args) throws InterruptedException {
        String brokers = env("KAFKA_BROKERS", "localhost:9092");
        String tenant = env("TENANT_ID", "t1");
        String topic = env("TOPIC", MicsTopics.eventTopicName(tenant));
        MicsEventConsumerOptions options = MicsEventConsumerOptions
                .of(Map.of(tenant, env("TENANT_SECRET", "dev-secret-t1")))
                .withRequireSign(Boolean.parseBoolean(env("REQUIRE_SIGN", "false")))
                .withTopicOf(any -> topic);
        try (KafkaProducer<byte[], byte[]> letters =
                new KafkaProducer<>(MicsEventConsumerOptions.producerProperties(brokers))) {
            MicsEventConsumer consumer = new MicsEventConsumer(
                    new KafkaConsumer<>(MicsEventConsumerOptions.consumerProperties(brokers, env("GROUP_ID", "mics-hook-" + tenant))),
                    DeadLetters.toKafka(letters),
                    KafkaConsumerSample::print,
                    options);
            Thread main = Thread.currentThread();
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                consumer.close();
                try {
                    main.join(10_000);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            }));
            System.out.println("reading " + topic);
            consumer.run();
        }
    }

    private static void print(MqEvent event) {
        String what = MqEventDecoder.tryDecodeMessage(event)
                .map(message -> message.getMsgId() + ", " + message.getMsgBody().size() + " bytes")
                .orElse("");
        System.out.println(event.getEventType() + " " + event.getUserId() + "/" + event.getDeviceId()
                + " -> " + event.getToUserId() + event.getGroupId() + " " + what);
    }

    private static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isBlank() ? otherwise : value;
    }
}
