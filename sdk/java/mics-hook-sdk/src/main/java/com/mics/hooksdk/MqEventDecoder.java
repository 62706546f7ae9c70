package com.mics.hooksdk;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Parser;
import com.mics.contracts.hook.v1.EventType;
import com.mics.contracts.hook.v1.MqEvent;
import com.mics.contracts.message.v1.ConnectAck;
import com.mics.contracts.message.v1.MessageRequest;
import java.util.Optional;
import java.util.Set;

/** Reads the data of Kafka events. Empty when the event is of another type or its data is damaged. */
public final class MqEventDecoder {
    private static final Set<EventType> CONNECTS = Set.of(EventType.CONNECT_ONLINE, EventType.CONNECT_OFFLINE);
    private static final Set<EventType> MESSAGES =
            Set.of(EventType.SINGLE_CHAT_MSG, EventType.GROUP_CHAT_MSG, EventType.OFFLINE_MESSAGE);

    private MqEventDecoder() {}

    /** Of CONNECT_ONLINE and CONNECT_OFFLINE. */
    public static Optional<ConnectAck> tryDecodeConnectAck(MqEvent event) {
        return decode(event, CONNECTS, ConnectAck.parser());
    }

    /** Of SINGLE_CHAT_MSG, GROUP_CHAT_MSG and OFFLINE_MESSAGE. */
    public static Optional<MessageRequest> tryDecodeMessage(MqEvent event) {
        return decode(event, MESSAGES, MessageRequest.parser());
    }

    /** Empty also when the signature is wrong, or absent though required. */
    public static Optional<ConnectAck> tryVerifyAndDecodeConnectAck(String secret, MqEvent event, boolean requireSign) {
        return MqEventSigner.verify(secret, event, requireSign) ? tryDecodeConnectAck(event) : Optional.empty();
    }

    /** Empty also when the signature is wrong, or absent though required. */
    public static Optional<MessageRequest> tryVerifyAndDecodeMessage(String secret, MqEvent event, boolean requireSign) {
        return MqEventSigner.verify(secret, event, requireSign) ? tryDecodeMessage(event) : Optional.empty();
    }

    private static <T> Optional<T> decode(MqEvent event, Set<EventType> types, Parser<T> parser) {
        if (!types.contains(event.getEventType())) {
            return Optional.empty();
        }
        try {
            return Optional.of(parser.parseFrom(event.getEventData()));
        } catch (InvalidProtocolBufferException e) {
            return Optional.empty();
        }
    }
}
