package com.mics.sample;

import com.google.protobuf.ByteString;
import com.mics.contracts.hook.v1.AuthRequest;
import com.mics.contracts.hook.v1.AuthResponse;
import com.mics.contracts.hook.v1.CheckMessageRequest;
import com.mics.contracts.hook.v1.CheckMessageResponse;
import com.mics.contracts.hook.v1.GetGroupMembersRequest;
import com.mics.contracts.hook.v1.GetGroupMembersResponse;
import com.mics.contracts.hook.v1.GetOfflineMessagesRequest;
import com.mics.contracts.hook.v1.GetOfflineMessagesResponse;
import com.mics.contracts.hook.v1.TenantRuntimeConfig;
import com.mics.hooksdk.MicsHookHandler;
import com.mics.hooksdk.store.OfflineMessageStore;
import java.util.List;

/**
 * A tenant that lets in {@code valid:<user>}, denies bodies that begin with {@code deny}, knows its groups from the
 * configuration, and answers offline messages from a store when it has one.
 */
public final class SampleTenant implements MicsHookHandler {
    private static final String TOKEN_PREFIX = "valid:";
    private static final ByteString DENIED_PREFIX = ByteString.copyFromUtf8("deny");

    private final SampleConfig config;
    private final OfflineMessageStore store;

    /** @param store null without offline messages. */
    public SampleTenant(SampleConfig config, OfflineMessageStore store) {
        this.config = config;
        this.store = store;
    }

    @Override
    public AuthResponse onAuth(AuthRequest request) {
        String token = request.getToken();
        if (!token.startsWith(TOKEN_PREFIX) || token.length() == TOKEN_PREFIX.length()) {
            return AuthResponse.newBuilder().setReason("invalid token").build();
        }
        TenantRuntimeConfig runtime = TenantRuntimeConfig.newBuilder()
                .setHookBaseUrl(config.publicUrl())
                .setHeartbeatTimeoutSeconds(30)
                .setOfflineBufferTtlSeconds(300)
                .setTenantSecret(config.tenantSecrets().get(request.getMeta().getTenantId()))
                .setOfflineUseHookPull(store != null)
                .build();
        return AuthResponse.newBuilder()
                .setOk(true)
                .setUserId(token.substring(TOKEN_PREFIX.length()))
                .setDeviceId(request.getDeviceId())
                .setConfig(runtime)
                .build();
    }

    @Override
    public CheckMessageResponse onCheckMessage(CheckMessageRequest request) {
        if (request.getMessage().getMsgBody().startsWith(DENIED_PREFIX)) {
            return CheckMessageResponse.newBuilder().setReason("denied").build();
        }
        return CheckMessageResponse.newBuilder().setAllow(true).build();
    }

    @Override
    public GetGroupMembersResponse onGetGroupMembers(GetGroupMembersRequest request) {
        List<String> members = config.groupMembers().getOrDefault(request.getGroupId(), List.of());
        return GetGroupMembersResponse.newBuilder().addAllUserIds(members).build();
    }

    @Override
    public GetOfflineMessagesResponse onGetOfflineMessages(GetOfflineMessagesRequest request) throws Exception {
        if (store == null) {
            return GetOfflineMessagesResponse.newBuilder().setOk(true).build();
        }
        String tenant = request.getMeta().getTenantId();
        OfflineMessageStore.Page page =
                store.page(tenant, request.getUserId(), request.getCursor(), request.getMaxMessages());
        return GetOfflineMessagesResponse.newBuilder()
                .setOk(true)
                .addAllMessages(page.messages())
                .setNextCursor(page.nextCursor())
                .setHasMore(page.hasMore())
                .build();
    }
}
