package com.mics.hooksdk.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnknownFieldSet;
import com.mics.contracts.message.v1.MessageRequest;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.h2.jdbcx.JdbcConnectionPool;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Offline messages in a database file. */
class JdbcOfflineMessageStoreTest {
    @TempDir
    Path folder;

    private JdbcConnectionPool database;
    private JdbcOfflineMessageStore store;

    @BeforeEach
    void open() throws Exception {
        database = JdbcConnectionPool.create("jdbc:h2:file:" + folder.resolve("offline"), "sa", "");
        store = new JdbcOfflineMessageStore(database);
        store.createTable();
    }

    @AfterEach
    void close() {
        database.dispose();
    }

    private static MessageRequest message(String id) {
        return MessageRequest.newBuilder().setUserId("u1").setDeviceId("d1").setMsgId(id).setTimestampMs(7)
                .setMsgBody(ByteString.copyFromUtf8("body " + id)).build();
    }

    private List<String> ids(String tenant, String user) throws Exception {
        List<String> ids = new ArrayList<>();
        String cursor = "";
        OfflineMessageStore.Page page;
        do {
            page = store.page(tenant, user, cursor, 10);
            page.messages().forEach(message -> ids.add(message.getMsgId()));
            cursor = page.nextCursor();
        } while (page.hasMore());
        return ids;
    }

    @Test
    void pagesAreCompleteAndInOrder() throws Exception {
        List<String> all = IntStream.range(0, 35).mapToObj(i -> "m" + i).toList();
        for (String id : all) {
            assertTrue(store.save("t1", "u2", message(id)));
        }
        store.save("t2", "u2", message("other tenant"));
        store.save("t1", "u3", message("other user"));
        assertEquals(all, ids("t1", "u2"));
        assertEquals(all, ids("t1", "u2"), "reading does not delete");
        assertTrue(store.page("t1", "nobody", "", 10).messages().isEmpty());
        assertThrows(IllegalArgumentException.class, () -> store.page("t1", "u2", "x", 10));
    }

    @Test
    void exactlyFullPagesSayThatNothingFollows() throws Exception {
        for (int i = 0; i < 10; i++) {
            store.save("t1", "u2", message("m" + i));
        }
        assertFalse(store.page("t1", "u2", "", 10).hasMore());
        assertTrue(store.page("t1", "u2", "", 9).hasMore());
    }

    @Test
    void repetitionsAreKeptOnceAndBytesStayAsTheyAre() throws Exception {
        UnknownFieldSet unknown = UnknownFieldSet.newBuilder()
                .addField(99, UnknownFieldSet.Field.newBuilder().addVarint(1).build()).build();
        MessageRequest message = message("a").toBuilder().setUnknownFields(unknown).build();
        assertTrue(store.save("t1", "u2", message));
        assertFalse(store.save("t1", "u2", message.toBuilder().setTimestampMs(8).build()), "sent again by its client");
        assertTrue(store.save("t1", "u2", message.toBuilder().setMsgBody(ByteString.EMPTY).build()), "another content");
        assertEquals(message, store.page("t1", "u2", "", 1).messages().get(0));
    }

    @Test
    void readAndOldMessagesAreForgotten() throws Exception {
        store.save("t1", "u2", message("a"));
        store.save("t1", "u2", message("b"));
        assertTrue(store.delete("t1", "u2", "u1", "a"));
        assertFalse(store.delete("t1", "u2", "u1", "a"));
        assertEquals(List.of("b"), ids("t1", "u2"));
        assertEquals(0, store.purge(Duration.ofDays(1)));
        Clock later = Clock.offset(Clock.systemUTC(), Duration.ofDays(2));
        assertEquals(1, new JdbcOfflineMessageStore(database, later).purge(Duration.ofDays(1)));
    }

    @Test
    void aRestartKeepsMessages() throws Exception {
        store.save("t1", "u2", message("a"));
        database.dispose();
        open();
        store.save("t1", "u2", message("b"));
        assertEquals(List.of("a", "b"), ids("t1", "u2"));
    }
}
