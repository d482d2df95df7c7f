package modbus

import (
	"context"
	"sync"
	"time"
)

// cut ends an exchange when its context ends. The polls of a channel have many
// exchanges with one context, so it listens to that until there is another one.
type cut struct {
	done <-chan struct{} // of the context that is listened to
	stop func() bool

	mu    sync.Mutex
	port  port            // of the exchange under way; nil between two
	under <-chan struct{} // of its context
}

// begin says that an exchange begins, which ends when ctx does or end is called.
func (c *cut) begin(ctx context.Context, port port) error {
	done := ctx.Done()
	c.mu.Lock()
	c.port, c.under = port, done
	c.mu.Unlock()
	if c.done != done {
		c.leave()
		c.done, c.stop = done, context.AfterFunc(ctx, func() { c.now(done) })
	}
	if err := ctx.Err(); err != nil { // it may have ended before there was a port to cut
		c.end()
		return err
	}
	return nil
}

// now cuts the exchange under way if it is one of a context that has ended.
func (c *cut) now(done <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.port != nil && c.under == done {
		_ = c.port.SetDeadline(time.Unix(1, 0))
	}
}

// end says that the exchange has ended. Afterwards nothing touches its port.
func (c *cut) end() {
	c.mu.Lock()
	c.port, c.under = nil, nil
	c.mu.Unlock()
}

// leave listens to no context any more.
func (c *cut) leave() {
	if c.stop != nil {
		c.stop()
		c.done, c.stop = nil, nil
	}
}
