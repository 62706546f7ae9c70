package micshooksdk

import (
	"context"
	"errors"
)

// OfflinePage is a part of what is kept for a user, oldest first, as it was in the events.
type OfflinePage struct {
	Messages   [][]byte
	NextCursor string
	HasMore    bool
}

// OfflineStore keeps messages for absent users. Both calls bear repetition. An answer to the gateway is no proof that the user
// has the messages (it can come too late, a connection can end before they are written), so nothing is deleted because it was
// pulled: delete on a read mark of your own, or by age; client SDKs drop what they have seen.
type OfflineStore interface {
	// Save stores the message of an OFFLINE_MESSAGE event under its recipient; false when it was there already.
	Save(ctx context.Context, event MqEvent) (bool, error)
	// Page gives messages for a user after cursor (empty: from the oldest).
	Page(ctx context.Context, tenantID, userID string, maxMessages int, cursor string) (OfflinePage, error)
}

// OfflineEventHandler stores OFFLINE_MESSAGE events and passes over the others.
func OfflineEventHandler(store OfflineStore) EventHandler {
	return func(ctx context.Context, event MqEvent) error {
		if event.EventType != EventOfflineMessage {
			return nil
		}
		if _, ok := DecodeEventMessage(event); !ok {
			// Stored, it would spoil every page that it is in.
			return errors.New("event data is no message")
		}
		_, err := store.Save(ctx, event)
		return err
	}
}

// OfflinePullHandler answers get-offline-messages from the store; it is for [HookServerOptions].GetOfflineMessages.
func OfflinePullHandler(
	store OfflineStore,
) func(context.Context, GetOfflineMessagesRequest) (GetOfflineMessagesResponse, error) {
	return func(ctx context.Context, req GetOfflineMessagesRequest) (GetOfflineMessagesResponse, error) {
		page, err := store.Page(ctx, req.Meta.TenantID, req.UserID, int(req.MaxMessages), req.Cursor)
		if err != nil {
			return GetOfflineMessagesResponse{}, err
		}
		return GetOfflineMessagesResponse{
			Ok: true, MessagesWireBytes: page.Messages, NextCursor: page.NextCursor, HasMore: page.HasMore,
		}, nil
	}
}
