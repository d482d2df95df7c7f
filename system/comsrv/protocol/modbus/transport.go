package modbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// transport carries one request and its reply at a time over a connection that
// it owns. It never sends a request again: after any error or doubt it closes
// the connection, so that a late reply dies with it, and the next request dials.
type transport struct {
	address string
	timeout time.Duration // for dialling, and again for a request and its whole reply
	conn    net.Conn

	// Of the request under way, because the interface that this type serves
	// carries neither.
	ctx    context.Context
	before func() error // asked when the next thing is that bytes leave
	sent   bool         // bytes of the request may have left
}

// brokenError says that no connection could be made or that it can no longer be
// used. Whatever was asked has no answer.
type brokenError struct {
	dialling bool
	text     string
	cause    error
}

func (e *brokenError) Error() string { return e.text }
func (e *brokenError) Unwrap() error { return e.cause }

// Send implements the transporter of the Modbus library. Its errors are those of
// before, else a *brokenError.
func (t *transport) Send(request []byte) ([]byte, error) {
	t.sent = false
	if err := t.prepare(t.ctx); err != nil {
		return nil, err
	}
	if t.before != nil {
		if err := t.before(); err != nil {
			return nil, err
		}
	}
	reply, err := t.exchange(t.ctx, request)
	if err != nil {
		t.close()
		return nil, t.broken(err)
	}
	return reply, nil
}

// prepare makes sure of a connection on which nothing is under way. One that the
// peer has closed meanwhile, or on which bytes wait that nobody asked for, is
// replaced before anything is sent.
func (t *transport) prepare(ctx context.Context) error {
	if t.conn != nil && checkIdle(t.conn) != nil {
		t.close()
	}
	if t.conn != nil {
		return nil
	}
	dialer := net.Dialer{Timeout: t.timeout}
	conn, err := dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return &brokenError{dialling: true, text: fmt.Sprintf("%s cannot be reached: %s", t.address, cause(err)), cause: err}
	}
	t.conn = conn
	return nil
}

// exchange writes a request and reads its reply, all before one deadline: a peer
// that sends a byte now and then does not extend it.
func (t *transport) exchange(ctx context.Context, request []byte) ([]byte, error) {
	conn := t.conn
	if err := conn.SetDeadline(time.Now().Add(t.timeout)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() { // from now on the connection may get its past deadline at any moment
			t.close()
		}
	}()
	written, err := conn.Write(request)
	t.sent = written > 0
	if err != nil {
		return nil, err
	}
	frame := make([]byte, maxFrame)
	if _, err := io.ReadFull(conn, frame[:headerSize]); err != nil {
		return nil, err
	}
	size, err := replySize(frame)
	if err != nil {
		return nil, fmt.Errorf("answered with %w", err)
	}
	if _, err := io.ReadFull(conn, frame[headerSize:size]); err != nil {
		return nil, err
	}
	if err := checkReply(request, frame[:size]); err != nil {
		return nil, fmt.Errorf("answered with %w", err)
	}
	return frame[:size], nil
}

func (t *transport) broken(err error) error {
	text := fmt.Sprintf("%s: %s", t.address, cause(err))
	switch {
	case t.ctx.Err() != nil:
		text = t.address + ": the request was called off"
	case errors.Is(err, os.ErrDeadlineExceeded):
		text = fmt.Sprintf("%s did not answer in whole within %v", t.address, t.timeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		text = t.address + " closed the connection instead of answering"
	}
	return &brokenError{text: text, cause: err}
}

// cause strips the addresses that the network library repeats.
func cause(err error) string {
	var operation *net.OpError
	if errors.As(err, &operation) {
		if operation.Timeout() {
			return "no answer in time"
		}
		return operation.Err.Error()
	}
	return err.Error()
}

func (t *transport) close() {
	if t.conn != nil {
		_ = t.conn.Close() // what it still held is of no use
		t.conn = nil
	}
}
