package micshooksdk

import "google.golang.org/protobuf/encoding/protowire"

// The requests and responses of the four hooks; see codec.go for the rules.

// toMeta reads an embedded HookMeta.
func (f field) toMeta(m *HookMeta) error {
	if f.typ != protowire.BytesType {
		return nil
	}
	return decodeHookMeta(f.bytes, m)
}

// appendMeta writes a meta that has anything in it.
func appendMeta(m HookMeta) []byte {
	if m == (HookMeta{}) {
		return nil
	}
	return appendMessage(nil, 1, encodeHookMeta(m))
}

// EncodeAuthRequest gives the bytes of an /auth request.
func EncodeAuthRequest(m AuthRequest) []byte {
	b := appendString(appendMeta(m.Meta), 2, m.Token)
	return appendString(b, 3, m.DeviceID)
}

// DecodeAuthRequest reads an /auth request.
func DecodeAuthRequest(b []byte) (AuthRequest, error) {
	var m AuthRequest
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toMeta(&m.Meta)
		case 2:
			return f.toString(&m.Token)
		case 3:
			return f.toString(&m.DeviceID)
		}
		return nil
	})
	return m, err
}

// EncodeAuthResponse gives the bytes of an answer to /auth.
func EncodeAuthResponse(m AuthResponse) []byte {
	b := appendBool(appendMeta(m.Meta), 2, m.Ok)
	b = appendString(b, 3, m.UserID)
	b = appendString(b, 4, m.DeviceID)
	if m.Config != nil {
		b = appendMessage(b, 5, EncodeTenantRuntimeConfig(*m.Config))
	}
	return appendString(b, 6, m.Reason)
}

// DecodeAuthResponse reads an answer to /auth.
func DecodeAuthResponse(b []byte) (AuthResponse, error) {
	var m AuthResponse
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toMeta(&m.Meta)
		case 2:
			f.toBool(&m.Ok)
		case 3:
			return f.toString(&m.UserID)
		case 4:
			return f.toString(&m.DeviceID)
		case 5:
			if f.typ != protowire.BytesType {
				return nil
			}
			config, err := DecodeTenantRuntimeConfig(f.bytes)
			m.Config = &config
			return err
		case 6:
			return f.toString(&m.Reason)
		}
		return nil
	})
	return m, err
}

// EncodeCheckMessageRequest gives the bytes of a /check-message request.
func EncodeCheckMessageRequest(m CheckMessageRequest) []byte {
	b := appendMeta(m.Meta)
	switch {
	case m.MessageWireBytes != nil:
		return appendMessage(b, 2, m.MessageWireBytes)
	case m.Message != nil:
		return appendMessage(b, 2, EncodeMessageRequest(*m.Message))
	}
	return b
}

// DecodeCheckMessageRequest reads a /check-message request.
func DecodeCheckMessageRequest(b []byte) (CheckMessageRequest, error) {
	var m CheckMessageRequest
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toMeta(&m.Meta)
		case 2:
			if f.typ != protowire.BytesType {
				return nil
			}
			message, err := DecodeMessageRequest(f.bytes)
			m.Message = &message
			m.MessageWireBytes = append([]byte{}, f.bytes...)
			return err
		}
		return nil
	})
	return m, err
}

// EncodeCheckMessageResponse gives the bytes of an answer to /check-message.
func EncodeCheckMessageResponse(m CheckMessageResponse) []byte {
	b := appendBool(appendMeta(m.Meta), 2, m.Allow)
	return appendString(b, 3, m.Reason)
}

// DecodeCheckMessageResponse reads an answer to /check-message.
func DecodeCheckMessageResponse(b []byte) (CheckMessageResponse, error) {
	var m CheckMessageResponse
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toMeta(&m.Meta)
		case 2:
			f.toBool(&m.Allow)
		case 3:
			return f.toString(&m.Reason)
		}
		return nil
	})
	return m, err
}

// EncodeGetGroupMembersRequest gives the bytes of a /get-group-members request.
func EncodeGetGroupMembersRequest(m GetGroupMembersRequest) []byte {
	b := appendString(appendMeta(m.Meta), 2, m.GroupID)
	b = appendString(b, 100, m.Cursor)
	b = appendInt32(b, 101, m.MaxMembers)
	return appendString(b, 102, m.KnownVersion)
}

// DecodeGetGroupMembersRequest reads a /get-group-members request.
func DecodeGetGroupMembersRequest(b []byte) (GetGroupMembersRequest, error) {
	var m GetGroupMembersRequest
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toMeta(&m.Meta)
		case 2:
			return f.toString(&m.GroupID)
		case 100:
			return f.toString(&m.Cursor)
		case 101:
			f.toInt32(&m.MaxMembers)
		case 102:
			return f.toString(&m.KnownVersion)
		}
		return nil
	})
	return m, err
}

// EncodeGetGroupMembersResponse gives the bytes of an answer to /get-group-members.
func EncodeGetGroupMembersResponse(m GetGroupMembersResponse) []byte {
	b := appendMeta(m.Meta)
	for _, id := range m.UserIDs {
		// An empty element is written, too: it is one of the list.
		b = appendMessage(b, 2, []byte(id))
	}
	b = appendString(b, 100, m.NextCursor)
	b = appendString(b, 101, m.Version)
	return appendBool(b, 102, m.NotModified)
}

// DecodeGetGroupMembersResponse reads an answer to /get-group-members.
func DecodeGetGroupMembersResponse(b []byte) (GetGroupMembersResponse, error) {
	var m GetGroupMembersResponse
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toMeta(&m.Meta)
		case 2:
			return f.addString(&m.UserIDs)
		case 100:
			return f.toString(&m.NextCursor)
		case 101:
			return f.toString(&m.Version)
		case 102:
			f.toBool(&m.NotModified)
		}
		return nil
	})
	return m, err
}

// EncodeGetOfflineMessagesRequest gives the bytes of a /get-offline-messages request.
func EncodeGetOfflineMessagesRequest(m GetOfflineMessagesRequest) []byte {
	b := appendString(appendMeta(m.Meta), 2, m.UserID)
	b = appendString(b, 3, m.DeviceID)
	b = appendInt32(b, 4, m.MaxMessages)
	return appendString(b, 5, m.Cursor)
}

// DecodeGetOfflineMessagesRequest reads a /get-offline-messages request.
func DecodeGetOfflineMessagesRequest(b []byte) (GetOfflineMessagesRequest, error) {
	var m GetOfflineMessagesRequest
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toMeta(&m.Meta)
		case 2:
			return f.toString(&m.UserID)
		case 3:
			return f.toString(&m.DeviceID)
		case 4:
			f.toInt32(&m.MaxMessages)
		case 5:
			return f.toString(&m.Cursor)
		}
		return nil
	})
	return m, err
}

// EncodeGetOfflineMessagesResponse gives the bytes of an answer to /get-offline-messages.
func EncodeGetOfflineMessagesResponse(m GetOfflineMessagesResponse) []byte {
	b := appendBool(appendMeta(m.Meta), 2, m.Ok)
	if len(m.MessagesWireBytes) > 0 {
		for _, message := range m.MessagesWireBytes {
			b = appendMessage(b, 3, message)
		}
	} else {
		for _, message := range m.Messages {
			b = appendMessage(b, 3, EncodeMessageRequest(message))
		}
	}
	b = appendString(b, 4, m.Reason)
	b = appendString(b, 5, m.NextCursor)
	return appendBool(b, 6, m.HasMore)
}

// DecodeGetOfflineMessagesResponse reads an answer to /get-offline-messages.
func DecodeGetOfflineMessagesResponse(b []byte) (GetOfflineMessagesResponse, error) {
	var m GetOfflineMessagesResponse
	err := eachField(b, func(f field) error {
		switch f.num {
		case 1:
			return f.toMeta(&m.Meta)
		case 2:
			f.toBool(&m.Ok)
		case 3:
			if f.typ != protowire.BytesType {
				return nil
			}
			message, err := DecodeMessageRequest(f.bytes)
			m.Messages = append(m.Messages, message)
			m.MessagesWireBytes = append(m.MessagesWireBytes, append([]byte{}, f.bytes...))
			return err
		case 4:
			return f.toString(&m.Reason)
		case 5:
			return f.toString(&m.NextCursor)
		case 6:
			f.toBool(&m.HasMore)
		}
		return nil
	})
	return m, err
}
