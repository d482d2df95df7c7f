package modbus

import (
	"context"
	"errors"
	"testing"
	"time"
)

// watched is a port that tells when it was given a deadline.
type watched struct {
	port
	given chan time.Time
}

func (w watched) SetDeadline(deadline time.Time) error {
	w.given <- deadline
	return nil
}

// TestAnExchangeIsCutByItsOwnContext: neither by the one of another channel of the
// connection, nor after its end.
func TestAnExchangeIsCutByItsOwnContext(t *testing.T) {
	t.Parallel()
	var c cut
	defer c.leave()
	port := watched{given: make(chan time.Time, 10)}
	first, endFirst := context.WithCancel(t.Context())
	second, endSecond := context.WithCancel(t.Context())
	begin := func(ctx context.Context) {
		t.Helper()
		if err := c.begin(ctx, port); err != nil {
			t.Fatal(err)
		}
	}
	begin(first)
	c.end()
	begin(first)
	c.end()
	begin(second)
	endFirst()
	c.now(first.Done()) // as if it had been told late
	c.end()
	if len(port.given) != 0 {
		t.Error("an exchange was cut by a context that is not its own")
	}
	begin(second)
	endSecond()
	if deadline := <-port.given; deadline.After(time.Now()) {
		t.Errorf("it is cut at %v", deadline)
	}
	c.end()
	c.now(second.Done())
	if len(port.given) != 0 {
		t.Error("the connection was cut after the exchange")
	}
	if err := c.begin(second, port); !errors.Is(err, context.Canceled) || c.port != nil {
		t.Errorf("an exchange begins after the end of its context: %v", err)
	}
}
