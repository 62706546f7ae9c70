package com.mics.hooksdk;

import com.mics.contracts.hook.v1.AuthRequest;
import com.mics.contracts.hook.v1.AuthResponse;
import com.mics.contracts.hook.v1.CheckMessageRequest;
import com.mics.contracts.hook.v1.CheckMessageResponse;
import com.mics.contracts.hook.v1.GetGroupMembersRequest;
import com.mics.contracts.hook.v1.GetGroupMembersResponse;
import com.mics.contracts.hook.v1.GetOfflineMessagesRequest;
import com.mics.contracts.hook.v1.GetOfflineMessagesResponse;
import com.mics.contracts.hook.v1.HookMeta;
import java.util.UUID;

/** Signed requests, and a handler to answer them. */
final class Requests {
    static final String SECRET = "dev-secret-t1";

    private Requests() {}

    static HookMeta meta(long timestampMs) {
        return HookMeta.newBuilder()
                .setTenantId("t1").setRequestId(UUID.randomUUID().toString()).setTimestampMs(timestampMs).setTraceId("tr").build();
    }

    static AuthRequest auth(HookMeta meta, String token) {
        AuthRequest request = AuthRequest.newBuilder().setMeta(meta).setToken(token).setDeviceId("d1").build();
        return request.toBuilder().setMeta(meta.toBuilder().setSign(HookSigner.computeBase64(SECRET, meta, request))).build();
    }

    static CheckMessageRequest check(HookMeta meta) {
        CheckMessageRequest request = CheckMessageRequest.newBuilder().setMeta(meta).build();
        return request.toBuilder().setMeta(meta.toBuilder().setSign(HookSigner.computeBase64(SECRET, meta, request))).build();
    }

    static GetGroupMembersRequest members(HookMeta meta, String group) {
        GetGroupMembersRequest request = GetGroupMembersRequest.newBuilder().setMeta(meta).setGroupId(group).build();
        return request.toBuilder().setMeta(meta.toBuilder().setSign(HookSigner.computeBase64(SECRET, meta, request))).build();
    }

    static GetOfflineMessagesRequest offline(HookMeta meta) {
        GetOfflineMessagesRequest request = GetOfflineMessagesRequest.newBuilder().setMeta(meta).setUserId("broken").build();
        return request.toBuilder().setMeta(meta.toBuilder().setSign(HookSigner.computeBase64(SECRET, meta, request))).build();
    }

    /** Token {@code slow} hangs; token, group and user {@code broken} throw; other tokens are the user. */
    static final class Handler implements MicsHookHandler {
        @Override
        public AuthResponse onAuth(AuthRequest request) throws Exception {
            switch (request.getToken()) {
                case "slow" -> Thread.sleep(60_000);
                case "broken" -> throw new IllegalStateException("secret details");
                default -> { }
            }
            return AuthResponse.newBuilder().setOk(true).setUserId(request.getToken()).build();
        }

        @Override
        public CheckMessageResponse onCheckMessage(CheckMessageRequest request) {
            throw new IllegalStateException();
        }

        @Override
        public GetGroupMembersResponse onGetGroupMembers(GetGroupMembersRequest request) {
            if (request.getGroupId().equals("broken")) {
                throw new IllegalStateException("the database is away");
            }
            return GetGroupMembersResponse.newBuilder().addUserIds("u1").build();
        }

        @Override
        public GetOfflineMessagesResponse onGetOfflineMessages(GetOfflineMessagesRequest request) throws Exception {
            if (request.getUserId().equals("broken")) {
                throw new IllegalStateException("the database is away");
            }
            return MicsHookHandler.super.onGetOfflineMessages(request);
        }
    }
}
