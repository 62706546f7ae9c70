package com.mics.hooksdk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.mics.contracts.hook.v1.AuthResponse;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The JDK server over real HTTP. */
@Timeout(60)
class HttpServerTest {
    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private MicsHookHttpServer server;

    @BeforeEach
    void start() throws IOException {
        MicsHookServerOptions options = MicsHookServerOptions.builder(tenant -> Requests.SECRET)
                .maxBodyBytes(10_000)
                .handlerBudget(Duration.ofSeconds(20))
                .build();
        server = new MicsHookHttpServer(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), new Requests.Handler(), options);
        server.start();
    }

    @AfterEach
    void stop() {
        server.close();
    }

    private HttpRequest.Builder to(String path) {
        return HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + server.getAddress().getPort() + path));
    }

    private HttpResponse<byte[]> post(String path, byte[] body) throws Exception {
        HttpRequest request = to(path).header("Content-Type", "application/protobuf").POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
        return http.send(request, HttpResponse.BodyHandlers.ofByteArray());
    }

    private static byte[] signed(String token) {
        return Requests.auth(Requests.meta(System.currentTimeMillis()), token).toByteArray();
    }

    @Test
    void answersUnderAnyBasePath() throws Exception {
        for (String path : List.of("/auth", "/tenants/t1/auth", "/auth?x=1")) {
            HttpResponse<byte[]> response = post(path, signed("u1"));
            assertEquals(200, response.statusCode(), path);
            assertEquals("application/protobuf", response.headers().firstValue("Content-Type").orElse(""));
            assertTrue(AuthResponse.parseFrom(response.body()).getOk());
        }
    }

    @Test
    void refusesWhatIsNoHookRequest() throws Exception {
        assertEquals(404, post("/other", signed("u1")).statusCode());
        assertEquals(400, post("/auth", new byte[] {10, 99, 1}).statusCode());
        assertEquals(405, http.send(to("/auth").GET().build(), HttpResponse.BodyHandlers.discarding()).statusCode());
        HttpRequest json = to("/auth").header("Content-Type", "application/json").POST(HttpRequest.BodyPublishers.ofString("{}")).build();
        assertEquals(415, http.send(json, HttpResponse.BodyHandlers.discarding()).statusCode());
        assertEquals(200, post("/auth", signed("u1")).statusCode(), "and goes on");
    }

    @Test
    void refusesLongBodiesWithAndWithoutALength() throws Exception {
        byte[] body = signed("x".repeat(20_000));
        assertEquals(413, post("/auth", body).statusCode());
        HttpRequest chunked = to("/auth").header("Content-Type", "application/protobuf")
                .POST(HttpRequest.BodyPublishers.ofInputStream(() -> new java.io.ByteArrayInputStream(body)))
                .build();
        assertEquals(413, http.send(chunked, HttpResponse.BodyHandlers.discarding()).statusCode());
        assertEquals(200, post("/auth", signed("u1")).statusCode());
    }

    @Test
    void slowHandlersDoNotHoldUpOthers() throws Exception {
        List<CompletableFuture<HttpResponse<byte[]>>> slow = IntStream.range(0, 20)
                .mapToObj(i -> to("/auth").POST(HttpRequest.BodyPublishers.ofByteArray(signed("slow"))).build())
                .map(request -> http.sendAsync(request, HttpResponse.BodyHandlers.ofByteArray()))
                .toList();
        assertEquals(200, post("/auth", signed("u1")).statusCode());
        assertTrue(slow.stream().noneMatch(CompletableFuture::isDone));
        slow.forEach(reply -> reply.cancel(true));
    }
}
