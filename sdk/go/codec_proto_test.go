package micshooksdk

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// This test keeps the hand-written codec current: every field of the .proto files must have a Go field of the right name,
// written under the right number and wire type, and read back.

var (
	protoMessage = regexp.MustCompile(`(?s)message (\w+) \{(.*?)\n\}`)
	protoField   = regexp.MustCompile(`(?m)^\s*(repeated|optional)?\s*([\w.]+) (\w+) = (\d+);`)
)

var goTypes = map[string]reflect.Type{}

func init() {
	for _, m := range []any{
		HookMeta{}, TenantRuntimeConfig{}, AuthRequest{}, AuthResponse{}, CheckMessageRequest{}, CheckMessageResponse{},
		GetGroupMembersRequest{}, GetGroupMembersResponse{}, GetOfflineMessagesRequest{}, GetOfflineMessagesResponse{},
		MqEvent{}, MessageRequest{}, ConnectAck{},
	} {
		goTypes[reflect.TypeOf(m).Name()] = reflect.TypeOf(m)
	}
}

func goName(protoName string) string {
	upper := map[string]string{"id": "ID", "ids": "IDs", "url": "URL", "ttl": "TTL"}
	var out strings.Builder
	for _, part := range strings.Split(protoName, "_") {
		if u, ok := upper[part]; ok {
			out.WriteString(u)
		} else {
			out.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return out.String()
}

func setSomething(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("x"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		setSomething(t, v.Index(0))
	case reflect.Struct:
		setSomething(t, v.Field(0))
	default:
		t.Fatalf("no value for %s", v.Type())
	}
}

func encodeAny(m any) []byte {
	switch m := m.(type) {
	case HookMeta:
		return encodeHookMeta(m)
	case TenantRuntimeConfig:
		return EncodeTenantRuntimeConfig(m)
	case AuthRequest:
		return EncodeAuthRequest(m)
	case AuthResponse:
		return EncodeAuthResponse(m)
	case CheckMessageRequest:
		return EncodeCheckMessageRequest(m)
	case CheckMessageResponse:
		return EncodeCheckMessageResponse(m)
	case GetGroupMembersRequest:
		return EncodeGetGroupMembersRequest(m)
	case GetGroupMembersResponse:
		return EncodeGetGroupMembersResponse(m)
	case GetOfflineMessagesRequest:
		return EncodeGetOfflineMessagesRequest(m)
	case GetOfflineMessagesResponse:
		return EncodeGetOfflineMessagesResponse(m)
	case MqEvent:
		return EncodeMqEvent(m)
	case MessageRequest:
		return EncodeMessageRequest(m)
	case ConnectAck:
		return EncodeConnectAck(m)
	}
	return nil
}

func wireType(protoType string) protowire.Type {
	switch protoType {
	case "int32", "int64", "bool", "EventType", "MessageType":
		return protowire.VarintType
	}
	return protowire.BytesType
}

func TestTheCodecFollowsTheProtoFiles(t *testing.T) {
	seen := map[string]bool{}
	for _, file := range []string{"mics_hook.proto", "mics_message.proto"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "proto", "Protos", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range protoMessage.FindAllStringSubmatch(string(text), -1) {
			goType, ours := goTypes[message[1]]
			if !ours {
				if file == "mics_hook.proto" {
					t.Errorf("message %s has no Go type", message[1])
				}
				continue // the client's frames
			}
			seen[message[1]] = true
			for _, f := range protoField.FindAllStringSubmatch(message[2], -1) {
				checkField(t, goType, f[2], f[3], f[4])
			}
		}
	}
	if len(seen) != len(goTypes) {
		t.Errorf("found only %v", seen)
	}
}

func checkField(t *testing.T, goType reflect.Type, protoType, name, number string) {
	t.Helper()
	m := reflect.New(goType).Elem()
	target := m.FieldByName(goName(name))
	if !target.IsValid() {
		t.Errorf("%s: no field for %s", goType.Name(), name)
		return
	}
	setSomething(t, target)
	b := encodeAny(m.Interface())
	num, typ, n := protowire.ConsumeTag(b)
	if want, _ := strconv.Atoi(number); n < 0 || int(num) != want || typ != wireType(protoType) {
		t.Errorf("%s.%s: number %d, wire type %d", goType.Name(), name, num, typ)
		return
	}
	if roundTrip := roundTrips[goType.Name()]; roundTrip != nil {
		if out, err := roundTrip(b); err != nil || string(out) != string(b) {
			t.Errorf("%s.%s: %x is read and written as %x, %v", goType.Name(), name, b, out, err)
		}
	}
}
