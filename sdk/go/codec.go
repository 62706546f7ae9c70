package micshooksdk

// The messages of proto/Protos in canonical proto3: fields in ascending order, defaults left out, unknown fields passed over.
// codec_proto_test.go compares this file with the .proto files.

func encodeHookMeta(m HookMeta) []byte {
	b := appendString(nil, 1, m.TenantID)
	b = appendString(b, 2, m.RequestID)
	b = appendInt64(b, 3, m.TimestampMs)
	b = appendString(b, 4, m.Sign)
	return appendString(b, 5, m.TraceID)
}

func decodeHookMeta(b []byte, m *HookMeta) error {
	return eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toString(&m.TenantID)
		case 2:
			return f.toString(&m.RequestID)
		case 3:
			f.toInt64(&m.TimestampMs)
		case 4:
			return f.toString(&m.Sign)
		case 5:
			return f.toString(&m.TraceID)
		}
		return nil
	})
}

// EncodeMessageRequest gives the bytes of a chat message.
func EncodeMessageRequest(m MessageRequest) []byte {
	b := appendString(nil, 1, m.TenantID)
	b = appendString(b, 2, m.UserID)
	b = appendString(b, 3, m.DeviceID)
	b = appendString(b, 4, m.MsgID)
	b = appendInt32(b, 5, int32(m.MsgType))
	b = appendString(b, 6, m.ToUserID)
	b = appendString(b, 7, m.GroupID)
	b = appendBytes(b, 8, m.MsgBody)
	return appendInt64(b, 9, m.TimestampMs)
}

// DecodeMessageRequest reads a chat message.
func DecodeMessageRequest(b []byte) (MessageRequest, error) {
	var m MessageRequest
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toString(&m.TenantID)
		case 2:
			return f.toString(&m.UserID)
		case 3:
			return f.toString(&m.DeviceID)
		case 4:
			return f.toString(&m.MsgID)
		case 5:
			f.toInt32((*int32)(&m.MsgType))
		case 6:
			return f.toString(&m.ToUserID)
		case 7:
			return f.toString(&m.GroupID)
		case 8:
			f.toBytes(&m.MsgBody)
		case 9:
			f.toInt64(&m.TimestampMs)
		}
		return nil
	})
	return m, err
}

// EncodeConnectAck gives the bytes of what connection events carry.
func EncodeConnectAck(m ConnectAck) []byte {
	b := appendInt32(nil, 1, m.Code)
	b = appendString(b, 2, m.TenantID)
	b = appendString(b, 3, m.UserID)
	b = appendString(b, 4, m.DeviceID)
	b = appendString(b, 5, m.NodeID)
	return appendString(b, 6, m.TraceID)
}

// DecodeConnectAck reads what connection events carry.
func DecodeConnectAck(b []byte) (ConnectAck, error) {
	var m ConnectAck
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			f.toInt32(&m.Code)
		case 2:
			return f.toString(&m.TenantID)
		case 3:
			return f.toString(&m.UserID)
		case 4:
			return f.toString(&m.DeviceID)
		case 5:
			return f.toString(&m.NodeID)
		case 6:
			return f.toString(&m.TraceID)
		}
		return nil
	})
	return m, err
}

// EncodeMqEvent gives the bytes of an event.
func EncodeMqEvent(m MqEvent) []byte {
	b := appendString(nil, 1, m.TenantID)
	b = appendInt32(b, 2, int32(m.EventType))
	b = appendString(b, 3, m.MsgID)
	b = appendString(b, 4, m.UserID)
	b = appendString(b, 5, m.DeviceID)
	b = appendString(b, 6, m.ToUserID)
	b = appendString(b, 7, m.GroupID)
	b = appendBytes(b, 8, m.EventData)
	b = appendInt64(b, 9, m.Timestamp)
	b = appendString(b, 10, m.NodeID)
	b = appendString(b, 11, m.Sign)
	return appendString(b, 12, m.TraceID)
}

// DecodeMqEvent reads the value of a Kafka record; it verifies nothing.
func DecodeMqEvent(b []byte) (MqEvent, error) {
	var m MqEvent
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toString(&m.TenantID)
		case 2:
			f.toInt32((*int32)(&m.EventType))
		case 3:
			return f.toString(&m.MsgID)
		case 4:
			return f.toString(&m.UserID)
		case 5:
			return f.toString(&m.DeviceID)
		case 6:
			return f.toString(&m.ToUserID)
		case 7:
			return f.toString(&m.GroupID)
		case 8:
			f.toBytes(&m.EventData)
		case 9:
			f.toInt64(&m.Timestamp)
		case 10:
			return f.toString(&m.NodeID)
		case 11:
			return f.toString(&m.Sign)
		case 12:
			return f.toString(&m.TraceID)
		}
		return nil
	})
	return m, err
}

// EncodeTenantRuntimeConfig gives the bytes of a tenant's config.
func EncodeTenantRuntimeConfig(m TenantRuntimeConfig) []byte {
	b := appendString(nil, 1, m.HookBaseURL)
	b = appendInt32(b, 2, m.HeartbeatTimeoutSeconds)
	b = appendInt32(b, 3, m.OfflineBufferTTLSeconds)
	b = appendInt32(b, 4, m.TenantMaxConnections)
	b = appendInt32(b, 5, m.UserMaxConnections)
	b = appendInt32(b, 6, m.TenantMaxMessageQps)
	b = appendString(b, 7, m.TenantSecret)
	b = appendOptionalInt32(b, 8, m.HookMaxConcurrency)
	b = appendOptionalInt32(b, 9, m.HookQueueTimeoutMs)
	b = appendOptionalInt32(b, 10, m.HookBreakerFailureThreshold)
	b = appendOptionalInt32(b, 11, m.HookBreakerOpenMs)
	b = appendOptionalBool(b, 12, m.HookSignRequired)
	b = appendOptionalBool(b, 13, m.OfflineUseHookPull)
	b = appendOptionalInt32(b, 100, m.GroupCacheTTLSeconds)
	return appendOptionalInt32(b, 101, m.GroupPageSize)
}

// DecodeTenantRuntimeConfig reads a tenant's config.
func DecodeTenantRuntimeConfig(b []byte) (TenantRuntimeConfig, error) {
	var m TenantRuntimeConfig
	numbers := map[int]*int32{
		2: &m.HeartbeatTimeoutSeconds, 3: &m.OfflineBufferTTLSeconds, 4: &m.TenantMaxConnections,
		5: &m.UserMaxConnections, 6: &m.TenantMaxMessageQps,
	}
	optional := map[int]**int32{
		8: &m.HookMaxConcurrency, 9: &m.HookQueueTimeoutMs, 10: &m.HookBreakerFailureThreshold,
		11: &m.HookBreakerOpenMs, 100: &m.GroupCacheTTLSeconds, 101: &m.GroupPageSize,
	}
	err := eachField(b, func(f field) error {
		switch num := int(f.num); {
		case num == 1:
			return f.toString(&m.HookBaseURL)
		case num == 7:
			return f.toString(&m.TenantSecret)
		case num == 12:
			f.toOptionalBool(&m.HookSignRequired)
		case num == 13:
			f.toOptionalBool(&m.OfflineUseHookPull)
		case numbers[num] != nil:
			f.toInt32(numbers[num])
		case optional[num] != nil:
			f.toOptionalInt32(optional[num])
		}
		return nil
	})
	return m, err
}
