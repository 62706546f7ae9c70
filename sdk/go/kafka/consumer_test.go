package kafka

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"micshooksdk"
)

const (
	secret = "s"
	hang   = 60 * time.Second
)

func value(id string, key string) []byte {
	e := micshooksdk.MqEvent{TenantID: "t1", EventType: micshooksdk.EventOfflineMessage, MsgID: id, UserID: "u1", ToUserID: "u2"}
	e.Sign = micshooksdk.ComputeMqEventSignBase64(key, micshooksdk.EncodeMqEvent(e))
	return micshooksdk.EncodeMqEvent(e)
}

// broker is a Kafka broker in this process.
type broker struct {
	t      *testing.T
	addrs  []string
	client *kgo.Client
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "im-mics-t1-event"), kfake.SeedTopics(1, "im-mics-t1-event-dlq"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return &broker{t: t, addrs: cluster.ListenAddrs(), client: client}
}

func (b *broker) write(values ...[]byte) {
	b.t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: "im-mics-t1-event", Key: []byte("u1"), Value: v}
		if err := b.client.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *broker) deadLetters(n int) []*kgo.Record {
	b.t.Helper()
	reader, err := kgo.NewClient(kgo.SeedBrokers(b.addrs...), kgo.ConsumeTopics("im-mics-t1-event-dlq"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		b.t.Fatal(err)
	}
	defer reader.Close()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	var letters []*kgo.Record
	for len(letters) < n {
		fetches := reader.PollFetches(ctx)
		if ctx.Err() != nil {
			b.t.Fatalf("only %d dead letters", len(letters))
		}
		letters = append(letters, fetches.Records()...)
	}
	return letters
}

// run consumes until stop is called; ids get the handled events' ids.
func (b *broker) run(ids chan<- string, fail func(id string) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		err := Consume(ctx, Options{
			Brokers: b.addrs, TenantID: "t1", TenantSecret: secret, RequireSign: true, RetryBackoff: time.Millisecond,
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Handle: func(_ context.Context, e micshooksdk.MqEvent) error {
				if err := fail(e.MsgID); err != nil {
					return err
				}
				ids <- e.MsgID
				return nil
			},
		})
		if err != nil {
			b.t.Error(err)
		}
	}()
	return func() {
		cancel()
		wait.Wait()
	}
}

func expect(t *testing.T, ids <-chan string, want ...string) {
	t.Helper()
	for _, w := range want {
		select {
		case got := <-ids:
			if got != w {
				t.Fatalf("%s, want %s", got, w)
			}
		case <-time.After(hang):
			t.Fatalf("%s did not come", w)
		}
	}
}

func never(string) error { return nil }

func TestEventsAreHandledInOrderOnceAndCommitted(t *testing.T) {
	b := newBroker(t)
	ids := make(chan string, 100)
	b.write(value("1", secret), value("2", secret), value("1", secret), value("3", secret))
	stop := b.run(ids, never)
	expect(t, ids, "1", "2", "3")
	stop()
	b.write(value("4", secret))
	stop = b.run(ids, never)
	expect(t, ids, "4")
	stop()
}

func TestWhatCannotBeHandledIsPutAsideAndTheRestGoesOn(t *testing.T) {
	b := newBroker(t)
	ids := make(chan string, 100)
	b.write([]byte{0xff}, value("forged", "another"), value("bad", secret), value("good", secret))
	stop := b.run(ids, func(id string) error {
		if id == "bad" {
			return errors.New("no room")
		}
		return nil
	})
	expect(t, ids, "good")
	var reasons []string
	for _, letter := range b.deadLetters(3) {
		if string(letter.Key) != "u1" {
			t.Errorf("key %q", letter.Key)
		}
		reasons = append(reasons, string(letter.Headers[0].Value))
	}
	stop()
	want := []string{"invalid protobuf", "invalid sign", "handler failed: no room"}
	for i := range want {
		if reasons[i] != want[i] {
			t.Fatal(reasons)
		}
	}
}

func TestAnUnfinishedEventComesAgain(t *testing.T) {
	b := newBroker(t)
	ids := make(chan string, 100)
	started := make(chan struct{})
	var once sync.Once
	b.write(value("1", secret), value("2", secret))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = Consume(ctx, Options{
			Brokers: b.addrs, TenantID: "t1", TenantSecret: secret, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Handle: func(ctx context.Context, e micshooksdk.MqEvent) error {
				if e.MsgID == "1" {
					return nil
				}
				once.Do(func() { close(started) })
				<-ctx.Done()
				return ctx.Err()
			},
		})
	}()
	<-started
	cancel()
	<-done
	stop := b.run(ids, never)
	expect(t, ids, "2")
	stop()
}

func TestOptionsAreChecked(t *testing.T) {
	if Consume(context.Background(), Options{}) == nil {
		t.Fatal("nothing to handle events with")
	}
}

func TestManyEventsOfOneUserStayInOrder(t *testing.T) {
	b := newBroker(t)
	ids := make(chan string, 1000)
	var want []string
	for i := range 300 {
		id := strconv.Itoa(i)
		want = append(want, id)
		b.write(value(id, secret))
	}
	stop := b.run(ids, never)
	expect(t, ids, want...)
	stop()
}
