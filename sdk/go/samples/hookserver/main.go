// A tenant's back end: accepts valid:<user> tokens, denies bodies that begin with "deny", keeps offline messages.
//
//	go run ./hookserver
//
// Environment: PORT (8081), REQUIRE_SIGN (true), TENANT_SECRETS ("t1=dev-secret-t1", more after commas; or TENANT_SECRET for
// t1), GROUP_MEMBERS ("group-1=u1|u2|u3"), PUBLIC_URL (http://127.0.0.1:PORT), OFFLINE_USE_HOOK_PULL (false), OFFLINE_DB
// (mics-offline.db), KAFKA_BROKERS. With OFFLINE_USE_HOOK_PULL and KAFKA_BROKERS it also reads the tenants' events, stores
// OFFLINE_MESSAGE in SQLite and answers get-offline-messages from there.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"micshooksdk"
	"micshooksdk/kafka"
	"micshooksdk/sqlitestore"
)

type settings struct {
	port, publicURL, offlineDB string
	requireSign, hookPull      bool
	secrets                    map[string]string
	groups                     map[string]string // group -> users, separated by |
	brokers                    []string
}

func readSettings() settings {
	s := settings{
		port:        env("PORT", "8081"),
		offlineDB:   env("OFFLINE_DB", "mics-offline.db"),
		requireSign: isTrue(env("REQUIRE_SIGN", "true")),
		hookPull:    isTrue(env("OFFLINE_USE_HOOK_PULL", "false")),
		secrets:     pairs(env("TENANT_SECRETS", "t1="+env("TENANT_SECRET", "dev-secret-t1"))),
		groups:      pairs(env("GROUP_MEMBERS", "group-1=u1|u2|u3")),
	}
	s.publicURL = env("PUBLIC_URL", "http://127.0.0.1:"+s.port)
	if brokers := env("KAFKA_BROKERS", ""); brokers != "" {
		s.brokers = strings.Split(brokers, ",")
	}
	return s
}

func env(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func isTrue(text string) bool {
	value, _ := strconv.ParseBool(text)
	return value
}

// pairs reads "a=1,b=2".
func pairs(text string) map[string]string {
	out := map[string]string{}
	for _, part := range strings.Split(text, ",") {
		if name, value, ok := strings.Cut(part, "="); ok {
			out[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return out
}

// auth tells who a client is. A real back end checks the token against its own users.
func (s settings) auth(_ context.Context, req micshooksdk.AuthRequest) (micshooksdk.AuthResponse, error) {
	user, ok := strings.CutPrefix(req.Token, "valid:")
	if !ok || strings.TrimSpace(user) == "" {
		return micshooksdk.AuthResponse{Reason: "invalid token"}, nil
	}
	return micshooksdk.AuthResponse{Ok: true, UserID: user, DeviceID: req.DeviceID, Config: &micshooksdk.TenantRuntimeConfig{
		HookBaseURL:             s.publicURL,
		TenantSecret:            s.secrets[req.Meta.TenantID],
		HeartbeatTimeoutSeconds: 30,
		OfflineBufferTTLSeconds: 300,
		OfflineUseHookPull:      &s.hookPull,
	}}, nil
}

// checkMessage says whether a message may be sent.
func checkMessage(_ context.Context, req micshooksdk.CheckMessageRequest) (micshooksdk.CheckMessageResponse, error) {
	if req.Message != nil && bytes.HasPrefix(req.Message.MsgBody, []byte("deny")) {
		return micshooksdk.CheckMessageResponse{Reason: "denied"}, nil
	}
	return micshooksdk.CheckMessageResponse{Allow: true}, nil
}

func (s settings) groupMembers(_ context.Context, req micshooksdk.GetGroupMembersRequest) (micshooksdk.GetGroupMembersResponse, error) {
	users, ok := s.groups[req.GroupID]
	if !ok {
		return micshooksdk.GetGroupMembersResponse{}, nil
	}
	return micshooksdk.GetGroupMembersResponse{UserIDs: strings.Split(users, "|")}, nil
}

// readEvents stores the offline messages of all tenants until ctx ends.
func (s settings) readEvents(ctx context.Context, store micshooksdk.OfflineStore) *sync.WaitGroup {
	var wait sync.WaitGroup
	if !s.hookPull || len(s.brokers) == 0 {
		return &wait
	}
	for tenant, secret := range s.secrets {
		wait.Add(1)
		go func() {
			defer wait.Done()
			err := kafka.Consume(ctx, kafka.Options{
				Brokers: s.brokers, TenantID: tenant, TenantSecret: secret, RequireSign: s.requireSign,
				Handle: micshooksdk.OfflineEventHandler(store),
			})
			if err != nil {
				log.Printf("events of %s: %v", tenant, err)
			}
		}()
	}
	return &wait
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s := readSettings()
	store, err := sqlitestore.Open(s.offlineDB)
	if err != nil {
		return err
	}
	defer store.Close()
	server := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		// Longer than the gateway keeps idle connections, so that none is closed under a request.
		IdleTimeout: 2 * time.Minute,
		Handler: micshooksdk.NewHookServer(micshooksdk.HookServerOptions{
			RequireSign: s.requireSign,
			TenantSecretLookup: func(tenant string) (string, bool) {
				secret, ok := s.secrets[tenant]
				return secret, ok
			},
			Auth:               s.auth,
			CheckMessage:       checkMessage,
			GetGroupMembers:    s.groupMembers,
			GetOfflineMessages: micshooksdk.OfflinePullHandler(store),
		}),
	}
	listener, err := net.Listen("tcp", ":"+s.port)
	if err != nil {
		return err
	}
	reading := s.readEvents(ctx, store)
	go func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ending)
	}()
	fmt.Printf("listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	reading.Wait()
	return nil
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
