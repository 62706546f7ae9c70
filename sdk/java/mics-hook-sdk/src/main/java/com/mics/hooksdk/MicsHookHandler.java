package com.mics.hooksdk;

import com.mics.contracts.hook.v1.AuthRequest;
import com.mics.contracts.hook.v1.AuthResponse;
import com.mics.contracts.hook.v1.CheckMessageRequest;
import com.mics.contracts.hook.v1.CheckMessageResponse;
import com.mics.contracts.hook.v1.GetGroupMembersRequest;
import com.mics.contracts.hook.v1.GetGroupMembersResponse;
import com.mics.contracts.hook.v1.GetOfflineMessagesRequest;
import com.mics.contracts.hook.v1.GetOfflineMessagesResponse;

/**
 * What the tenant decides. Called with requests whose tenant and signature were checked, by many threads at once, and
 * with 150 ms until the gateway gives up (see {@link MicsHookServerOptions#handlerBudget()}).
 *
 * <p>What a method throws is logged and answered with HTTP 500, for {@link #onCheckMessage} with a refusal with the reason
 * {@code handler error}. A response without {@code meta} gets that of the request.
 */
public interface MicsHookHandler {

    /**
     * Who is this? {@code ok}, {@code user_id} and {@code config} let the client in; else the gateway closes with 4001 and
     * {@code reason}, and the client gives this token up. After an exception it tries the same token again, so return a
     * response for a bad one, also where a library throws.
     */
    AuthResponse onAuth(AuthRequest request) throws Exception;

    /** May this message be sent? {@code allow} false is answered to the sender as FAILED with {@code reason}. */
    CheckMessageResponse onCheckMessage(CheckMessageRequest request) throws Exception;

    /** Who is in this group? An empty list fails the message. */
    GetGroupMembersResponse onGetGroupMembers(GetGroupMembersRequest request) throws Exception;

    /** What was stored for this user? Only asked when the auth config has {@code offline_use_hook_pull}. */
    default GetOfflineMessagesResponse onGetOfflineMessages(GetOfflineMessagesRequest request) throws Exception {
        return GetOfflineMessagesResponse.newBuilder().setOk(true).build();
    }
}
