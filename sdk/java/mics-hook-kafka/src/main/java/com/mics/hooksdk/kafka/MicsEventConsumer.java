package com.mics.hooksdk.kafka;

import com.google.protobuf.InvalidProtocolBufferException;
import com.mics.contracts.hook.v1.MqEvent;
import com.mics.hooksdk.MqEventSigner;
import java.lang.System.Logger.Level;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;

/**
 * Reads the event topics of one or more tenants: verifies, passes over repetitions, calls the handler, tries again, and
 * puts aside what cannot be handled. Every event is handled or a dead letter before its offset is committed, so none is
 * lost; after a crash the last ones come again.
 *
 * <p>{@link #run} works in the calling thread until {@link #close}.
 */
public final class MicsEventConsumer implements Runnable, AutoCloseable {
    private static final System.Logger LOG = System.getLogger(MicsEventConsumer.class.getName());
    private static final Duration POLL = Duration.ofMillis(500);
    private static final long MAX_PAUSE_MS = 5000;

    private final Consumer<byte[], byte[]> consumer;
    private final DeadLetters deadLetters;
    private final MicsEventHandler handler;
    private final MicsEventConsumerOptions options;
    private final Map<String, String> tenantOfTopic;
    private final CountDownLatch stop = new CountDownLatch(1);

    /** @param consumer made with {@link MicsEventConsumerOptions#consumerProperties}; closed at the end of {@link #run}. */
    public MicsEventConsumer(
            Consumer<byte[], byte[]> consumer, DeadLetters deadLetters, MicsEventHandler handler, MicsEventConsumerOptions options) {
        this.consumer = consumer;
        this.deadLetters = deadLetters;
        this.handler = handler;
        this.options = options;
        tenantOfTopic = options.tenantSecrets().keySet().stream()
                .collect(Collectors.toMap(options.topicOf(), tenant -> tenant));
    }

    @Override
    public void run() {
        try (consumer) {
            consumer.subscribe(tenantOfTopic.keySet());
            long pause = 200;
            while (!stopped()) {
                try {
                    handleBatch();
                    pause = 200;
                } catch (WakeupException e) {
                    return;
                } catch (KafkaException e) {
                    LOG.log(Level.WARNING, "Kafka failed, trying again", e);
                    sleep(pause);
                    pause = Math.min(pause * 2, MAX_PAUSE_MS);
                }
            }
        }
    }

    /** Ends {@link #run} after the event at work. Can be called from any thread. */
    @Override
    public void close() {
        stop.countDown();
        consumer.wakeup();
    }

    private void handleBatch() {
        Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();
        try {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
                if (!finish(record)) {
                    return;
                }
                done.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
            }
        } finally {
            if (!done.isEmpty()) {
                commit(done);
            }
        }
    }

    private void commit(Map<TopicPartition, OffsetAndMetadata> done) {
        try {
            consumer.commitSync(done);
        } catch (WakeupException e) {
            // The wake-up of close() hit the commit; it is used up now.
            consumer.commitSync(done);
            throw e;
        }
    }

    /** Handles a record or puts it aside; false when the consumer is stopped before that. */
    private boolean finish(ConsumerRecord<byte[], byte[]> record) {
        String tenant = tenantOfTopic.get(record.topic());
        String reason;
        try {
            MqEvent event = MqEvent.parseFrom(record.value() == null ? new byte[0] : record.value());
            reason = refusal(tenant, event, record.value());
            if (reason == null) {
                reason = handle(event);
            }
        } catch (InvalidProtocolBufferException e) {
            reason = "no event";
        }
        if (reason == null) {
            return true;
        }
        return !stopped() && putAside(tenant, record, reason);
    }

    private String refusal(String tenant, MqEvent event, byte[] received) {
        if (!event.getTenantId().equals(tenant)) {
            return "event of another tenant";
        }
        boolean genuine = MqEventSigner.verifyReceived(options.tenantSecrets().get(tenant), received, options.requireSign());
        return genuine ? null : "invalid sign";
    }

    /** Null when the event was handled, now or earlier; otherwise why not. */
    private String handle(MqEvent event) {
        String key = ProcessedEvents.key(event);
        String failure = null;
        for (int attempt = 1; attempt <= options.maxAttempts() && !stopped(); attempt++) {
            try {
                if (!options.processed().contains(key)) {
                    handler.onEvent(event);
                    options.processed().add(key);
                }
                return null;
            } catch (Exception e) {
                failure = "handler failed: " + e;
                LOG.log(Level.WARNING, "event " + event.getEventType() + " " + event.getMsgId() + ", attempt " + attempt, e);
            }
            if (attempt < options.maxAttempts()) {
                sleep(Math.min(options.retryDelay().toMillis() << Math.min(attempt - 1, 10), MAX_PAUSE_MS));
            }
        }
        return failure == null ? "stopped" : failure;
    }

    private boolean putAside(String tenant, ConsumerRecord<byte[], byte[]> record, String reason) {
        for (long pause = 200; ; pause = Math.min(pause * 2, MAX_PAUSE_MS)) {
            try {
                deadLetters.put(tenant, record, reason);
                LOG.log(Level.WARNING, "dead letter {0}/{1}/{2}: {3}",
                        record.topic(), record.partition(), record.offset(), reason);
                return true;
            } catch (Exception e) {
                LOG.log(Level.ERROR, "a dead letter could not be written, trying again", e);
            }
            if (sleep(pause)) {
                return false;
            }
        }
    }

    private boolean stopped() {
        return stop.getCount() == 0;
    }

    /** True when the consumer is stopped. */
    private boolean sleep(long millis) {
        try {
            return stop.await(millis, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            close();
            return true;
        }
    }
}
