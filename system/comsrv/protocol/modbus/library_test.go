package modbus

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goburrow/modbus"
)

// These tests show what the transporter of the Modbus library does, which is why
// this package has its own. The remedy is proved in transport_test.go against the
// same peers.

// lateOnce answers the first request only when the second one has come, on the
// connection of the second: a gateway that mixes up its replies.
func lateOnce() func(p *peer, conn net.Conn, request []byte) bool {
	var mu sync.Mutex
	var held []byte
	return func(_ *peer, conn net.Conn, request []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		reply := answer(request, 3, 2, 0, request[1]) // the value tells the transaction
		if held == nil {
			held = reply
			return true
		}
		if len(held) > 0 {
			late := held
			held = []byte{}
			return send(conn, append(late, reply...))
		}
		return send(conn, reply)
	}
}

func TestLibraryNeverRecoversFromALateReply(t *testing.T) {
	t.Parallel()
	p := newPeer(t, lateOnce())
	handler := modbus.NewTCPClientHandler(p.address())
	handler.Timeout = testTimeout
	defer handler.Close()
	client := modbus.NewClient(handler)
	if _, err := client.ReadHoldingRegisters(0, 1); err == nil {
		t.Fatal("the first read has an answer")
	}
	for range 5 {
		_, err := client.ReadHoldingRegisters(0, 1)
		if err == nil || !strings.Contains(err.Error(), "transaction id") {
			t.Fatalf("the library has recovered by itself: %v", err)
		}
	}
}

func TestLibraryAcceptsAShortReply(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		return send(conn, answer(request, 3, 2, 0x12, 0x34)) // one register, whatever was asked for
	})
	handler := modbus.NewTCPClientHandler(p.address())
	handler.Timeout = time.Minute
	defer handler.Close()
	data, err := modbus.NewClient(handler).ReadHoldingRegisters(0, 10)
	if err != nil || len(data) != 2 {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
}
