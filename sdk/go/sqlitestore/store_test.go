package sqlitestore

import (
	"context"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"micshooksdk"
)

var ctx = context.Background()

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func event(id string, data []byte) micshooksdk.MqEvent {
	return micshooksdk.MqEvent{
		TenantID: "t1", EventType: micshooksdk.EventOfflineMessage, MsgID: id, UserID: "u1", DeviceID: "d1", ToUserID: "u2",
		Timestamp: 1770000000000, EventData: data,
	}
}

func TestMessagesSurviveAndArePulledPageByPage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a folder?", "..", "offline.db")
	path = filepath.Clean(path)
	s := open(t, path)
	save := micshooksdk.OfflineEventHandler(s)
	for i := range 5 {
		id := "m" + strconv.Itoa(i)
		if err := save(ctx, event(id, micshooksdk.EncodeMessageRequest(micshooksdk.MessageRequest{MsgID: id}))); err != nil {
			t.Fatal(err)
		}
	}
	if save(ctx, event("spoilt", []byte{0xff})) == nil {
		t.Fatal("no message, and stored")
	}
	chat := event("chat", []byte("x"))
	chat.EventType = micshooksdk.EventSingleChatMsg
	other := event("other", nil)
	other.TenantID = "t2"
	for _, e := range []micshooksdk.MqEvent{chat, other} {
		if err := save(ctx, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, path)
	pull := micshooksdk.OfflinePullHandler(s)
	var got []string
	request := micshooksdk.GetOfflineMessagesRequest{Meta: micshooksdk.HookMeta{TenantID: "t1"}, UserID: "u2", MaxMessages: 2}
	for pages := 1; ; pages++ {
		resp, err := pull(ctx, request)
		if err != nil || !resp.Ok {
			t.Fatalf("%+v, %v", resp, err)
		}
		for _, wire := range resp.MessagesWireBytes {
			m, err := micshooksdk.DecodeMessageRequest(wire)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.MsgID)
		}
		if !resp.HasMore {
			if pages != 3 {
				t.Fatalf("%d pages", pages)
			}
			break
		}
		request.Cursor = resp.NextCursor
	}
	if strings.Join(got, " ") != "m0 m1 m2 m3 m4" {
		t.Fatal(got)
	}
	if n, err := s.DeleteRead(ctx, "t1", "u2", "m0", "m1", "unknown"); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.DeleteOlderThan(ctx, -time.Minute); n != 4 || err != nil {
		t.Fatal(n, err)
	}
}

func TestAMessageIsStoredOnceAndGivenBackByteForByte(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "offline.db"))
	data := append(micshooksdk.EncodeMessageRequest(micshooksdk.MessageRequest{MsgID: "1"}), 0xf2, 0x3f, 3, 'n', 'e', 'w')
	for i, want := range []bool{true, false} {
		if stored, err := s.Save(ctx, event("1", data)); stored != want || err != nil {
			t.Fatal(i, stored, err)
		}
	}
	// A client that starts its ids over writes another message.
	restarted := event("1", []byte("other"))
	restarted.Timestamp++
	if stored, err := s.Save(ctx, restarted); !stored || err != nil {
		t.Fatal(stored, err)
	}
	page, err := s.Page(ctx, "t1", "u2", 100, "")
	if err != nil || len(page.Messages) != 2 || string(page.Messages[0]) != string(data) {
		t.Fatalf("%+v, %v", page, err)
	}
}

func TestAPageHasASizeAndAtLeastOneMessage(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "offline.db"))
	s.maxPageBytes = 1000
	for i, size := range []int{5000, 600, 600} {
		if _, err := s.Save(ctx, event(strconv.Itoa(i), make([]byte, size))); err != nil {
			t.Fatal(err)
		}
	}
	cursor := ""
	for i, more := range []bool{true, true, false} {
		page, err := s.Page(ctx, "t1", "u2", 100, cursor)
		if err != nil || len(page.Messages) != 1 || page.HasMore != more {
			t.Fatalf("page %d: %d messages, more %v, %v", i, len(page.Messages), page.HasMore, err)
		}
		cursor = page.NextCursor
	}
	if page, err := s.Page(ctx, "t1", "u2", 100, "not a cursor"); err != nil || len(page.Messages) != 1 {
		t.Fatal(err)
	}
}
