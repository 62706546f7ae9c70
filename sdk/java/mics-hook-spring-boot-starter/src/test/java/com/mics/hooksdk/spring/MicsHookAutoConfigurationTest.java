package com.mics.hooksdk.spring;

import static org.assertj.core.api.Assertions.assertThat;

import com.mics.contracts.hook.v1.AuthRequest;
import com.mics.contracts.hook.v1.AuthResponse;
import com.mics.contracts.hook.v1.CheckMessageRequest;
import com.mics.contracts.hook.v1.CheckMessageResponse;
import com.mics.contracts.hook.v1.GetGroupMembersRequest;
import com.mics.contracts.hook.v1.GetGroupMembersResponse;
import com.mics.contracts.hook.v1.HookMeta;
import com.mics.hooksdk.HookSigner;
import com.mics.hooksdk.MicsHookHandler;
import com.mics.hooksdk.MicsHookProcessor;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.UUID;
import org.junit.jupiter.api.Test;
import org.springframework.beans.factory.annotation.Autowired;
import org.springframework.boot.autoconfigure.AutoConfigurations;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.test.context.SpringBootTest;
import org.springframework.boot.test.context.runner.WebApplicationContextRunner;
import org.springframework.boot.test.web.server.LocalServerPort;
import org.springframework.context.annotation.Bean;

/** A Spring Boot application with the starter, over real HTTP. */
@SpringBootTest(
        webEnvironment = SpringBootTest.WebEnvironment.RANDOM_PORT,
        properties = {"mics.hook.tenant-secrets.t1=s", "mics.hook.base-path=/mics", "mics.hook.max-body-bytes=5000", "mics.hook.handler-budget=20s"})
class MicsHookAutoConfigurationTest {

    @SpringBootApplication
    static class Application {
        @Bean
        MicsHookHandler handler() {
            return new Handler();
        }
    }

    static class Handler implements MicsHookHandler {
        @Override
        public AuthResponse onAuth(AuthRequest request) {
            return AuthResponse.newBuilder().setOk(true).setUserId(request.getToken()).build();
        }

        @Override
        public CheckMessageResponse onCheckMessage(CheckMessageRequest request) {
            throw new IllegalStateException();
        }

        @Override
        public GetGroupMembersResponse onGetGroupMembers(GetGroupMembersRequest request) {
            return GetGroupMembersResponse.getDefaultInstance();
        }
    }

    @LocalServerPort
    int port;

    @Autowired
    MicsHookProcessor processor;

    private HttpResponse<byte[]> post(String path, byte[] body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + path))
                .header("Content-Type", "application/protobuf").POST(HttpRequest.BodyPublishers.ofByteArray(body)).build();
        return HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofByteArray());
    }

    private static byte[] auth(String token) {
        HookMeta meta = HookMeta.newBuilder().setTenantId("t1").setRequestId(UUID.randomUUID().toString())
                .setTimestampMs(System.currentTimeMillis()).build();
        AuthRequest request = AuthRequest.newBuilder().setMeta(meta).setToken(token).build();
        return request.toBuilder().setMeta(meta.toBuilder().setSign(HookSigner.computeBase64("s", meta, request))).build().toByteArray();
    }

    @Test
    void answersSignedRequestsOnce() throws Exception {
        byte[] request = auth("u1");
        HttpResponse<byte[]> response = post("/mics/auth", request);
        assertThat(response.statusCode()).isEqualTo(200);
        assertThat(response.headers().firstValue("Content-Type")).contains("application/protobuf");
        assertThat(AuthResponse.parseFrom(response.body()).getUserId()).isEqualTo("u1");
        assertThat(AuthResponse.parseFrom(post("/mics/auth", request).body()).getReason()).isEqualTo("replayed request");
        byte[] changed = AuthRequest.parseFrom(auth("u1")).toBuilder().setToken("u2").build().toByteArray();
        assertThat(AuthResponse.parseFrom(post("/mics/auth", changed).body()).getReason()).isEqualTo("invalid sign");
    }

    @Test
    void refusesWhatIsNoHookRequest() throws Exception {
        assertThat(post("/mics/auth", new byte[] {10, 99, 1}).statusCode()).isEqualTo(400);
        assertThat(post("/mics/auth", auth("x".repeat(10_000))).statusCode()).isEqualTo(413);
        assertThat(post("/auth", auth("u1")).statusCode()).isEqualTo(404);
        HttpRequest get = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + port + "/mics/auth")).build();
        assertThat(HttpClient.newHttpClient().send(get, HttpResponse.BodyHandlers.discarding()).statusCode()).isEqualTo(405);
    }

    @Test
    void takesItsLimitsFromTheProperties() {
        assertThat(processor.options().requireSign()).isTrue();
        assertThat(processor.options().maxBodyBytes()).isEqualTo(5000);
        assertThat(processor.options().handlerBudget()).hasSeconds(20);
        assertThat(processor.options().tenantSecretProvider().apply("t2")).isNull();
    }

    @Test
    void staysAwayWithoutAHandler() {
        new WebApplicationContextRunner()
                .withConfiguration(AutoConfigurations.of(MicsHookAutoConfiguration.class))
                .run(context -> assertThat(context).hasNotFailed().doesNotHaveBean(MicsHookProcessor.class));
    }
}
