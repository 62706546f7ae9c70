package micshooksdk

import (
	"strconv"
	"strings"
)

// EventTopicName is the topic of a tenant's events.
func EventTopicName(tenantID string) string { return "im-mics-" + tenantID + "-event" }

// DlqTopicName is the topic of a tenant's dead letters.
func DlqTopicName(tenantID string) string { return "im-mics-" + tenantID + "-event-dlq" }

// MqVerifyResult says whether an event is to be believed; Reason is empty or "invalid sign".
type MqVerifyResult struct {
	Ok     bool
	Reason string
	Event  MqEvent
}

// DecodeAndVerifyMqEvent reads the value of a Kafka record and checks its signature over the bytes as received. Without
// requireSign an unsigned event passes; a signature that is there must be right. The error is [ErrInvalidProtobuf].
func DecodeAndVerifyMqEvent(b []byte, tenantSecret string, requireSign bool) (MqVerifyResult, error) {
	event, err := DecodeMqEvent(b)
	if err != nil {
		return MqVerifyResult{}, err
	}
	if event.Sign == "" && !requireSign {
		return MqVerifyResult{Ok: true, Event: event}, nil
	}
	payload, err := withoutField(b, 11)
	if err != nil {
		return MqVerifyResult{}, err
	}
	if tenantSecret == "" || !VerifyMqEventSignBase64(tenantSecret, payload, event.Sign) {
		return MqVerifyResult{Reason: "invalid sign", Event: event}, nil
	}
	return MqVerifyResult{Ok: true, Event: event}, nil
}

// DecodeEventMessage gives the chat message of SINGLE_CHAT_MSG, GROUP_CHAT_MSG and OFFLINE_MESSAGE; false for other types and
// for data that is none.
func DecodeEventMessage(event MqEvent) (MessageRequest, bool) {
	switch event.EventType {
	case EventSingleChatMsg, EventGroupChatMsg, EventOfflineMessage:
		message, err := DecodeMessageRequest(event.EventData)
		return message, err == nil
	}
	return MessageRequest{}, false
}

// DecodeEventConnectAck gives what CONNECT_ONLINE and CONNECT_OFFLINE carry; false for other types and for data that is none.
func DecodeEventConnectAck(event MqEvent) (ConnectAck, bool) {
	switch event.EventType {
	case EventConnectOnline, EventConnectOffline:
		ack, err := DecodeConnectAck(event.EventData)
		return ack, err == nil
	}
	return ConnectAck{}, false
}

// EventKey names an event: one that Kafka has twice is the same byte for byte, so it has the same key. The time is part of it
// because some clients start their message ids over, and theirs must not pass for repeated.
func EventKey(e MqEvent) string {
	parts := []string{e.TenantID, strconv.Itoa(int(e.EventType))}
	switch e.EventType {
	case EventConnectOnline, EventConnectOffline:
		parts = append(parts, e.TraceID)
	default:
		parts = append(parts, e.UserID, e.DeviceID, e.MsgID, e.ToUserID, strconv.FormatInt(e.Timestamp, 10))
	}
	// Ids have no control characters.
	return strings.Join(parts, "\x00")
}
