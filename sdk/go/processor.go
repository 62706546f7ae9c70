package micshooksdk

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// EventHandler deals with one verified event. It should bear repeated ones.
type EventHandler func(ctx context.Context, event MqEvent) error

// ProcessedEvents knows which events were handled; keys are those of [EventKey].
type ProcessedEvents interface {
	Seen(ctx context.Context, key string) (bool, error)
	Mark(ctx context.Context, key string) error
}

// Outcome is what became of a record.
type Outcome int

const (
	Handled Outcome = iota
	Duplicate
	DeadLettered
)

func (o Outcome) String() string {
	return [...]string{"handled", "duplicate", "dead letter"}[o]
}

// EventProcessor is the rule for one Kafka record: verify it, recognise a repeated one, call the handler, and put aside what
// can't be handled. It needs no Kafka; the module micshooksdk/kafka is the loop around it.
type EventProcessor struct {
	TenantID     string
	TenantSecret string
	// RequireSign puts unsigned events aside. A signature that is there must be right in any case.
	RequireSign bool
	Handle      EventHandler
	// DeadLetter puts a record aside. What it returns comes through: the record isn't done then.
	DeadLetter func(ctx context.Context, key, value []byte, reason string) error
	// Processed: nil = every event is handled, also a repeated one.
	Processed ProcessedEvents
	// MaxAttempts is how often the handler is called before an event becomes a dead letter; 0 = 3.
	MaxAttempts int
	// RetryBackoff is the pause after the first failed call, doubling up to 5 s; 0 = 200 ms.
	RetryBackoff time.Duration
	Logger       *slog.Logger
}

// Process deals with one record. With an error it isn't done and must come again.
func (p *EventProcessor) Process(ctx context.Context, key, value []byte) (Outcome, error) {
	result, err := DecodeAndVerifyMqEvent(value, p.TenantSecret, p.RequireSign)
	switch {
	case err != nil:
		return p.putAside(ctx, key, value, err.Error())
	case !result.Ok:
		return p.putAside(ctx, key, value, result.Reason)
	case result.Event.TenantID != p.TenantID:
		return p.putAside(ctx, key, value, "wrong tenant")
	}
	name := EventKey(result.Event)
	if p.Processed != nil {
		if seen, err := p.Processed.Seen(ctx, name); err != nil || seen {
			return Duplicate, err
		}
	}
	if err := p.tryHandler(ctx, result.Event); err != nil {
		if ctx.Err() != nil {
			return DeadLettered, ctx.Err()
		}
		return p.putAside(ctx, key, value, "handler failed: "+err.Error())
	}
	if p.Processed != nil {
		return Handled, p.Processed.Mark(ctx, name)
	}
	return Handled, nil
}

func (p *EventProcessor) tryHandler(ctx context.Context, event MqEvent) error {
	attempts, pause := p.MaxAttempts, p.RetryBackoff
	if attempts <= 0 {
		attempts = 3
	}
	if pause <= 0 {
		pause = 200 * time.Millisecond
	}
	for n := 1; ; n++ {
		err := p.Handle(ctx, event)
		if err == nil || n >= attempts {
			return err
		}
		p.logger().Warn("mics events: handler failed, trying again", "error", err, "attempt", n, "msg", event.MsgID)
		if err := Sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(pause*2, 5*time.Second)
	}
}

func (p *EventProcessor) putAside(ctx context.Context, key, value []byte, reason string) (Outcome, error) {
	p.logger().Error("mics events: dead letter", "reason", reason, "bytes", len(value))
	if p.DeadLetter == nil {
		return DeadLettered, errors.New("no dead letters: " + reason)
	}
	return DeadLettered, p.DeadLetter(ctx, key, value, reason)
}

func (p *EventProcessor) logger() *slog.Logger {
	if p.Logger == nil {
		return slog.Default()
	}
	return p.Logger
}

// Sleep waits, but not beyond the context's end.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// MemoryProcessedEvents is for one process, forgotten with it: enough where the handler itself bears repeated events.
type MemoryProcessedEvents struct {
	mu    sync.Mutex
	keys  map[string]struct{}
	order []string // a ring, oldest at next
	next  int
}

// NewMemoryProcessedEvents remembers at most capacity events.
func NewMemoryProcessedEvents(capacity int) *MemoryProcessedEvents {
	return &MemoryProcessedEvents{keys: make(map[string]struct{}), order: make([]string, max(1, capacity))}
}

// Seen is true when Mark was called with this key.
func (m *MemoryProcessedEvents) Seen(_ context.Context, key string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, seen := m.keys[key]
	return seen, nil
}

// Mark remembers a key; above the capacity the oldest is forgotten.
func (m *MemoryProcessedEvents) Mark(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, seen := m.keys[key]; seen {
		return nil
	}
	delete(m.keys, m.order[m.next])
	m.order[m.next] = key
	m.next = (m.next + 1) % len(m.order)
	m.keys[key] = struct{}{}
	return nil
}
