package com.mics.hooksdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.mics.contracts.hook.v1.AuthRequest;
import com.mics.contracts.hook.v1.AuthResponse;
import com.mics.contracts.hook.v1.CheckMessageResponse;
import com.mics.contracts.hook.v1.GetGroupMembersRequest;
import com.mics.contracts.hook.v1.GetGroupMembersResponse;
import com.mics.contracts.hook.v1.GetOfflineMessagesRequest;
import com.mics.contracts.hook.v1.GetOfflineMessagesResponse;
import com.mics.contracts.hook.v1.HookMeta;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.ExecutorService;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What is refused, with which reason, and what happens with handlers that fail. */
@Timeout(60)
class ProcessorTest {
    private static final long NOW = 1_770_000_000_000L;

    private final List<MicsHookProcessor> processors = new ArrayList<>();

    @AfterEach
    void close() {
        processors.forEach(MicsHookProcessor::close);
    }

    private static MicsHookServerOptions.Builder options() {
        return MicsHookServerOptions.builder(tenant -> tenant.equals("t1") ? Requests.SECRET : null)
                .handlerBudget(Duration.ofSeconds(20))
                .clock(Clock.fixed(Instant.ofEpochMilli(NOW), ZoneOffset.UTC));
    }

    private MicsHookProcessor processor(MicsHookServerOptions.Builder options) {
        MicsHookProcessor processor = new MicsHookProcessor(new Requests.Handler(), options.build());
        processors.add(processor);
        return processor;
    }

    private static AuthResponse auth(MicsHookProcessor processor, AuthRequest request) throws Exception {
        MicsHookProcessor.Reply reply = processor.process(HookOperation.AUTH, request.toByteArray());
        assertEquals(200, reply.status());
        return AuthResponse.parseFrom(reply.body());
    }

    @Test
    void aSignedRequestIsAnsweredWithItsMeta() throws Exception {
        AuthRequest request = Requests.auth(Requests.meta(NOW), "u1");
        AuthResponse response = auth(processor(options()), request);
        assertTrue(response.getOk());
        assertEquals("u1", response.getUserId());
        assertEquals(request.getMeta(), response.getMeta());
    }

    @Test
    void tenantsAndSignaturesAreChecked() throws Exception {
        MicsHookProcessor processor = processor(options());
        AuthRequest good = Requests.auth(Requests.meta(NOW), "u1");
        HookMeta meta = good.getMeta();
        assertEquals("invalid tenant", auth(processor, AuthRequest.getDefaultInstance()).getReason());
        assertEquals("invalid tenant", auth(processor, Requests.auth(meta.toBuilder().setTenantId(" ").build(), "u1")).getReason());
        assertEquals("unknown tenant", auth(processor, good.toBuilder().setMeta(meta.toBuilder().setTenantId("t2")).build()).getReason());
        assertEquals("invalid sign", auth(processor, good.toBuilder().setMeta(meta.toBuilder().clearSign()).build()).getReason());
        assertEquals("invalid sign", auth(processor, good.toBuilder().setToken("u2").build()).getReason());
        assertFalse(auth(processor, good.toBuilder().setToken("u2").build()).getOk());
        assertTrue(auth(processor, good).getOk(), "refused copies do not use the request id up");
    }

    @Test
    void refusalsHaveTheShapeOfTheirOperation() throws Exception {
        MicsHookProcessor processor = processor(options());
        HookMeta unsigned = Requests.meta(NOW);
        MicsHookProcessor.Reply check = processor.process(HookOperation.CHECK_MESSAGE, check(unsigned));
        assertFalse(CheckMessageResponse.parseFrom(check.body()).getAllow());
        assertEquals("invalid sign", CheckMessageResponse.parseFrom(check.body()).getReason());
        MicsHookProcessor.Reply group = processor.process(
                HookOperation.GET_GROUP_MEMBERS, GetGroupMembersRequest.newBuilder().setMeta(unsigned).build().toByteArray());
        assertEquals(0, GetGroupMembersResponse.parseFrom(group.body()).getUserIdsCount());
        MicsHookProcessor.Reply offline = processor.process(
                HookOperation.GET_OFFLINE_MESSAGES, GetOfflineMessagesRequest.newBuilder().setMeta(unsigned).build().toByteArray());
        assertFalse(GetOfflineMessagesResponse.parseFrom(offline.body()).getOk());
    }

    private static byte[] check(HookMeta meta) {
        return com.mics.contracts.hook.v1.CheckMessageRequest.newBuilder().setMeta(meta).build().toByteArray();
    }

    @Test
    void unsignedRequestsPassWhereAllowed() throws Exception {
        MicsHookProcessor processor = processor(options().requireSign(false));
        AuthRequest unsigned = AuthRequest.newBuilder().setMeta(Requests.meta(1)).setToken("u1").build();
        assertTrue(auth(processor, unsigned).getOk());
        AuthRequest wrong = Requests.auth(Requests.meta(NOW), "u1").toBuilder().setToken("u2").build();
        assertEquals("invalid sign", auth(processor, wrong).getReason(), "a signature that is there must be right");
        GetOfflineMessagesRequest offline = GetOfflineMessagesRequest.newBuilder().setMeta(Requests.meta(1)).build();
        MicsHookProcessor.Reply reply = processor.process(HookOperation.GET_OFFLINE_MESSAGES, offline.toByteArray());
        assertTrue(GetOfflineMessagesResponse.parseFrom(reply.body()).getOk(), "the default of the interface");
    }

    @Test
    void oldAndRepeatedRequestsAreRefused() throws Exception {
        MicsHookProcessor processor = processor(options());
        for (long late : List.of(-60_001L, 60_001L)) {
            assertEquals("stale request", auth(processor, Requests.auth(Requests.meta(NOW + late), "u1")).getReason());
        }
        AuthRequest edge = Requests.auth(Requests.meta(NOW - 60_000), "u1");
        assertTrue(auth(processor, edge).getOk());
        assertEquals("replayed request", auth(processor, edge).getReason());
        assertTrue(auth(processor(options().freshnessWindow(Duration.ZERO)), Requests.auth(Requests.meta(1), "u1")).getOk());
    }

    @Test
    void theReplayCacheForgetsByTimeAndSize() {
        ReplayCache cache = new ReplayCache(2, 100);
        assertTrue(cache.add("a", 0));
        assertFalse(cache.add("a", 99));
        assertTrue(cache.add("a", 100));
        assertTrue(cache.add("b", 100) && cache.add("c", 100));
        assertTrue(cache.add("a", 100), "pushed out by size");
    }

    @Test
    void aMessageThatCouldNotBeCheckedIsRefused() throws Exception {
        MicsHookProcessor.Reply check =
                processor(options()).process(HookOperation.CHECK_MESSAGE, Requests.check(Requests.meta(NOW)).toByteArray());
        assertEquals(200, check.status());
        assertFalse(CheckMessageResponse.parseFrom(check.body()).getAllow());
        assertEquals("handler error", CheckMessageResponse.parseFrom(check.body()).getReason());
    }

    @Test
    void anythingElseThatFailsIsAnOutageAndNeitherABadTokenNorAnEmptyGroup() {
        MicsHookServerOptions noSecrets = MicsHookServerOptions.builder(tenant -> { throw new IllegalStateException(); }).build();
        MicsHookProcessor withoutSecrets = new MicsHookProcessor(new Requests.Handler(), noSecrets);
        processors.add(withoutSecrets);
        for (MicsHookProcessor processor : List.of(processor(options()), withoutSecrets)) {
            assertOutage(processor, HookOperation.AUTH, Requests.auth(Requests.meta(NOW), "broken").toByteArray());
            assertOutage(processor, HookOperation.GET_GROUP_MEMBERS, Requests.members(Requests.meta(NOW), "broken").toByteArray());
            assertOutage(processor, HookOperation.GET_OFFLINE_MESSAGES, Requests.offline(Requests.meta(NOW)).toByteArray());
        }
    }

    private static void assertOutage(MicsHookProcessor processor, HookOperation operation, byte[] request) {
        MicsHookProcessor.Reply reply = processor.process(operation, request);
        assertEquals(500, reply.status(), operation.toString());
        assertEquals(0, reply.body().length, "nothing of the exception");
    }

    @Test
    void aSlowHandlerIsGivenUpAndItsThreadComesBack() throws Exception {
        MicsHookProcessor processor = processor(options().handlerBudget(Duration.ofMillis(50)).handlerThreads(1));
        byte[] slow = Requests.auth(Requests.meta(NOW), "slow").toByteArray();
        assertEquals(503, processor.process(HookOperation.AUTH, slow).status());
        int status = 503;
        while (status == 503) {
            status = processor.process(HookOperation.AUTH, Requests.auth(Requests.meta(NOW), "u1").toByteArray()).status();
        }
        assertEquals(200, status);
    }

    @Test
    void moreHandlersThanAllowedAreRefusedAtOnce() {
        MicsHookProcessor processor = processor(options().handlerBudget(Duration.ofSeconds(2)).handlerThreads(1));
        ExecutorService callers = Executors.newFixedThreadPool(12);
        List<CompletableFuture<Integer>> replies = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            byte[] slow = Requests.auth(Requests.meta(NOW), "slow").toByteArray();
            replies.add(CompletableFuture.supplyAsync(() -> processor.process(HookOperation.AUTH, slow).status(), callers));
        }
        replies.forEach(reply -> assertEquals(503, reply.join()));
        callers.shutdown();
    }

    @Test
    void aBodyThatIsNoMessageIs400() {
        assertEquals(400, processor(options()).process(HookOperation.AUTH, new byte[] {10, 99, 1}).status());
    }

    @Test
    void theWarmUpLeavesTheHandlerAlone() {
        processor(options()).warmUp();
    }
}
