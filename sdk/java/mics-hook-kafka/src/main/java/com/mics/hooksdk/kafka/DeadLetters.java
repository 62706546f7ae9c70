package com.mics.hooksdk.kafka;

import com.mics.hooksdk.MicsTopics;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Where events go that were refused or could not be handled. */
@FunctionalInterface
public interface DeadLetters {
    /** Returns once the letter is safe. What it throws is tried again; the event is not passed over meanwhile. */
    void put(String tenantId, ConsumerRecord<byte[], byte[]> record, String reason) throws Exception;

    /**
     * Writes to {@link MicsTopics#consumerDlqTopicName}: same key, same value, and the headers {@code mics-reason} and
     * {@code mics-origin} (topic, partition, offset).
     */
    static DeadLetters toKafka(Producer<byte[], byte[]> producer) {
        return (tenantId, record, reason) -> {
            String origin = record.topic() + '/' + record.partition() + '/' + record.offset();
            ProducerRecord<byte[], byte[]> letter =
                    new ProducerRecord<>(MicsTopics.consumerDlqTopicName(tenantId), record.key(), record.value());
            letter.headers().add("mics-reason", reason.getBytes(StandardCharsets.UTF_8));
            letter.headers().add("mics-origin", origin.getBytes(StandardCharsets.UTF_8));
            producer.send(letter).get(30, TimeUnit.SECONDS);
        };
    }
}
