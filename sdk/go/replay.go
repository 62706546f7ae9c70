package micshooksdk

import (
	"context"
	"sync"
	"time"
)

// ReplayCache knows which request ids were used. Several processes of one tenant share one (Redis SET NX PX does it).
type ReplayCache interface {
	// FirstUse is true once per tenant and id within ttl.
	FirstUse(ctx context.Context, tenantID, requestID string, ttl time.Duration) (bool, error)
}

// MemoryReplayCache is for one process. Above its capacity the oldest ids are forgotten.
type MemoryReplayCache struct {
	mu      sync.Mutex
	now     func() time.Time
	until   map[[2]string]time.Time
	order   [][2]string // a ring, oldest at next
	next    int
	evicted uint64
}

// NewMemoryReplayCache makes a cache for at most capacity ids.
func NewMemoryReplayCache(capacity int) *MemoryReplayCache {
	return &MemoryReplayCache{now: time.Now, until: make(map[[2]string]time.Time), order: make([][2]string, max(1, capacity))}
}

// FirstUse is true once per tenant and id within ttl.
func (c *MemoryReplayCache) FirstUse(_ context.Context, tenantID, requestID string, ttl time.Duration) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, key := c.now(), [2]string{tenantID, requestID}
	if until, used := c.until[key]; used {
		if now.Before(until) {
			return false, nil
		}
		// Expired: its place in the ring still holds the key and is cleared when the ring comes round.
		c.until[key] = now.Add(ttl)
		return true, nil
	}
	if old := c.order[c.next]; old != ([2]string{}) {
		if now.Before(c.until[old]) {
			c.evicted++
		}
		delete(c.until, old)
	}
	c.order[c.next] = key
	c.next = (c.next + 1) % len(c.order)
	c.until[key] = now.Add(ttl)
	return true, nil
}

// Evicted counts ids that were forgotten before their time: a replay of these would pass. Raise the capacity when it grows.
func (c *MemoryReplayCache) Evicted() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.evicted
}
