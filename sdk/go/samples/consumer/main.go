// Prints a tenant's events as they come.
//
//	KAFKA_BOOTSTRAP_SERVERS=localhost:9092 go run ./consumer
//
// Environment: KAFKA_BOOTSTRAP_SERVERS (or KAFKA_BROKERS), TENANT_ID (t1), TENANT_SECRET (dev-secret-t1), REQUIRE_SIGN (false),
// TOPIC or KAFKA_TOPIC (the tenant's), GROUP_ID or KAFKA_GROUP_ID (mics-hook-<tenant>).
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"micshooksdk"
	"micshooksdk/kafka"
)

// show handles one event; an error is tried again, and then the event is put aside.
func show(_ context.Context, e micshooksdk.MqEvent) error {
	line := fmt.Sprintf("%s %s/%s", e.EventType, e.UserID, e.DeviceID)
	if m, ok := micshooksdk.DecodeEventMessage(e); ok {
		line += fmt.Sprintf(" -> %s %s (%d bytes)", cmp.Or(e.ToUserID, e.GroupID), m.MsgID, len(m.MsgBody))
	}
	fmt.Println(line)
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	requireSign, _ := strconv.ParseBool(os.Getenv("REQUIRE_SIGN"))
	options := kafka.Options{
		Brokers:      strings.Split(cmp.Or(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), os.Getenv("KAFKA_BROKERS"), "localhost:9092"), ","),
		TenantID:     cmp.Or(os.Getenv("TENANT_ID"), "t1"),
		TenantSecret: cmp.Or(os.Getenv("TENANT_SECRET"), "dev-secret-t1"),
		RequireSign:  requireSign,
		Topic:        cmp.Or(os.Getenv("TOPIC"), os.Getenv("KAFKA_TOPIC")),
		GroupID:      cmp.Or(os.Getenv("GROUP_ID"), os.Getenv("KAFKA_GROUP_ID")),
		Handle:       show,
	}
	fmt.Println("reading events of", options.TenantID)
	if err := kafka.Consume(ctx, options); err != nil {
		log.Fatal(err)
	}
}
