package grpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
)

// peer is whatever listens where a driver process should.
type peer struct {
	listener net.Listener
	done     sync.WaitGroup

	mu     sync.Mutex
	open   []net.Conn
	closed bool
}

func newPeer(t *testing.T, listener net.Listener, serve func(conn net.Conn)) *peer {
	t.Helper()
	p := &peer{listener: listener}
	p.done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			if p.closed { // since Accept
				_ = conn.Close()
			}
			p.open = append(p.open, conn)
			p.mu.Unlock()
			p.done.Go(func() {
				defer conn.Close()
				serve(conn)
			})
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *peer) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for _, conn := range p.open {
		_ = conn.Close()
	}
	p.mu.Unlock()
	p.done.Wait()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// Whatever answers in place of a driver process, connecting fails within the
// timeout, and nothing else happens.
func TestPeersThatAreNoDriverProcess(t *testing.T) {
	t.Parallel()
	wait := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	say := func(text string) func(net.Conn) {
		return func(conn net.Conn) {
			_, _ = conn.Write([]byte(text))
			wait(conn)
		}
	}
	settings := "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	for name, serve := range map[string]func(net.Conn){
		"silence":            wait,
		"end":                func(net.Conn) {},
		"HTTP/1":             say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
		"garbage":            say(string(bytes.Repeat([]byte{0xfe, 0x13, 0x00}, 10_000))),
		"settings alone":     say(settings),
		"settings, a part":   say(settings[:5]),
		"large frame":        say(settings + "\xff\xff\xff\x00\x00\x00\x00\x00\x01"),
		"headers of no call": say(settings + "\x00\x00\x01\x01\x05\x00\x00\x00\x03\x88"),
		"data of no call":    say(settings + "\x00\x00\x01\x00\x01\x00\x00\x00\x01x"),
		"goes away":          say(settings + "\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		"drip": func(conn net.Conn) {
			for _, b := range []byte(settings) {
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond) // the peer is slow; nothing waits for it
			}
			wait(conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeer(t, listen(t), serve)
			driver := open(t, p.listener.Addr().String(), 300*time.Millisecond)
			began := time.Now()
			if err := driver.Connect(t.Context()); err == nil {
				t.Error("it was connected")
			}
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("connecting with a timeout of 300ms took %v", took)
			}
			asked := 0
			_, err := driver.WritePoint(t.Context(), protocol.Write{Point: 2, Raw: 1, Before: func() error { asked++; return nil }})
			var failed *protocol.WriteError
			if !errors.As(err, &failed) || failed.Fault != protocol.NotSent || asked != 0 {
				t.Errorf("a write without a session: %v, Before was asked %d times", err, asked)
			}
		})
	}
}

func TestADriverProcessMayListenOnASocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "driver.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	calls := &calls{answer: func(string, int) reply { return empty }}
	newPeer(t, listener, calls.serve)
	driver := open(t, "unix:"+path, time.Minute)
	if err := driver.Connect(t.Context()); err != nil {
		t.Error(err)
	}
}

// reply is how a peer that speaks HTTP/2 ends a call.
type reply int

const (
	empty    reply = iota // an answer without content
	goAway                // the connection ends, and the call is told to be unprocessed
	refusal               // the call is told to be unprocessed
	goodbye               // the connection breaks
	endless               // an answer that is told to have 4 GiB
	drenched              // data without end in place of an answer
)

// calls is a peer that speaks HTTP/2 by hand, so that it can do what no server
// does. It counts the calls by name, and asks for each how to end it.
type calls struct {
	answer func(name string, count int) reply

	mu    sync.Mutex
	count map[string]int
}

func (c *calls) seen(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count[name]
}

func (c *calls) serve(conn net.Conn) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if framer.WriteSettings() != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() && framer.WriteSettingsAck() != nil {
				return
			}
		case *http2.MetaHeadersFrame:
			name := filepath.Base(frame.PseudoValue("path"))
			c.mu.Lock()
			if c.count == nil {
				c.count = map[string]int{}
			}
			c.count[name]++
			count := c.count[name]
			c.mu.Unlock()
			if end(framer, frame.StreamID, c.answer(name, count)) {
				return
			}
		}
	}
}

// end ends a call, and reports whether the connection is to be closed.
func end(framer *http2.Framer, stream uint32, how reply) (closing bool) {
	headers := func(last bool, fields ...hpack.HeaderField) {
		var block bytes.Buffer
		encoder := hpack.NewEncoder(&block)
		for _, field := range fields {
			_ = encoder.WriteField(field)
		}
		_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: last})
	}
	begin := func() {
		headers(false, hpack.HeaderField{Name: ":status", Value: "200"}, hpack.HeaderField{Name: "content-type", Value: "application/grpc"})
	}
	switch how {
	case goAway:
		_ = framer.WriteGoAway(0, http2.ErrCodeNo, nil)
		return true
	case refusal:
		_ = framer.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
	case goodbye:
		return true
	case endless:
		begin()
		_ = framer.WriteData(stream, false, []byte{0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3})
	case drenched:
		begin()
		for framer.WriteData(stream, false, make([]byte, 16<<10)) == nil {
			continue
		}
		return true
	default:
		begin()
		_ = framer.WriteData(stream, false, make([]byte, 5))
		headers(true, hpack.HeaderField{Name: "grpc-status", Value: "0"})
	}
	return false
}

// TestAWriteIsNeverSentAgain, even where gRPC would do so by itself, because the
// other side says that it did not process the call: a read, which may be repeated,
// shows that it would.
func TestAWriteIsNeverSentAgain(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]reply{"go away": goAway, "refused stream": refusal, "broken connection": goodbye} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := &calls{answer: func(name string, count int) reply {
				if count == 1 && (name == "ReadBatch" || name == "WritePoint") {
					return how
				}
				return empty
			}}
			driver := open(t, newPeer(t, listen(t), calls.serve).listener.Addr().String(), time.Minute)
			if err := driver.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			asked := 0
			_, err := driver.WritePoint(t.Context(), protocol.Write{Point: 2, Raw: 1, Before: func() error { asked++; return nil }})
			var failed *protocol.WriteError
			if !errors.As(err, &failed) || failed.Fault != protocol.Unanswered {
				t.Errorf("the write ended with %v", err)
			}
			if calls.seen("WritePoint") != 1 || asked != 1 {
				t.Errorf("the write was sent %d times, and Before asked %d times", calls.seen("WritePoint"), asked)
			}
			if err := driver.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err = driver.ReadBatch(t.Context(), ems.DefaultGroup)
			// How the second read ends is left open: the library may lose its answer to the end of the first connection.
			if again := how != goodbye; again != (calls.seen("ReadBatch") == 2) || !again && err == nil {
				t.Errorf("the read was sent %d times and ended with %v", calls.seen("ReadBatch"), err)
			}
			if calls.seen("WritePoint") != 1 {
				t.Errorf("later the write was sent again: %d times", calls.seen("WritePoint"))
			}
		})
	}
}

// Answers without an end are cut short.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]reply{"length": endless, "data": drenched} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := &calls{answer: func(name string, _ int) reply {
				if name == "ReadBatch" {
					return how
				}
				return empty
			}}
			driver := open(t, newPeer(t, listen(t), calls.serve).listener.Addr().String(), time.Minute)
			if err := driver.Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if readings, err := driver.ReadBatch(ctx, ems.DefaultGroup); err == nil || ctx.Err() != nil || readings != nil {
				t.Errorf("%v, %v", readings, err)
			}
		})
	}
}
