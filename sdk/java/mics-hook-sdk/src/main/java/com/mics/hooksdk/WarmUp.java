package com.mics.hooksdk;

import com.google.protobuf.ByteString;
import com.google.protobuf.MessageLite;
import com.mics.contracts.hook.v1.AuthRequest;
import com.mics.contracts.hook.v1.AuthResponse;
import com.mics.contracts.hook.v1.CheckMessageRequest;
import com.mics.contracts.hook.v1.CheckMessageResponse;
import com.mics.contracts.hook.v1.GetGroupMembersRequest;
import com.mics.contracts.hook.v1.GetGroupMembersResponse;
import com.mics.contracts.hook.v1.GetOfflineMessagesRequest;
import com.mics.contracts.hook.v1.HookMeta;
import com.mics.contracts.message.v1.MessageRequest;
import java.io.IOException;
import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.URI;
import java.net.URISyntaxException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Has the virtual machine load and compile what answering takes, before the gateway asks. Without it the first requests
 * after a start need more than their 150 ms, and the first users are refused.
 */
final class WarmUp {
    private static final int ROUNDS = 400;
    private static final int HTTP_CLIENTS = 16;
    private static final int HTTP_ROUNDS = 20;

    private WarmUp() {}

    /** Answers made-up requests of a made-up tenant, with a handler of its own; the application's is not called. */
    static void processor() {
        String secret = UUID.randomUUID().toString();
        MicsHookServerOptions options = MicsHookServerOptions.builder(tenant -> secret)
                .handlerBudget(Duration.ofSeconds(5))
                .handlerThreads(2)
                .replayCacheSize(ROUNDS * 4)
                .build();
        try (MicsHookProcessor processor = new MicsHookProcessor(new Nothing(), options)) {
            for (int round = 0; round < ROUNDS; round++) {
                requests(secret).forEach(processor::process);
            }
        }
    }

    /** Sends requests without a tenant to this process's own server; they are refused before the handler. */
    static void http(InetSocketAddress address, String path) {
        ExecutorService clients = Executors.newFixedThreadPool(HTTP_CLIENTS);
        try {
            List<Future<?>> done = new ArrayList<>();
            for (int client = 0; client < HTTP_CLIENTS; client++) {
                done.add(clients.submit(() -> http(address, path, HTTP_ROUNDS)));
            }
            for (Future<?> future : done) {
                future.get(5, TimeUnit.SECONDS);
            }
        } catch (ExecutionException | TimeoutException e) {
            System.getLogger(WarmUp.class.getName()).log(System.Logger.Level.DEBUG, "no warm-up over HTTP", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            clients.shutdownNow();
        }
    }

    private static Void http(InetSocketAddress address, String path, int rounds) throws IOException, URISyntaxException {
        InetAddress host = address.getAddress().isAnyLocalAddress() ? InetAddress.getLoopbackAddress() : address.getAddress();
        URI uri = new URI("http", null, host.getHostAddress(), address.getPort(), path, null, null);
        byte[] body = AuthRequest.newBuilder().setToken("x").build().toByteArray();
        for (int round = 0; round < rounds; round++) {
            HttpURLConnection connection = (HttpURLConnection) uri.toURL().openConnection(Proxy.NO_PROXY);
            connection.setConnectTimeout(1000);
            connection.setReadTimeout(1000);
            connection.setRequestMethod("POST");
            connection.setRequestProperty("Content-Type", MicsHookProcessor.CONTENT_TYPE);
            connection.setDoOutput(true);
            connection.getOutputStream().write(body);
            try (InputStream in = connection.getInputStream()) {
                in.readAllBytes();
            }
        }
        return null;
    }

    private static Map<HookOperation, byte[]> requests(String secret) {
        MessageRequest message = MessageRequest.newBuilder()
                .setUserId("u").setToUserId("v").setMsgBody(ByteString.copyFromUtf8("body")).build();
        AuthRequest auth = AuthRequest.newBuilder().setMeta(meta()).setToken("t").build();
        CheckMessageRequest check = CheckMessageRequest.newBuilder().setMeta(meta()).setMessage(message).build();
        GetGroupMembersRequest members = GetGroupMembersRequest.newBuilder().setMeta(meta()).setGroupId("g").build();
        GetOfflineMessagesRequest offline = GetOfflineMessagesRequest.newBuilder().setMeta(meta()).setUserId("u").build();
        return Map.of(
                HookOperation.AUTH, auth.toBuilder().setMeta(signed(auth.getMeta(), secret, auth)).build().toByteArray(),
                HookOperation.CHECK_MESSAGE, check.toBuilder().setMeta(signed(check.getMeta(), secret, check)).build().toByteArray(),
                HookOperation.GET_GROUP_MEMBERS, members.toBuilder().setMeta(signed(members.getMeta(), secret, members)).build().toByteArray(),
                HookOperation.GET_OFFLINE_MESSAGES, offline.toBuilder().setMeta(signed(offline.getMeta(), secret, offline)).build().toByteArray());
    }

    private static HookMeta meta() {
        return HookMeta.newBuilder()
                .setTenantId("warm-up")
                .setRequestId(UUID.randomUUID().toString())
                .setTimestampMs(System.currentTimeMillis())
                .build();
    }

    private static HookMeta signed(HookMeta meta, String secret, MessageLite payload) {
        return meta.toBuilder().setSign(HookSigner.computeBase64(secret, meta, payload)).build();
    }

    /** Lets everything pass. */
    private static final class Nothing implements MicsHookHandler {
        @Override
        public AuthResponse onAuth(AuthRequest request) {
            return AuthResponse.newBuilder().setOk(true).setUserId("u").build();
        }

        @Override
        public CheckMessageResponse onCheckMessage(CheckMessageRequest request) {
            return CheckMessageResponse.newBuilder().setAllow(true).build();
        }

        @Override
        public GetGroupMembersResponse onGetGroupMembers(GetGroupMembersRequest request) {
            return GetGroupMembersResponse.newBuilder().addUserIds("u").build();
        }
    }
}
