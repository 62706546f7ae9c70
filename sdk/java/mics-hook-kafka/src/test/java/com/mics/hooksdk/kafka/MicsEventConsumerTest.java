package com.mics.hooksdk.kafka;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.mics.contracts.hook.v1.EventType;
import com.mics.contracts.hook.v1.MqEvent;
import com.mics.contracts.message.v1.MessageRequest;
import com.mics.hooksdk.MicsTopics;
import com.mics.hooksdk.MqEventSigner;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.MockConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.kafka.clients.producer.MockProducer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The consumer on Kafka's own test doubles. */
@Timeout(60)
class MicsEventConsumerTest {
    private static final String SECRET = "s";
    private static final TopicPartition PARTITION = new TopicPartition(MicsTopics.eventTopicName("t1"), 0);

    /** Keeps what was committed readable after the end. */
    private final Map<TopicPartition, OffsetAndMetadata> committed = new java.util.concurrent.ConcurrentHashMap<>();
    private final MockConsumer<byte[], byte[]> kafka = new MockConsumer<>(OffsetResetStrategy.EARLIEST) {
        @Override
        public synchronized void commitSync(Map<TopicPartition, OffsetAndMetadata> offsets) {
            super.commitSync(offsets);
            committed.putAll(offsets);
        }
    };
    private final MockProducer<byte[], byte[]> producer =
            new MockProducer<>(true, new ByteArraySerializer(), new ByteArraySerializer());
    private final List<String> handled = new CopyOnWriteArrayList<>();
    private final AtomicInteger calls = new AtomicInteger();
    private DeadLetters deadLetters = DeadLetters.toKafka(producer);
    private MicsEventConsumer consumer;
    private Thread thread;
    private long offset;

    @BeforeEach
    void start() {
        MicsEventConsumerOptions options =
                MicsEventConsumerOptions.of(Map.of("t1", SECRET)).withAttempts(3, Duration.ofMillis(5));
        consumer = new MicsEventConsumer(kafka, (tenant, record, reason) -> deadLetters.put(tenant, record, reason), this::handle, options);
        thread = new Thread(consumer);
        thread.start();
        await(() -> kafka.subscription().equals(Set.of(PARTITION.topic())));
        kafka.schedulePollTask(() -> {
            kafka.rebalance(List.of(PARTITION));
            kafka.updateBeginningOffsets(Map.of(PARTITION, 0L));
        });
        await(() -> !kafka.assignment().isEmpty());
    }

    @AfterEach
    void stop() throws InterruptedException {
        consumer.close();
        thread.join(10_000);
        assertTrue(kafka.closed());
    }

    private void handle(MqEvent event) {
        calls.incrementAndGet();
        if (event.getMsgId().startsWith("bad")) {
            throw new IllegalStateException("no room");
        }
        if (event.getMsgId().equals("second-time-lucky") && calls.get() < 2) {
            throw new IllegalStateException();
        }
        handled.add(event.getMsgId());
    }

    private static MqEvent event(String id) {
        MessageRequest message = MessageRequest.newBuilder().setMsgId(id).setMsgBody(ByteString.copyFromUtf8("b")).build();
        MqEvent event = MqEvent.newBuilder().setTenantId("t1").setUserId("u1").setMsgId(id).setToUserId("u2")
                .setEventType(EventType.OFFLINE_MESSAGE).setEventData(message.toByteString()).build();
        return event.toBuilder().setSign(MqEventSigner.computeBase64(SECRET, event)).build();
    }

    private void publish(byte[] value) {
        long at = offset++;
        kafka.schedulePollTask(() -> kafka.addRecord(new ConsumerRecord<>(PARTITION.topic(), 0, at, "u1".getBytes(), value)));
    }

    private void awaitCommit(long wanted) {
        await(() -> committed.containsKey(PARTITION) && committed.get(PARTITION).offset() == wanted);
    }

    private static void await(BooleanSupplier condition) {
        long end = System.nanoTime() + Duration.ofSeconds(20).toNanos();
        while (!condition.getAsBoolean()) {
            assertTrue(System.nanoTime() < end, "took too long");
            Thread.onSpinWait();
        }
    }

    private List<String> letters() {
        return producer.history().stream()
                .map(letter -> new String(letter.headers().lastHeader("mics-reason").value(), StandardCharsets.UTF_8))
                .toList();
    }

    @Test
    void eventsAreHandledOnceInOrderAndCommitted() {
        publish(event("a").toByteArray());
        publish(event("b").toByteArray());
        publish(event("a").toByteArray());
        publish(event("c").toByteArray());
        awaitCommit(4);
        assertEquals(List.of("a", "b", "c"), handled);
        assertTrue(producer.history().isEmpty());
    }

    @Test
    void whatCannotBeTrustedBecomesADeadLetter() {
        publish(event("a").toBuilder().setToUserId("u9").build().toByteArray());
        publish(event("a").toBuilder().clearSign().build().toByteArray());
        publish(event("a").toBuilder().setTenantId("t2").build().toByteArray());
        publish(new byte[] {10, 99, 1});
        publish(null);
        publish(event("b").toByteArray());
        awaitCommit(6);
        assertEquals(List.of("b"), handled);
        assertEquals(
                List.of("invalid sign", "invalid sign", "event of another tenant", "no event", "event of another tenant"), letters());
        assertEquals("im-mics-t1-event-consumer-dlq", producer.history().get(0).topic());
        assertEquals("im-mics-t1-event/0/0", new String(producer.history().get(0).headers().lastHeader("mics-origin").value(), StandardCharsets.UTF_8));
    }

    @Test
    void failuresAreTriedAgainThenPutAside() {
        publish(event("second-time-lucky").toByteArray());
        awaitCommit(1);
        assertEquals(List.of("second-time-lucky"), handled);
        calls.set(0);
        publish(event("bad").toByteArray());
        publish(event("after").toByteArray());
        awaitCommit(3);
        assertEquals(4, calls.get());
        assertEquals(List.of("second-time-lucky", "after"), handled);
        assertEquals(List.of("handler failed: java.lang.IllegalStateException: no room"), letters());
    }

    @Test
    void nothingIsCommittedBeforeItsDeadLetterIsSafe() {
        AtomicInteger tries = new AtomicInteger();
        DeadLetters working = deadLetters;
        deadLetters = (tenant, record, reason) -> {
            assertTrue(committed.isEmpty());
            if (tries.incrementAndGet() < 3) {
                throw new KafkaException("away");
            }
            working.put(tenant, record, reason);
        };
        publish(event("bad").toByteArray());
        awaitCommit(1);
        assertEquals(3, tries.get());
        assertEquals(1, producer.history().size());
    }

    @Test
    void aStopInTheMiddleLeavesTheEventForTheNext() throws InterruptedException {
        deadLetters = (tenant, record, reason) -> {
            throw new KafkaException("away");
        };
        publish(event("a").toByteArray());
        publish(event("bad").toByteArray());
        await(() -> calls.get() == 4);
        consumer.close();
        thread.join(10_000);
        assertEquals(1, committed.get(PARTITION).offset());
    }

    @Test
    void eventsAreNamedByWhatTheyAre() {
        MqEvent event = event("a");
        MqEvent copy = event.toBuilder().setTimestamp(9).setTraceId("other").build();
        assertEquals(ProcessedEvents.key(event), ProcessedEvents.key(copy));
        assertNotEquals(ProcessedEvents.key(event), ProcessedEvents.key(event.toBuilder().setToUserId("u3").build()));
        MqEvent online = MqEvent.newBuilder().setUserId("u1").setTraceId("x").build();
        assertEquals(ProcessedEvents.key(online), ProcessedEvents.key(online.toBuilder().setTimestamp(3).build()));
        assertNotEquals(ProcessedEvents.key(online), ProcessedEvents.key(online.toBuilder().setTraceId("y").build()));
        ProcessedEvents memory = ProcessedEvents.inMemory(1);
        memory.add("1");
        memory.add("2");
        assertTrue(memory.contains("2") && !memory.contains("1"));
    }
}
