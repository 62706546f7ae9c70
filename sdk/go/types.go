package micshooksdk

// HookMeta is in every hook request. Sign covers all of the request but itself; see [ComputeHookSignBase64].
type HookMeta struct {
	TenantID    string
	RequestID   string
	TimestampMs int64 // Unix ms
	Sign        string
	TraceID     string // names the client's connection
}

// TenantRuntimeConfig is the tenant's part of the answer to /auth; it holds for that connection. Numbers of 0 or less mean
// the gateway's default; nil means unset.
type TenantRuntimeConfig struct {
	HookBaseURL             string // base of the other three hooks
	HeartbeatTimeoutSeconds int32
	OfflineBufferTTLSeconds int32
	TenantMaxConnections    int32
	UserMaxConnections      int32
	TenantMaxMessageQps     int32
	TenantSecret            string // signs the other three hooks and the events

	HookMaxConcurrency          *int32
	HookQueueTimeoutMs          *int32
	HookBreakerFailureThreshold *int32
	HookBreakerOpenMs           *int32
	HookSignRequired            *bool
	OfflineUseHookPull          *bool
	GroupCacheTTLSeconds        *int32 // members of a group are believed this long without asking
	GroupPageSize               *int32 // members per page that the gateway asks for
}

// MessageType tells a chat with one from a chat with many.
type MessageType int32

const (
	SingleChat MessageType = 0
	GroupChat  MessageType = 1
)

// MessageRequest is a chat message. Tenant, user and device are those of the sender's connection.
type MessageRequest struct {
	TenantID    string
	UserID      string
	DeviceID    string
	MsgID       string
	MsgType     MessageType
	ToUserID    string
	GroupID     string
	MsgBody     []byte
	TimestampMs int64 // Unix ms, by the sender's clock
}

// ConnectAck is what a client was told when it came in; connection events carry it.
type ConnectAck struct {
	Code     int32 // 1000
	TenantID string
	UserID   string
	DeviceID string
	NodeID   string
	TraceID  string
}

// AuthRequest asks who a client is.
type AuthRequest struct {
	Meta     HookMeta
	Token    string
	DeviceID string
}

// AuthResponse with Ok needs UserID and Config.
type AuthResponse struct {
	Meta     HookMeta
	Ok       bool
	UserID   string
	DeviceID string // ignored by the gateway
	Config   *TenantRuntimeConfig
	Reason   string
}

// CheckMessageRequest asks whether a message may be sent.
type CheckMessageRequest struct {
	Meta HookMeta
	// Message is nil when the request has none.
	Message *MessageRequest
	// MessageWireBytes is the message as it was received, unknown fields included. When encoding it wins over Message.
	MessageWireBytes []byte
}

// CheckMessageResponse allows or denies; a denied sender is told Reason.
type CheckMessageResponse struct {
	Meta   HookMeta
	Allow  bool
	Reason string
}

// GetGroupMembersRequest asks who is in a group. The last three fields are sent only to tenants whose config asks for pages
// or caching.
type GetGroupMembersRequest struct {
	Meta         HookMeta
	GroupID      string
	Cursor       string // the NextCursor of the page before; empty = from the start
	MaxMembers   int32  // members wanted in this page; 0 = as many as you like
	KnownVersion string // version of the list that the gateway still has
}

// GetGroupMembersResponse names the members. It has no error field: answer an error by returning one.
type GetGroupMembersResponse struct {
	Meta        HookMeta
	UserIDs     []string
	NextCursor  string // empty = the last page
	Version     string // names this state of the list; empty = not told
	NotModified bool   // the list is still that of KnownVersion; UserIDs is empty
}

// GetOfflineMessagesRequest asks for what was kept for a user who has just connected.
type GetOfflineMessagesRequest struct {
	Meta        HookMeta
	UserID      string
	DeviceID    string
	MaxMessages int32  // 100
	Cursor      string // the NextCursor of the page before; empty at first
}

// GetOfflineMessagesResponse is one page, oldest message first; HasMore needs NextCursor.
type GetOfflineMessagesResponse struct {
	Meta     HookMeta
	Ok       bool
	Messages []MessageRequest
	// MessagesWireBytes are messages byte for byte as they were in events. When encoding they win over Messages.
	MessagesWireBytes [][]byte
	Reason            string
	NextCursor        string
	HasMore           bool
}

// EventType says what an [MqEvent] is about.
type EventType int32

const (
	EventConnectOnline  EventType = 0
	EventConnectOffline EventType = 1
	EventSingleChatMsg  EventType = 2
	EventGroupChatMsg   EventType = 3
	EventOfflineMessage EventType = 4
)

func (t EventType) String() string {
	names := []string{"CONNECT_ONLINE", "CONNECT_OFFLINE", "SINGLE_CHAT_MSG", "GROUP_CHAT_MSG", "OFFLINE_MESSAGE"}
	if t < 0 || int(t) >= len(names) {
		return "UNKNOWN"
	}
	return names[t]
}

// MqEvent is a record of the tenant's event topic. UserID is the actor or sender, for OFFLINE_MESSAGE too, where ToUserID is
// the recipient. EventData is a MessageRequest or, for connections, a ConnectAck.
type MqEvent struct {
	TenantID  string
	EventType EventType
	MsgID     string
	UserID    string
	DeviceID  string
	ToUserID  string
	GroupID   string
	EventData []byte
	Timestamp int64 // Unix ms
	NodeID    string
	Sign      string
	TraceID   string
}
