// Package kafka reads a tenant's events: verified, each handled once, and what can't be handled put aside. The rule for one
// record is micshooksdk.EventProcessor; this is the loop around it.
package kafka

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"micshooksdk"
)

// Options say which events, and how patiently. Brokers, TenantID, TenantSecret and Handle are needed.
type Options struct {
	Brokers      []string
	TenantID     string
	TenantSecret string
	// RequireSign puts unsigned events aside. A signature that is there must be right in any case.
	RequireSign bool
	// Topic: empty = the tenant's event topic.
	Topic string
	// GroupID: empty = mics-hook-<tenant>.
	GroupID string
	// DeadLetterTopic: empty = the tenant's dead-letter topic, from which `mics dlq replay` sends them again.
	DeadLetterTopic string
	Handle          micshooksdk.EventHandler
	// Processed knows handled events; nil = in memory, 100 000 events.
	Processed micshooksdk.ProcessedEvents
	// MaxAttempts and RetryBackoff are those of micshooksdk.EventProcessor.
	MaxAttempts  int
	RetryBackoff time.Duration
	// Client holds further settings for franz-go (TLS, SASL, ...).
	Client []kgo.Opt
	Logger *slog.Logger
}

func (o Options) withDefaults() Options {
	if o.Topic == "" {
		o.Topic = micshooksdk.EventTopicName(o.TenantID)
	}
	if o.GroupID == "" {
		o.GroupID = "mics-hook-" + o.TenantID
	}
	if o.DeadLetterTopic == "" {
		o.DeadLetterTopic = micshooksdk.DlqTopicName(o.TenantID)
	}
	if o.Processed == nil {
		o.Processed = micshooksdk.NewMemoryProcessedEvents(100_000)
	}
	if o.RetryBackoff <= 0 {
		o.RetryBackoff = 200 * time.Millisecond
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

type consumer struct {
	options   Options
	client    *kgo.Client
	processor *micshooksdk.EventProcessor
}

// Consume handles events until ctx ends, partitions side by side, the events of one partition in order. Offsets are committed
// after the work, so nothing is lost; an event can come again after a crash or a rebalance, which is what Processed is for.
// While no broker answers it goes on trying. The error is that of bad options.
func Consume(ctx context.Context, options Options) error {
	o := options.withDefaults()
	if o.Handle == nil || o.TenantID == "" {
		return errors.New("kafka: TenantID and Handle are needed")
	}
	settings := append([]kgo.Opt{
		kgo.SeedBrokers(o.Brokers...),
		kgo.ConsumeTopics(o.Topic),
		kgo.ConsumerGroup(o.GroupID),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		// A partition stays ours while its records are being handled.
		kgo.BlockRebalanceOnPoll(),
		kgo.AllowAutoTopicCreation(),
	}, o.Client...)
	client, err := kgo.NewClient(settings...)
	if err != nil {
		return err
	}
	c := &consumer{options: o, client: client}
	c.processor = &micshooksdk.EventProcessor{
		TenantID: o.TenantID, TenantSecret: o.TenantSecret, RequireSign: o.RequireSign, Handle: o.Handle, Processed: o.Processed,
		MaxAttempts: o.MaxAttempts, RetryBackoff: o.RetryBackoff, Logger: o.Logger, DeadLetter: c.deadLetter,
	}
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		c.turn(ctx)
	}
	return nil
}

// turn handles what one poll brings.
func (c *consumer) turn(ctx context.Context) {
	fetches := c.client.PollRecords(ctx, 500)
	fetches.EachError(func(topic string, partition int32, err error) {
		if ctx.Err() == nil {
			c.options.Logger.Warn("mics events: fetch failed", "topic", topic, "partition", partition, "error", err)
		}
	})
	var wait sync.WaitGroup
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			c.partition(ctx, p.Records)
		}()
	})
	wait.Wait()
	c.client.AllowRebalance()
}

// partition handles records in order and commits those that are done.
func (c *consumer) partition(ctx context.Context, records []*kgo.Record) {
	var done []*kgo.Record
	for _, record := range records {
		if !c.record(ctx, record) {
			break
		}
		done = append(done, record)
	}
	if len(done) == 0 {
		return
	}
	// The end of ctx ends the work, but what was done is still committed.
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := c.client.CommitRecords(commit, done[len(done)-1]); err != nil {
		// They come again and are recognised.
		c.options.Logger.Warn("mics events: not committed", "error", err)
	}
}

// record handles one record, again and again until it is done or ctx ends.
func (c *consumer) record(ctx context.Context, record *kgo.Record) bool {
	pause := c.options.RetryBackoff
	for {
		_, err := c.processor.Process(ctx, record.Key, record.Value)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		c.options.Logger.Error("mics events: record not done, trying again", "offset", record.Offset, "error", err)
		if micshooksdk.Sleep(ctx, pause) != nil {
			return false
		}
		pause = min(pause*2, 5*time.Second)
	}
}

func (c *consumer) deadLetter(ctx context.Context, key, value []byte, reason string) error {
	record := &kgo.Record{
		Topic: c.options.DeadLetterTopic, Key: key, Value: value,
		Headers: []kgo.RecordHeader{{Key: "mics-reason", Value: []byte(reason)}},
	}
	return c.client.ProduceSync(ctx, record).FirstErr()
}
