package micshooksdk

import (
	"context"
	"errors"
	"testing"
	"time"
)

func event(change ...func(*MqEvent)) MqEvent {
	message := EncodeMessageRequest(MessageRequest{MsgID: "m1", UserID: "u1", ToUserID: "u2", MsgBody: []byte("hello")})
	e := MqEvent{
		TenantID: "t1", EventType: EventOfflineMessage, MsgID: "m1", UserID: "u1", DeviceID: "d1", ToUserID: "u2",
		Timestamp: 1770000000000, EventData: message,
	}
	for _, c := range change {
		c(&e)
	}
	return e
}

func value(e MqEvent, key string) []byte {
	e.Sign = ""
	e.Sign = ComputeMqEventSignBase64(key, EncodeMqEvent(e))
	return EncodeMqEvent(e)
}

// rig is a processor whose handler fails as often as told.
type rig struct {
	EventProcessor
	handled []string
	letters []string
	fails   int
}

func newRig() *rig {
	r := &rig{}
	r.EventProcessor = EventProcessor{
		TenantID: "t1", TenantSecret: secret, RequireSign: true, RetryBackoff: time.Millisecond, Logger: quiet,
		Processed: NewMemoryProcessedEvents(100),
		Handle: func(_ context.Context, e MqEvent) error {
			if r.fails > 0 {
				r.fails--
				return errors.New("not now")
			}
			r.handled = append(r.handled, e.MsgID)
			return nil
		},
		DeadLetter: func(_ context.Context, _, _ []byte, reason string) error {
			r.letters = append(r.letters, reason)
			return nil
		},
	}
	return r
}

func (r *rig) expect(t *testing.T, value []byte, want Outcome) {
	t.Helper()
	if got, err := r.Process(context.Background(), []byte("u1"), value); got != want || err != nil {
		t.Fatalf("%v, %v; want %v", got, err, want)
	}
}

func TestAnEventIsHandledOnce(t *testing.T) {
	r := newRig()
	r.expect(t, value(event(), secret), Handled)
	r.expect(t, value(event(), secret), Duplicate)
	for _, other := range []func(*MqEvent){
		func(e *MqEvent) { e.ToUserID = "u3" },
		func(e *MqEvent) { e.EventType = EventSingleChatMsg },
		func(e *MqEvent) { e.DeviceID = "d2" },
		func(e *MqEvent) { e.Timestamp = 1 },
		func(e *MqEvent) { e.EventType, e.TraceID = EventConnectOnline, "a" },
		func(e *MqEvent) { e.EventType, e.TraceID = EventConnectOnline, "b" },
	} {
		r.expect(t, value(event(other), secret), Handled)
	}
	if len(r.handled) != 7 {
		t.Fatal(r.handled)
	}
}

func TestWhatIsNotBelievedBecomesADeadLetter(t *testing.T) {
	for reason, v := range map[string][]byte{
		"invalid protobuf": {0xff},
		"invalid sign":     EncodeMqEvent(event()),
		"wrong tenant":     value(event(func(e *MqEvent) { e.TenantID = "t2" }), secret),
	} {
		r := newRig()
		r.expect(t, v, DeadLettered)
		if len(r.letters) != 1 || r.letters[0] != reason || len(r.handled) != 0 {
			t.Errorf("%s: %v, %v", reason, r.letters, r.handled)
		}
	}
}

func TestAFailingHandlerIsTriedAgainAndThenTheEventPutAside(t *testing.T) {
	r := newRig()
	r.fails = 2
	r.expect(t, value(event(), secret), Handled)
	r = newRig()
	r.fails = 3
	r.expect(t, value(event(), secret), DeadLettered)
	if len(r.letters) != 1 || r.letters[0] != "handler failed: not now" {
		t.Fatal(r.letters)
	}
	r.expect(t, value(event(), secret), Handled) // a dead letter can be replayed
}

func TestWhatCannotBeDoneIsNotDone(t *testing.T) {
	r := newRig()
	away := errors.New("no broker")
	r.DeadLetter = func(context.Context, []byte, []byte, string) error { return away }
	if _, err := r.Process(context.Background(), nil, []byte{0xff}); !errors.Is(err, away) {
		t.Fatal(err)
	}
	r.DeadLetter = nil
	if _, err := r.Process(context.Background(), nil, []byte{0xff}); err == nil {
		t.Fatal("lost without dead letters")
	}
	r = newRig()
	r.fails, r.RetryBackoff = 1, time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Process(ctx, nil, value(event(), secret)); !errors.Is(err, context.Canceled) || len(r.letters) != 0 {
		t.Fatalf("%v, %v", err, r.letters)
	}
}

func TestTheMemoryOfEventsIsBounded(t *testing.T) {
	ctx := context.Background()
	m := NewMemoryProcessedEvents(2)
	for _, key := range []string{"a", "a", "b", "c"} {
		if err := m.Mark(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	for key, want := range map[string]bool{"a": false, "b": true, "c": true} {
		if seen, _ := m.Seen(ctx, key); seen != want {
			t.Errorf("%s: %v", key, seen)
		}
	}
}
