package com.mics.hooksdk;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.Parser;
import com.mics.contracts.hook.v1.AuthRequest;
import com.mics.contracts.hook.v1.AuthResponse;
import com.mics.contracts.hook.v1.CheckMessageRequest;
import com.mics.contracts.hook.v1.CheckMessageResponse;
import com.mics.contracts.hook.v1.GetGroupMembersRequest;
import com.mics.contracts.hook.v1.GetGroupMembersResponse;
import com.mics.contracts.hook.v1.GetOfflineMessagesRequest;
import com.mics.contracts.hook.v1.GetOfflineMessagesResponse;
import com.mics.contracts.hook.v1.HookMeta;
import java.util.function.BiFunction;
import java.util.function.Function;

/** What differs between the four operations: types, the handler's method, and how a refusal looks. */
record HookRoute<Q extends Message, A extends Message>(
        Parser<Q> parser,
        Function<Q, HookMeta> meta,
        Call<Q, A> call,
        Function<String, A> refusal,
        BiFunction<A, HookMeta, A> withMeta) {

    interface Call<Q, A> {
        A apply(MicsHookHandler handler, Q request) throws Exception;
    }

    private static final HookRoute<AuthRequest, AuthResponse> AUTH = new HookRoute<>(
            AuthRequest.parser(), AuthRequest::getMeta, MicsHookHandler::onAuth,
            reason -> AuthResponse.newBuilder().setReason(reason).build(),
            (response, meta) -> response.hasMeta() ? response : response.toBuilder().setMeta(meta).build());

    private static final HookRoute<CheckMessageRequest, CheckMessageResponse> CHECK = new HookRoute<>(
            CheckMessageRequest.parser(), CheckMessageRequest::getMeta, MicsHookHandler::onCheckMessage,
            reason -> CheckMessageResponse.newBuilder().setReason(reason).build(),
            (response, meta) -> response.hasMeta() ? response : response.toBuilder().setMeta(meta).build());

    /** Has no place for a reason: a refusal is an empty list. */
    private static final HookRoute<GetGroupMembersRequest, GetGroupMembersResponse> MEMBERS = new HookRoute<>(
            GetGroupMembersRequest.parser(), GetGroupMembersRequest::getMeta, MicsHookHandler::onGetGroupMembers,
            reason -> GetGroupMembersResponse.getDefaultInstance(),
            (response, meta) -> response.hasMeta() ? response : response.toBuilder().setMeta(meta).build());

    private static final HookRoute<GetOfflineMessagesRequest, GetOfflineMessagesResponse> OFFLINE = new HookRoute<>(
            GetOfflineMessagesRequest.parser(), GetOfflineMessagesRequest::getMeta, MicsHookHandler::onGetOfflineMessages,
            reason -> GetOfflineMessagesResponse.newBuilder().setReason(reason).build(),
            (response, meta) -> response.hasMeta() ? response : response.toBuilder().setMeta(meta).build());

    static HookRoute<?, ?> of(HookOperation operation) {
        return switch (operation) {
            case AUTH -> AUTH;
            case CHECK_MESSAGE -> CHECK;
            case GET_GROUP_MEMBERS -> MEMBERS;
            case GET_OFFLINE_MESSAGES -> OFFLINE;
        };
    }

    /** A request that was decoded, with everything needed to answer it. */
    record Parsed(HookMeta meta, Function<String, byte[]> refuse, Answer answer) {}

    interface Answer {
        byte[] from(MicsHookHandler handler) throws Exception;
    }

    Parsed parse(byte[] body) throws InvalidProtocolBufferException {
        Q request = parser.parseFrom(body);
        HookMeta asked = meta.apply(request);
        return new Parsed(
                asked,
                reason -> withMeta.apply(refusal.apply(reason), asked).toByteArray(),
                handler -> withMeta.apply(call.apply(handler, request), asked).toByteArray());
    }
}
