package micshooksdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"
)

const protobufType = "application/protobuf"

// TenantSecretLookup gives a tenant's secret; not ok or blank = unknown tenant.
type TenantSecretLookup func(tenantID string) (secret string, ok bool)

// HookServerOptions is what a tenant's back end is made of. Only TenantSecretLookup is needed.
type HookServerOptions struct {
	// RequireSign refuses unsigned requests. A signature that is there must be right in any case.
	RequireSign        bool
	TenantSecretLookup TenantSecretLookup

	// Handlers. An error or a panic means that the question could not be answered: HTTP 500, for CheckMessage a refusal with
	// "handler error". Its text is only logged. Refuse a bad token by AuthResponse{Reason: ...} without an error. Absent: auth
	// refuses, check-message allows, the other two answer empty lists.
	Auth               func(ctx context.Context, req AuthRequest) (AuthResponse, error)
	CheckMessage       func(ctx context.Context, req CheckMessageRequest) (CheckMessageResponse, error)
	GetGroupMembers    func(ctx context.Context, req GetGroupMembersRequest) (GetGroupMembersResponse, error)
	GetOfflineMessages func(ctx context.Context, req GetOfflineMessagesRequest) (GetOfflineMessagesResponse, error)

	// FreshnessWindow is how far the time of a signed request may be from ours, either way. 0 = 5 minutes; negative = no
	// check of freshness and replay.
	FreshnessWindow time.Duration
	// ReplayCache knows used request ids; nil = in memory, 100 000 ids.
	ReplayCache ReplayCache
	// MaxBodyBytes is the longest request body read; 0 = 2 MiB. Longer ones get HTTP 413.
	MaxBodyBytes int64
	// TimeBudget is how long a handler may take; 0 = 120 ms (the gateway waits 150 ms in all). What is later gets HTTP 503, so
	// that the gateway applies its rule for hooks that don't answer; the handler's context ends then.
	TimeBudget time.Duration
	// Logger hears what was refused; nil = slog.Default(). Tokens, bodies and signatures are never logged.
	Logger *slog.Logger
}

func (o HookServerOptions) withDefaults() HookServerOptions {
	if o.TenantSecretLookup == nil {
		o.TenantSecretLookup = func(string) (string, bool) { return "", false }
	}
	if o.FreshnessWindow == 0 {
		o.FreshnessWindow = 5 * time.Minute
	}
	if o.ReplayCache == nil {
		o.ReplayCache = NewMemoryReplayCache(100_000)
	}
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 2 << 20
	}
	if o.TimeBudget <= 0 {
		o.TimeBudget = 120 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// NewHookServer makes the handler of POST .../auth, .../check-message, .../get-group-members and .../get-offline-messages, under
// any path. Refusals ("unknown tenant", "invalid sign", "stale request", "replayed request") are HTTP 200 with the reason in
// the answer.
func NewHookServer(options HookServerOptions) http.Handler {
	o := options.withDefaults()
	calls := map[string]http.Handler{
		"auth":                 authCall(o),
		"check-message":        checkMessageCall(o),
		"get-group-members":    groupMembersCall(o),
		"get-offline-messages": offlineMessagesCall(o),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := calls[path.Base(r.URL.Path)]
		switch {
		case call == nil:
			http.NotFound(w, r)
		case r.Method != http.MethodPost:
			http.Error(w, "POST only", http.StatusMethodNotAllowed)
		case !isProtobuf(r.Header.Get("Content-Type")):
			http.Error(w, "need "+protobufType, http.StatusUnsupportedMediaType)
		default:
			call.ServeHTTP(w, r)
		}
	})
}

func isProtobuf(contentType string) bool {
	kind, _, err := mime.ParseMediaType(contentType)
	return contentType == "" || (err == nil && kind == protobufType)
}

// call is one of the four hooks.
type call[Req, Resp any] struct {
	options  HookServerOptions
	decode   func([]byte) (Req, error)
	encode   func(Resp) []byte
	reqMeta  func(Req) HookMeta
	respMeta func(*Resp) *HookMeta
	handler  func(context.Context, Req) (Resp, error)
	absent   Resp
	// refuse makes the answer that carries a reason.
	refuse func(reason string) Resp
	// refuseOnError: a failure is a refusal and not HTTP 500. The gateway lets a message pass that could not be checked;
	// for the other calls it knows better than to take an outage for a bad token, an empty group or an empty mailbox.
	refuseOnError bool
}

func authCall(o HookServerOptions) http.Handler {
	refuse := func(reason string) AuthResponse { return AuthResponse{Reason: reason} }
	return call[AuthRequest, AuthResponse]{
		options: o, decode: DecodeAuthRequest, encode: EncodeAuthResponse, handler: o.Auth, refuse: refuse,
		absent:   refuse("auth handler not configured"),
		reqMeta:  func(r AuthRequest) HookMeta { return r.Meta },
		respMeta: func(r *AuthResponse) *HookMeta { return &r.Meta },
	}
}

func checkMessageCall(o HookServerOptions) http.Handler {
	return call[CheckMessageRequest, CheckMessageResponse]{
		options: o, decode: DecodeCheckMessageRequest, encode: EncodeCheckMessageResponse, handler: o.CheckMessage,
		absent:   CheckMessageResponse{Allow: true},
		refuse:   func(reason string) CheckMessageResponse { return CheckMessageResponse{Reason: reason} },
		reqMeta:  func(r CheckMessageRequest) HookMeta { return r.Meta },
		respMeta: func(r *CheckMessageResponse) *HookMeta { return &r.Meta },

		refuseOnError: true,
	}
}

func groupMembersCall(o HookServerOptions) http.Handler {
	return call[GetGroupMembersRequest, GetGroupMembersResponse]{
		options: o, decode: DecodeGetGroupMembersRequest, encode: EncodeGetGroupMembersResponse, handler: o.GetGroupMembers,
		refuse:   func(string) GetGroupMembersResponse { return GetGroupMembersResponse{} },
		reqMeta:  func(r GetGroupMembersRequest) HookMeta { return r.Meta },
		respMeta: func(r *GetGroupMembersResponse) *HookMeta { return &r.Meta },
	}
}

func offlineMessagesCall(o HookServerOptions) http.Handler {
	return call[GetOfflineMessagesRequest, GetOfflineMessagesResponse]{
		options: o, decode: DecodeGetOfflineMessagesRequest, encode: EncodeGetOfflineMessagesResponse, handler: o.GetOfflineMessages,
		absent:   GetOfflineMessagesResponse{Ok: true},
		refuse:   func(reason string) GetOfflineMessagesResponse { return GetOfflineMessagesResponse{Reason: reason} },
		reqMeta:  func(r GetOfflineMessagesRequest) HookMeta { return r.Meta },
		respMeta: func(r *GetOfflineMessagesResponse) *HookMeta { return &r.Meta },
	}
}

func (c call[Req, Resp]) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, c.options.MaxBodyBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, "request body too large", http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "request body not readable", http.StatusBadRequest)
		return
	}
	req, err := c.decode(body)
	if err != nil {
		http.Error(w, "not a protobuf message of this call", http.StatusBadRequest)
		return
	}
	resp, status := c.answer(r.Context(), req, body)
	if status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	if meta := c.respMeta(&resp); meta.TenantID == "" {
		*meta = c.reqMeta(req)
	}
	w.Header().Set("Content-Type", protobufType)
	_, _ = w.Write(c.encode(resp))
}

// answer checks the request and asks the handler. The status is 200, 500 or 503.
func (c call[Req, Resp]) answer(ctx context.Context, req Req, body []byte) (Resp, int) {
	meta := c.reqMeta(req)
	reason, err := refusal(ctx, c.options, meta, body)
	if err != nil {
		c.options.Logger.Error("mics hook: replay cache failed", "error", err)
		return c.failed()
	}
	if reason != "" {
		c.options.Logger.Warn("mics hook: request refused", "reason", reason, "tenant", meta.TenantID)
		return c.refuse(reason), http.StatusOK
	}
	if c.handler == nil {
		return c.absent, http.StatusOK
	}
	return c.handle(ctx, req)
}

// handle runs the handler within the time budget.
func (c call[Req, Resp]) handle(ctx context.Context, req Req) (Resp, int) {
	ctx, cancel := context.WithTimeout(ctx, c.options.TimeBudget)
	defer cancel()
	type result struct {
		resp Resp
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var out result
		// A panic of a handler must not end the process.
		defer func() {
			if p := recover(); p != nil {
				out.err = fmt.Errorf("panic: %v", p)
			}
			done <- out
		}()
		out.resp, out.err = c.handler(ctx, req)
	}()
	select {
	case out := <-done:
		switch {
		case out.err == nil:
			return out.resp, http.StatusOK
		case ctx.Err() != nil && errors.Is(out.err, ctx.Err()):
			return out.resp, http.StatusServiceUnavailable
		}
		c.options.Logger.Error("mics hook: handler failed", "error", out.err)
		return c.failed()
	case <-ctx.Done():
		c.options.Logger.Warn("mics hook: handler took too long", "budget", c.options.TimeBudget)
		return c.refuse(""), http.StatusServiceUnavailable
	}
}

// failed answers what could not be decided; the reason was logged.
func (c call[Req, Resp]) failed() (Resp, int) {
	if c.refuseOnError {
		return c.refuse("handler error"), http.StatusOK
	}
	return c.refuse(""), http.StatusInternalServerError
}

// refusal says why a request is not believed; empty when it is.
func refusal(ctx context.Context, o HookServerOptions, meta HookMeta, body []byte) (string, error) {
	if strings.TrimSpace(meta.TenantID) == "" {
		return "unknown tenant", nil
	}
	secret, ok := o.TenantSecretLookup(meta.TenantID)
	if !ok || strings.TrimSpace(secret) == "" {
		return "unknown tenant", nil
	}
	if meta.Sign == "" && !o.RequireSign {
		return "", nil
	}
	if meta.Sign == "" || !VerifyHookBody(secret, meta, body) {
		return "invalid sign", nil
	}
	if o.FreshnessWindow < 0 {
		return "", nil
	}
	if age := time.Since(time.UnixMilli(meta.TimestampMs)); age > o.FreshnessWindow || age < -o.FreshnessWindow {
		return "stale request", nil
	}
	// Twice the window: a request may be that old and that far ahead.
	first, err := o.ReplayCache.FirstUse(ctx, meta.TenantID, meta.RequestID, 2*o.FreshnessWindow)
	if err == nil && !first {
		return "replayed request", nil
	}
	return "", err
}
