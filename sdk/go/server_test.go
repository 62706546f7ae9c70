package micshooksdk

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const secret = "dev-secret-t1"

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var requests atomic.Int64

func meta() HookMeta {
	id := "request-" + strconv.FormatInt(requests.Add(1), 10)
	return HookMeta{TenantID: "t1", RequestID: id, TimestampMs: time.Now().UnixMilli(), TraceID: "trace"}
}

// signed signs as the gateway does; encode must write meta.
func signed(m HookMeta, key string, encode func(HookMeta) []byte) []byte {
	m.Sign = ""
	m.Sign = ComputeHookSignBase64(key, encode(m), m.RequestID, m.TimestampMs)
	return encode(m)
}

func authBody(m HookMeta) []byte {
	return EncodeAuthRequest(AuthRequest{Meta: m, Token: "valid:u1", DeviceID: "dev1"})
}

func options(change ...func(*HookServerOptions)) HookServerOptions {
	o := HookServerOptions{
		RequireSign: true,
		Logger:      quiet,
		TenantSecretLookup: func(tenant string) (string, bool) {
			s, ok := map[string]string{"t1": secret, "blank": " "}[tenant]
			return s, ok
		},
		Auth: func(_ context.Context, r AuthRequest) (AuthResponse, error) {
			return AuthResponse{Ok: true, UserID: strings.TrimPrefix(r.Token, "valid:"), Config: &TenantRuntimeConfig{TenantSecret: secret}}, nil
		},
	}
	for _, c := range change {
		c(&o)
	}
	return o
}

func post(h http.Handler, path string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/protobuf")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func auth(t *testing.T, h http.Handler, body []byte) AuthResponse {
	t.Helper()
	w := post(h, "/auth", body)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/protobuf" {
		t.Fatalf("HTTP %d %s", w.Code, w.Body)
	}
	resp, err := DecodeAuthResponse(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestASignedRequestIsAnsweredAndItsMetaEchoed(t *testing.T) {
	m := meta()
	resp := auth(t, NewHookServer(options()), signed(m, secret, authBody))
	if !resp.Ok || resp.UserID != "u1" || resp.Config.TenantSecret != secret {
		t.Fatalf("%+v", resp)
	}
	if resp.Meta.RequestID != m.RequestID || resp.Meta.TraceID != "trace" || resp.Meta.Sign == "" {
		t.Fatalf("%+v", resp.Meta)
	}
}

func TestWhatIsNotBelieved(t *testing.T) {
	h := NewHookServer(options())
	good := signed(meta(), secret, authBody)
	at := bytes.Index(good, []byte("valid:u1"))
	tampered := append([]byte{}, good...)
	tampered[at+7] = '2'
	old := func(d time.Duration) []byte {
		m := meta()
		m.TimestampMs = time.Now().Add(d).UnixMilli()
		return signed(m, secret, authBody)
	}
	of := func(tenant string) []byte {
		m := meta()
		m.TenantID = tenant
		return signed(m, secret, authBody)
	}
	respelled := func() []byte {
		m, body := meta(), []byte(nil)
		decoded, _ := DecodeAuthRequest(signed(m, secret, authBody))
		decoded.Meta.Sign = strings.TrimRight(decoded.Meta.Sign, "=")
		body = EncodeAuthRequest(decoded)
		return body
	}
	for name, c := range map[string]struct {
		body   []byte
		reason string
	}{
		"tampered":         {tampered, "invalid sign"},
		"another secret":   {signed(meta(), "another", authBody), "invalid sign"},
		"unsigned":         {authBody(meta()), "invalid sign"},
		"without padding":  {respelled(), "invalid sign"},
		"too old":          {old(-301 * time.Second), "stale request"},
		"from the future":  {old(301 * time.Second), "stale request"},
		"blank tenant":     {of(""), "unknown tenant"},
		"white tenant":     {of(" "), "unknown tenant"},
		"unknown tenant":   {of("t9"), "unknown tenant"},
		"blank secret":     {of("blank"), "unknown tenant"},
		"no meta":          {nil, "unknown tenant"},
		"two metas":        {append(append([]byte{}, good...), 0x0a, 0), "invalid sign"},
		"two metas, split": {append([]byte{0x0a, 0}, good...), "invalid sign"},
	} {
		if resp := auth(t, h, c.body); resp.Ok || resp.Reason != c.reason {
			t.Errorf("%s: %+v", name, resp)
		}
	}
	if resp := auth(t, h, good); !resp.Ok {
		t.Errorf("the good one: %+v", resp)
	}
}

func TestAReplayedRequestIsRefused(t *testing.T) {
	h := NewHookServer(options())
	m := meta()
	if resp := auth(t, h, signed(m, "another", authBody)); resp.Ok {
		t.Fatal("believed")
	}
	body := signed(m, secret, authBody)
	if resp := auth(t, h, body); !resp.Ok {
		t.Fatalf("the unbelieved one burnt the id: %+v", resp)
	}
	if resp := auth(t, h, body); resp.Reason != "replayed request" {
		t.Fatalf("%+v", resp)
	}
}

func TestFreshnessCanBeOffAndSigningOptional(t *testing.T) {
	off := NewHookServer(options(func(o *HookServerOptions) { o.FreshnessWindow = -1 }))
	m := meta()
	m.TimestampMs = 1
	body := signed(m, secret, authBody)
	for range 2 {
		if resp := auth(t, off, body); !resp.Ok {
			t.Fatalf("%+v", resp)
		}
	}
	optional := NewHookServer(options(func(o *HookServerOptions) { o.RequireSign = false }))
	if resp := auth(t, optional, authBody(meta())); !resp.Ok {
		t.Fatalf("%+v", resp)
	}
	if resp := auth(t, optional, signed(meta(), "another", authBody)); resp.Reason != "invalid sign" {
		t.Fatalf("%+v", resp)
	}
}

func TestTheReplayMemoryIsBounded(t *testing.T) {
	now := time.Now()
	c := NewMemoryReplayCache(2)
	c.now = func() time.Time { return now }
	first := func(id string) bool {
		ok, _ := c.FirstUse(context.Background(), "t", id, time.Minute)
		return ok
	}
	if !first("a") || first("a") || !first("b") || !first("c") {
		t.Fatal("first uses")
	}
	if c.Evicted() != 1 || !first("a") || len(c.until) != 2 {
		t.Fatalf("evicted %d, %d kept", c.Evicted(), len(c.until))
	}
	now = now.Add(2 * time.Minute)
	if !first("a") {
		t.Fatal("an expired id is refused")
	}
}

func TestHTTPStatuses(t *testing.T) {
	h := NewHookServer(options(func(o *HookServerOptions) { o.MaxBodyBytes = 500 }))
	request := func(method, path, contentType string, body []byte) int {
		r := httptest.NewRequest(method, path, bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	const pb = "application/protobuf"
	for name, c := range map[string]struct{ got, want int }{
		"base path and query": {request("POST", "/base/auth?x=1", pb+"; v=1", signed(meta(), secret, authBody)), 200},
		"no content type":     {request("POST", "/auth", "", signed(meta(), secret, authBody)), 200},
		"other path":          {request("POST", "/other", pb, nil), 404},
		"root":                {request("POST", "/", pb, nil), 404},
		"other method":        {request("GET", "/auth", pb, nil), 405},
		"other type":          {request("POST", "/auth", "application/json", nil), 415},
		"other type, similar": {request("POST", "/auth", pb+"x", nil), 415},
		"garbage":             {request("POST", "/auth", pb, []byte{0xff, 0xff}), 400},
		"too large":           {request("POST", "/auth", pb, make([]byte, 501)), 413},
	} {
		if c.got != c.want {
			t.Errorf("%s: HTTP %d, want %d", name, c.got, c.want)
		}
	}
}

func TestAbsentHandlersAndANilLookupHaveSafeAnswers(t *testing.T) {
	h := NewHookServer(options(func(o *HookServerOptions) { o.Auth = nil }))
	if resp := auth(t, h, signed(meta(), secret, authBody)); resp.Reason != "auth handler not configured" {
		t.Errorf("%+v", resp)
	}
	check := signed(meta(), secret, func(m HookMeta) []byte { return EncodeCheckMessageRequest(CheckMessageRequest{Meta: m}) })
	if resp, _ := DecodeCheckMessageResponse(post(h, "/check-message", check).Body.Bytes()); !resp.Allow {
		t.Errorf("%+v", resp)
	}
	pull := signed(meta(), secret, func(m HookMeta) []byte { return EncodeGetOfflineMessagesRequest(GetOfflineMessagesRequest{Meta: m}) })
	if resp, _ := DecodeGetOfflineMessagesResponse(post(h, "/get-offline-messages", pull).Body.Bytes()); !resp.Ok {
		t.Errorf("%+v", resp)
	}
	if resp := auth(t, NewHookServer(HookServerOptions{Logger: quiet}), authBody(meta())); resp.Reason != "unknown tenant" {
		t.Errorf("%+v", resp)
	}
}

func TestTheMessageIsTypedAndAsReceived(t *testing.T) {
	var got CheckMessageRequest
	h := NewHookServer(options(func(o *HookServerOptions) {
		o.CheckMessage = func(_ context.Context, r CheckMessageRequest) (CheckMessageResponse, error) {
			got = r
			return CheckMessageResponse{Allow: true}, nil
		}
	}))
	wire := appendString(EncodeMessageRequest(MessageRequest{MsgID: "m", MsgBody: []byte("hi")}), 1022, "new")
	body := signed(meta(), secret, func(m HookMeta) []byte {
		return EncodeCheckMessageRequest(CheckMessageRequest{Meta: m, MessageWireBytes: wire})
	})
	if resp, _ := DecodeCheckMessageResponse(post(h, "/check-message", body).Body.Bytes()); !resp.Allow {
		t.Fatalf("%+v", resp)
	}
	if got.Message == nil || got.Message.MsgID != "m" || !bytes.Equal(got.MessageWireBytes, wire) {
		t.Fatalf("%+v", got)
	}
}

func TestAFailedHandlerIsAnOutageAndOnlyAMessageIsRefused(t *testing.T) {
	fail := errors.New("database away")
	h := NewHookServer(options(func(o *HookServerOptions) {
		o.Auth = func(_ context.Context, r AuthRequest) (AuthResponse, error) {
			if r.DeviceID == "panic" {
				panic("a mistake")
			}
			return AuthResponse{}, fail
		}
		o.CheckMessage = func(context.Context, CheckMessageRequest) (CheckMessageResponse, error) {
			return CheckMessageResponse{}, fail
		}
		o.GetGroupMembers = func(context.Context, GetGroupMembersRequest) (GetGroupMembersResponse, error) {
			return GetGroupMembersResponse{}, fail
		}
		o.GetOfflineMessages = func(context.Context, GetOfflineMessagesRequest) (GetOfflineMessagesResponse, error) {
			return GetOfflineMessagesResponse{}, fail
		}
	}))
	for name, c := range map[string]struct {
		path   string
		encode func(HookMeta) []byte
	}{
		"auth":    {"/auth", authBody},
		"panic":   {"/auth", func(m HookMeta) []byte { return EncodeAuthRequest(AuthRequest{Meta: m, DeviceID: "panic"}) }},
		"members": {"/get-group-members", func(m HookMeta) []byte { return EncodeGetGroupMembersRequest(GetGroupMembersRequest{Meta: m}) }},
		"offline": {"/get-offline-messages", func(m HookMeta) []byte { return EncodeGetOfflineMessagesRequest(GetOfflineMessagesRequest{Meta: m}) }},
	} {
		w := post(h, c.path, signed(meta(), secret, c.encode))
		if w.Code != 500 || w.Body.String() != "Internal Server Error\n" {
			t.Errorf("%s: HTTP %d %s", name, w.Code, w.Body)
		}
	}
	check := signed(meta(), secret, func(m HookMeta) []byte { return EncodeCheckMessageRequest(CheckMessageRequest{Meta: m}) })
	w := post(h, "/check-message", check)
	if resp, _ := DecodeCheckMessageResponse(w.Body.Bytes()); w.Code != 200 || resp.Allow || resp.Reason != "handler error" {
		t.Errorf("HTTP %d %+v", w.Code, resp)
	}
}

type brokenCache struct{}

func (brokenCache) FirstUse(context.Context, string, string, time.Duration) (bool, error) {
	return false, errors.New("redis away")
}

func TestAFailedReplayCacheLetsNoMessagePass(t *testing.T) {
	h := NewHookServer(options(func(o *HookServerOptions) { o.ReplayCache = brokenCache{} }))
	if w := post(h, "/auth", signed(meta(), secret, authBody)); w.Code != 500 {
		t.Errorf("HTTP %d", w.Code)
	}
	check := signed(meta(), secret, func(m HookMeta) []byte { return EncodeCheckMessageRequest(CheckMessageRequest{Meta: m}) })
	w := post(h, "/check-message", check)
	if resp, _ := DecodeCheckMessageResponse(w.Body.Bytes()); w.Code != 200 || resp.Allow || resp.Reason != "handler error" {
		t.Errorf("HTTP %d %+v", w.Code, resp)
	}
}

func TestALateHandlerIsAnsweredWith503AndStopped(t *testing.T) {
	stopped := make(chan struct{})
	h := NewHookServer(options(func(o *HookServerOptions) {
		o.TimeBudget = 10 * time.Millisecond
		o.Auth = func(ctx context.Context, _ AuthRequest) (AuthResponse, error) {
			<-ctx.Done()
			close(stopped)
			return AuthResponse{Ok: true, UserID: "late"}, nil
		}
	}))
	post(h, "/auth", signed(meta(), secret, authBody))
	<-stopped
	h = NewHookServer(options(func(o *HookServerOptions) {
		o.TimeBudget = 10 * time.Millisecond
		o.Auth = func(ctx context.Context, _ AuthRequest) (AuthResponse, error) {
			<-ctx.Done()
			return AuthResponse{}, ctx.Err()
		}
	}))
	if w := post(h, "/auth", signed(meta(), secret, authBody)); w.Code != 503 {
		t.Fatalf("HTTP %d", w.Code)
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	server := httptest.NewServer(NewHookServer(options(func(o *HookServerOptions) { o.TimeBudget = 10 * time.Second })))
	defer server.Close()
	replayed := signed(meta(), secret, authBody)
	var accepted atomic.Int64
	done := make(chan error)
	for range 16 {
		go func() {
			resp, err := http.Post(server.URL+"/auth", "application/protobuf", bytes.NewReader(replayed))
			if err == nil {
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if answer, _ := DecodeAuthResponse(body); answer.Ok {
					accepted.Add(1)
				}
			}
			done <- err
		}()
	}
	for range 16 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if accepted.Load() != 1 {
		t.Fatalf("a request was accepted %d times", accepted.Load())
	}
}
