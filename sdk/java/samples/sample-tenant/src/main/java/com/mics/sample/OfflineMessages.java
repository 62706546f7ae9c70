package com.mics.sample;

import com.mics.contracts.hook.v1.EventType;
import com.mics.contracts.hook.v1.MqEvent;
import com.mics.contracts.message.v1.MessageRequest;
import com.mics.hooksdk.MqEventDecoder;
import com.mics.hooksdk.kafka.DeadLetters;
import com.mics.hooksdk.kafka.MicsEventConsumer;
import com.mics.hooksdk.kafka.MicsEventConsumerOptions;
import com.mics.hooksdk.store.JdbcOfflineMessageStore;
import com.mics.hooksdk.store.OfflineMessageStore;
import java.sql.SQLException;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.h2.jdbcx.JdbcConnectionPool;

/** Offline messages in a database: OFFLINE_MESSAGE events go in, {@link #store} gives them out, old ones are purged. */
public final class OfflineMessages implements AutoCloseable {
    private static final Duration KEPT = Duration.ofDays(3);

    private final JdbcConnectionPool database;
    private final JdbcOfflineMessageStore store;
    private final KafkaProducer<byte[], byte[]> letters;
    private final MicsEventConsumer consumer;
    private final Thread reader;
    private final ScheduledExecutorService purger = Executors.newSingleThreadScheduledExecutor();

    public OfflineMessages(SampleConfig config) throws Exception {
        database = JdbcConnectionPool.create(config.databaseUrl(), "sa", "");
        database.setMaxConnections(16);
        store = new JdbcOfflineMessageStore(database);
        store.createTable();
        // The first queries of a process are slow; the first user shall not wait for them.
        for (int i = 0; i < 50; i++) {
            store.page("warm-up", "nobody", "", 100);
        }
        letters = new KafkaProducer<>(MicsEventConsumerOptions.producerProperties(config.kafkaBrokers()));
        MicsEventConsumerOptions options =
                MicsEventConsumerOptions.of(config.tenantSecrets()).withRequireSign(config.requireSign());
        consumer = new MicsEventConsumer(
                new KafkaConsumer<>(MicsEventConsumerOptions.consumerProperties(config.kafkaBrokers(), config.groupId())),
                DeadLetters.toKafka(letters),
                this::keep,
                options);
        reader = new Thread(consumer, "mics-events");
        reader.start();
        purger.scheduleWithFixedDelay(this::purge, 1, 60, TimeUnit.MINUTES);
    }

    public OfflineMessageStore store() {
        return store;
    }

    @Override
    public void close() throws InterruptedException {
        consumer.close();
        reader.join(TimeUnit.SECONDS.toMillis(10));
        purger.shutdownNow();
        letters.close(Duration.ofSeconds(5));
        database.dispose();
    }

    private void keep(MqEvent event) throws SQLException {
        if (event.getEventType() != EventType.OFFLINE_MESSAGE) {
            return;
        }
        MessageRequest message = MqEventDecoder.tryDecodeMessage(event)
                .orElseThrow(() -> new IllegalArgumentException("event without a message"));
        store.save(event.getTenantId(), event.getToUserId(), message);
    }

    private void purge() {
        try {
            store.purge(KEPT);
        } catch (SQLException e) {
            System.getLogger("mics").log(System.Logger.Level.WARNING, "could not purge", e);
        }
    }
}
