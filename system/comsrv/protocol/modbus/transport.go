package modbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
)

// brokenError says that no connection could be made or that it can no longer be
// used. Whatever was asked has no answer.
type brokenError struct {
	dialling bool
	sent     bool // bytes of the request may have left
	text     string
	cause    error
}

func (e *brokenError) Error() string { return e.text }
func (e *brokenError) Unwrap() error { return e.cause }

// errBroadcast is what a request to every unit of a line ends with.
var errBroadcast = errors.New("it was sent to every unit of the line, none of which answers that")

// Send implements the transporter of the Modbus library: it carries one request
// and its reply. It never sends a request again: after any error or doubt it
// closes the connection, so that a late reply dies with it, and the next request
// connects anew.
func (l *link) Send(request []byte) ([]byte, error) {
	ctx, ask := l.ctx, l.ask
	now := l.clock.Now()
	if err := l.pause(ctx, max(l.free.Sub(now), l.late.quiet(request).Sub(now))); err != nil {
		return nil, err
	}
	if err := l.prepare(ctx, ask.since, ask.timeout); err != nil {
		return nil, err
	}
	if ask.before != nil {
		if err := ask.before(); err != nil {
			return nil, err
		}
	}
	return l.carry(ctx, request)
}

// prepare makes sure of a connection on which nothing is under way. One that the
// peer has closed meanwhile, or on which bytes wait that nobody asked for, is
// replaced before anything is sent; on a serial line such bytes are dropped until
// it is silent. A failure to connect is that of everybody who waited meanwhile.
func (l *link) prepare(ctx context.Context, since time.Time, timeout time.Duration) error {
	for began := (time.Time{}); l.port != nil; {
		err := l.port.idle()
		if err == nil {
			return nil
		}
		if !l.isSerial() || !errors.Is(err, errStray) {
			l.close()
			break
		}
		if now := l.clock.Now(); began.IsZero() {
			began = now
		} else if now.Sub(began) > timeout {
			return &brokenError{text: l.address + " is never silent", cause: err}
		}
		if err := l.pause(ctx, l.silence); err != nil {
			return err
		}
	}
	if l.refuse.cause != nil && l.refuse.at.After(since) {
		return l.refuse.cause
	}
	opened, err := l.dial(ctx, timeout)
	if err != nil {
		err = &brokenError{dialling: true, text: fmt.Sprintf("%s cannot be reached: %s", l.address, cause(err)), cause: err}
		if ctx.Err() == nil {
			l.refuse = dialFailure{at: l.clock.Now(), cause: err}
		}
		return err
	}
	l.port, l.refuse = opened, dialFailure{}
	return nil
}

// pause waits, not at all for a negative duration.
func (l *link) pause(ctx context.Context, duration time.Duration) error {
	if duration <= 0 {
		return nil
	}
	timer := l.clock.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// carry writes a request and reads its reply, and closes the connection where
// that cannot be trusted afterwards.
func (l *link) carry(ctx context.Context, request []byte) ([]byte, error) {
	ask, sent := l.ask, l.clock.Now()
	ask.counters.requests.Inc()
	reply, written, err := l.converse(ctx, request)
	ended := l.clock.Now()
	if ask.trace != nil {
		ask.trace.exchange(l, request, written, sent, ended, err)
	}
	l.free = ended.Add(max(l.spacing, l.silence))
	if err == nil && reply == nil {
		l.free = ended.Add(max(l.spacing, turnaround))
		return nil, errBroadcast
	}
	if written {
		l.late.note(request, sent, ask.timeout, err)
	}
	if err != nil {
		if !l.outlives(err) {
			l.close()
		}
		return nil, l.broken(ctx, err, written)
	}
	ask.counters.roundTrip.Observe(ended.Sub(sent).Seconds())
	return reply, nil
}

// converse writes a request and reads its reply, all before one deadline: a peer
// that sends a byte now and then does not extend it. A broadcast has no reply.
func (l *link) converse(ctx context.Context, request []byte) (reply []byte, written bool, err error) {
	port := l.port
	if err := port.SetDeadline(time.Now().Add(l.ask.timeout)); err != nil {
		return nil, false, err
	}
	if err := l.cut.begin(ctx, port); err != nil {
		return nil, false, err
	}
	defer l.cut.end()
	count, err := port.Write(request)
	if err != nil || config.Broadcasts(l.protocol, l.ask.unit) {
		return nil, count > 0, err
	}
	frame := l.ask.frame
	size, err := l.framing.receive(l.ask.trace.listen(port), request, frame)
	if err != nil {
		return nil, true, err
	}
	return frame[:size], true, nil
}

// outlives reports whether the connection can be used after an error. A serial
// port is flushed before the next request, so only its own faults end it.
func (l *link) outlives(err error) bool {
	var malformed *frameError
	return l.isSerial() && (errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &malformed))
}

func (l *link) isSerial() bool { return l.protocol == config.ProtocolModbusRTU }

func (l *link) close() {
	l.cut.leave()
	if l.port != nil {
		_ = l.port.Close() // what it still held is of no use
		l.port = nil
	}
}

func (l *link) broken(ctx context.Context, err error, sent bool) error {
	text := fmt.Sprintf("%s: %s", l.address, cause(err))
	switch {
	case ctx.Err() != nil:
		text = l.address + ": the request was called off"
	case errors.Is(err, os.ErrDeadlineExceeded):
		text = fmt.Sprintf("%s did not answer in whole within %v", l.address, l.ask.timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = l.address + " closed the connection instead of answering"
	}
	return &brokenError{sent: sent, text: text, cause: err}
}

// cause strips addresses and paths, which are told already.
func cause(err error) string {
	var operation *net.OpError
	if errors.As(err, &operation) {
		if operation.Timeout() {
			return "no answer in time"
		}
		return operation.Err.Error()
	}
	var file *fs.PathError
	if errors.As(err, &file) {
		return file.Err.Error()
	}
	return err.Error()
}
