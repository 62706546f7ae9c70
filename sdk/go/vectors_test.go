package micshooksdk

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// vector is one entry of the files in proto/vectors; each file uses some of the fields.
type vector struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Key        string         `json:"key"`
	Fields     map[string]any `json:"fields"`
	Hex        string         `json:"hex"`
	ClearedHex string         `json:"cleared_hex"`
	SuffixHex  string         `json:"suffix_hex"`
	SignedHex  string         `json:"signed_hex"`
	SentHex    string         `json:"sent_hex"`
	Sign       string         `json:"sign"`
}

func vectors(t testing.TB, file string) []vector {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "proto", "vectors", file))
	if err != nil {
		t.Fatal(err)
	}
	var content struct{ Vectors []vector }
	if err := json.Unmarshal(data, &content); err != nil {
		t.Fatal(err)
	}
	if len(content.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	return content.Vectors
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// roundTrip decodes and encodes again, by the message's name.
var roundTrips = map[string]func([]byte) ([]byte, error){
	"AuthRequest":                again(DecodeAuthRequest, EncodeAuthRequest),
	"AuthResponse":               again(DecodeAuthResponse, EncodeAuthResponse),
	"CheckMessageRequest":        again(DecodeCheckMessageRequest, EncodeCheckMessageRequest),
	"CheckMessageResponse":       again(DecodeCheckMessageResponse, EncodeCheckMessageResponse),
	"GetGroupMembersRequest":     again(DecodeGetGroupMembersRequest, EncodeGetGroupMembersRequest),
	"GetGroupMembersResponse":    again(DecodeGetGroupMembersResponse, EncodeGetGroupMembersResponse),
	"GetOfflineMessagesRequest":  again(DecodeGetOfflineMessagesRequest, EncodeGetOfflineMessagesRequest),
	"GetOfflineMessagesResponse": again(DecodeGetOfflineMessagesResponse, EncodeGetOfflineMessagesResponse),
	"TenantRuntimeConfig":        again(DecodeTenantRuntimeConfig, EncodeTenantRuntimeConfig),
	"MessageRequest":             again(DecodeMessageRequest, EncodeMessageRequest),
	"ConnectAck":                 again(DecodeConnectAck, EncodeConnectAck),
	"MqEvent":                    again(DecodeMqEvent, EncodeMqEvent),
}

func again[T any](decode func([]byte) (T, error), encode func(T) []byte) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		m, err := decode(b)
		return encode(m), err
	}
}

func TestHookRequestsHaveTheSharedSignatures(t *testing.T) {
	for _, v := range vectors(t, "hook-signatures.json") {
		t.Run(v.Name, func(t *testing.T) {
			cleared := unhex(t, v.ClearedHex)
			meta, sent := signedBy(t, cleared, v.Sign)
			if v.SentHex != "" && hex.EncodeToString(sent) != v.SentHex {
				t.Fatalf("sent %x", sent)
			}
			if got := ComputeHookSignBase64(v.Key, cleared, meta.RequestID, meta.TimestampMs); got != v.Sign {
				t.Fatalf("sign %s", got)
			}
			if payload, err := withoutMetaSign(sent); err != nil || !bytes.Equal(payload, cleared) {
				t.Fatalf("payload %x, %v", payload, err)
			}
			if !VerifyHookBody(v.Key, meta, sent) || VerifyHookBody("another", meta, sent) {
				t.Fatal("verification")
			}
			if out, err := roundTrips[v.Type](sent); err != nil || !bytes.Equal(out, sent) {
				t.Fatalf("round trip %x, %v", out, err)
			}
		})
	}
}

// signedBy puts a signature into a cleared request.
func signedBy(t *testing.T, cleared []byte, sign string) (HookMeta, []byte) {
	t.Helper()
	var meta HookMeta
	var out []byte
	err := eachField(cleared, func(f field) error {
		if f.num != 1 {
			out = append(out, f.raw...)
			return nil
		}
		if err := f.toMeta(&meta); err != nil {
			return err
		}
		meta.Sign = sign
		out = appendMessage(out, 1, encodeHookMeta(meta))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return meta, out
}

func TestUnknownFieldsAreSignedAlongAndHarmless(t *testing.T) {
	for _, v := range vectors(t, "hook-signatures.json") {
		cleared := unhex(t, v.ClearedHex)
		var extended []byte
		var meta HookMeta
		err := eachField(cleared, func(f field) error {
			if f.num != 1 {
				extended = append(extended, f.raw...)
				return nil
			}
			extended = appendMessage(extended, 1, appendString(append([]byte{}, f.bytes...), 1022, "new"))
			return f.toMeta(&meta)
		})
		if err != nil {
			t.Fatal(err)
		}
		extended = appendInt64(extended, 1023, 7)
		meta.Sign = ComputeHookSignBase64(v.Key, extended, meta.RequestID, meta.TimestampMs)
		var received []byte
		_ = eachField(extended, func(f field) error {
			if f.num == 1 {
				received = appendMessage(received, 1, appendString(append([]byte{}, f.bytes...), 4, meta.Sign))
			} else {
				received = append(received, f.raw...)
			}
			return nil
		})
		if !VerifyHookBody(v.Key, meta, received) {
			t.Fatalf("%s: not verified", v.Name)
		}
		received[len(received)-1] ^= 1
		if VerifyHookBody(v.Key, meta, received) {
			t.Fatalf("%s: a changed unknown field passed", v.Name)
		}
	}
}

func TestEventsHaveTheSharedSignatures(t *testing.T) {
	for _, v := range vectors(t, "event-signatures.json") {
		t.Run(v.Name, func(t *testing.T) {
			sent, signed := unhex(t, v.SentHex), unhex(t, v.SignedHex)
			if got := ComputeMqEventSignBase64(v.Key, signed); got != v.Sign {
				t.Fatalf("sign %s", got)
			}
			result, err := DecodeAndVerifyMqEvent(sent, v.Key, true)
			if err != nil || !result.Ok || result.Event.EventType.String() != v.Fields["event_type"] {
				t.Fatalf("%+v, %v", result, err)
			}
			if out := EncodeMqEvent(result.Event); !bytes.Equal(out, sent) {
				t.Fatalf("round trip %x", out)
			}
			_, isMessage := DecodeEventMessage(result.Event)
			_, isConnection := DecodeEventConnectAck(result.Event)
			if wantConnection := result.Event.MsgID == ""; isConnection != wantConnection || isMessage == wantConnection {
				t.Fatalf("message %v, connection %v", isMessage, isConnection)
			}
			// A field of the future, signed along.
			extended := appendInt64(append([]byte{}, signed...), 1023, 7)
			newer := appendString(extended, 11, ComputeMqEventSignBase64(v.Key, extended))
			if result, _ := DecodeAndVerifyMqEvent(newer, v.Key, true); !result.Ok {
				t.Fatal("a newer event was refused")
			}
		})
	}
}

func TestEventVerificationSaysWhy(t *testing.T) {
	v := vectors(t, "event-signatures.json")[0]
	sent, signed := unhex(t, v.SentHex), unhex(t, v.SignedHex)
	for _, c := range []struct {
		name    string
		value   []byte
		secret  string
		require bool
		ok      bool
	}{
		{"another secret", sent, "another", true, false},
		{"another secret, optional", sent, "another", false, false},
		{"no secret", sent, "", true, false},
		{"unsigned", signed, v.Key, true, false},
		{"unsigned, optional", signed, v.Key, false, true},
	} {
		result, err := DecodeAndVerifyMqEvent(c.value, c.secret, c.require)
		if err != nil || result.Ok != c.ok || (result.Reason == "invalid sign") == c.ok {
			t.Errorf("%s: %+v, %v", c.name, result, err)
		}
	}
	if _, err := DecodeAndVerifyMqEvent([]byte{0xff}, v.Key, true); err != ErrInvalidProtobuf {
		t.Errorf("%v", err)
	}
}

func TestMessagesHaveTheSharedBytes(t *testing.T) {
	tested := 0
	for _, v := range vectors(t, "frames.json") {
		if roundTrip := roundTrips[v.Type]; roundTrip != nil {
			tested++
			if out, err := roundTrip(unhex(t, v.Hex)); err != nil || hex.EncodeToString(out) != v.Hex {
				t.Errorf("%s: %x, %v", v.Name, out, err)
			}
		}
	}
	if tested == 0 {
		t.Fatal("no vector of a hook message")
	}
}

func TestTopicNames(t *testing.T) {
	if EventTopicName("t1") != "im-mics-t1-event" || DlqTopicName("t1") != "im-mics-t1-event-dlq" {
		t.Fatal("names")
	}
}

func TestBytesThatAreNoRequestAreRefused(t *testing.T) {
	for _, bad := range [][]byte{{0x0a}, {0x0a, 5, 'a'}, {0, 0}, {0x0b}, bytes.Repeat([]byte{0x80}, 11), {0x0d, 0}, {0x0a, 0, 0x0a, 0}} {
		if _, err := withoutMetaSign(bad); err == nil {
			t.Errorf("%x", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, file := range []string{"hook-signatures.json", "event-signatures.json", "frames.json"} {
		for _, v := range vectors(f, file) {
			f.Add(unhex(f, v.Hex+v.SentHex))
		}
	}
	f.Add(protowire.AppendVarint(protowire.AppendTag(nil, 5, protowire.VarintType), 1<<63))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = withoutMetaSign(b)
		_, _ = withoutField(b, 11)
		for name, roundTrip := range roundTrips {
			first, err := roundTrip(b)
			if err != nil {
				continue
			}
			// What was understood must survive being written and read again.
			second, err := roundTrip(first)
			if err != nil || !bytes.Equal(first, second) {
				t.Fatalf("%s: %x became %x, %v", name, first, second, err)
			}
		}
	})
}
