package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/goburrow/modbus"
)

func TestCheckReply(t *testing.T) {
	readThree := []byte{0, 7, 0, 0, 0, 6, 1, 3, 0, 100, 0, 3}
	readBits := []byte{0, 7, 0, 0, 0, 6, 1, 2, 0, 100, 0, 9}
	writeOne := []byte{0, 7, 0, 0, 0, 6, 1, 6, 0, 100, 0x12, 0x34}
	writeMany := []byte{0, 7, 0, 0, 0, 11, 1, 16, 0, 100, 0, 2, 4, 1, 2, 3, 4}
	mask := []byte{0, 7, 0, 0, 0, 8, 1, 22, 0, 4, 0, 0xf2, 0, 0x25} // the example of the specification
	for _, check := range []struct {
		name    string
		request []byte
		reply   []byte
		sound   bool
	}{
		{"registers", readThree, []byte{0, 7, 0, 0, 0, 9, 1, 3, 6, 1, 2, 3, 4, 5, 6}, true},
		{"bits", readBits, []byte{0, 7, 0, 0, 0, 5, 1, 2, 2, 0xff, 0x01}, true},
		{"exception", readThree, []byte{0, 7, 0, 0, 0, 3, 1, 0x83, 2}, true},
		{"echo of one", writeOne, []byte{0, 7, 0, 0, 0, 6, 1, 6, 0, 100, 0x12, 0x34}, true},
		{"echo of many", writeMany, []byte{0, 7, 0, 0, 0, 6, 1, 16, 0, 100, 0, 2}, true},
		{"other transaction", readThree, []byte{0, 6, 0, 0, 0, 9, 1, 3, 6, 1, 2, 3, 4, 5, 6}, false},
		{"other unit", readThree, []byte{0, 7, 0, 0, 0, 9, 2, 3, 6, 1, 2, 3, 4, 5, 6}, false},
		{"other function", readThree, []byte{0, 7, 0, 0, 0, 9, 1, 4, 6, 1, 2, 3, 4, 5, 6}, false},
		{"exception of another function", readThree, []byte{0, 7, 0, 0, 0, 3, 1, 0x84, 2}, false},
		{"long exception", readThree, []byte{0, 7, 0, 0, 0, 4, 1, 0x83, 2, 0}, false},
		{"fewer registers than asked for", readThree, []byte{0, 7, 0, 0, 0, 7, 1, 3, 4, 1, 2, 3, 4}, false},
		{"more registers than asked for", readThree, []byte{0, 7, 0, 0, 0, 11, 1, 3, 8, 1, 2, 3, 4, 5, 6, 7, 8}, false},
		{"byte count of less", readThree, []byte{0, 7, 0, 0, 0, 9, 1, 3, 4, 1, 2, 3, 4, 5, 6}, false},
		{"fewer bits than asked for", readBits, []byte{0, 7, 0, 0, 0, 4, 1, 2, 1, 0xff}, false},
		{"echo of another value", writeOne, []byte{0, 7, 0, 0, 0, 6, 1, 6, 0, 100, 0x12, 0x35}, false},
		{"echo of another address", writeOne, []byte{0, 7, 0, 0, 0, 6, 1, 6, 0, 101, 0x12, 0x34}, false},
		{"echo of fewer", writeMany, []byte{0, 7, 0, 0, 0, 6, 1, 16, 0, 100, 0, 1}, false},
		{"echo of a mask", mask, []byte{0, 7, 0, 0, 0, 8, 1, 22, 0, 4, 0, 0xf2, 0, 0x25}, true},
		{"echo of another mask", mask, []byte{0, 7, 0, 0, 0, 8, 1, 22, 0, 4, 0, 0xf2, 0, 0x24}, false},
		{"short echo of a mask", mask, []byte{0, 7, 0, 0, 0, 6, 1, 22, 0, 4, 0, 0xf2}, false},
		{"short echo", writeMany, []byte{0, 7, 0, 0, 0, 4, 1, 16, 0, 100}, false},
	} {
		if err := checkReply(check.request, check.reply); (err == nil) != check.sound {
			t.Errorf("%s: %v", check.name, err)
		}
	}
}

func TestReplySize(t *testing.T) {
	for _, check := range []struct {
		header []byte
		size   int // 0: refused
	}{
		{[]byte{0, 1, 0, 0, 0, 3, 1}, 9},
		{[]byte{0, 1, 0, 0, 0, 254, 1}, 260},
		{[]byte{0, 1, 0, 0, 0, 255, 1}, 0},
		{[]byte{0, 1, 0, 0, 1, 0, 1}, 0},
		{[]byte{0, 1, 0, 0, 0xff, 0xff, 1}, 0},
		{[]byte{0, 1, 0, 0, 0, 2, 1}, 0},
		{[]byte{0, 1, 0, 0, 0, 0, 1}, 0},
		{[]byte{0, 1, 0, 1, 0, 3, 1}, 0},
		{[]byte("HTTP/1."), 0},
	} {
		size, err := replySize(check.header)
		if size != check.size || (err == nil) != (check.size > 0) {
			t.Errorf("% x: %d, %v; want %d", check.header, size, err, check.size)
		}
	}
}

// FuzzExchange: whatever a peer sends, a reply is accepted only when it is the
// reply to the request, and never more than it.
func FuzzExchange(f *testing.F) {
	f.Add(uint8(3), uint16(3), []byte{0, 1, 0, 0, 0, 9, 1, 3, 6, 1, 2, 3, 4, 5, 6})
	f.Add(uint8(1), uint16(9), []byte{0, 1, 0, 0, 0, 5, 1, 1, 2, 0xff, 1})
	f.Add(uint8(3), uint16(3), []byte{0, 1, 0, 0, 0, 3, 1, 0x83, 2})
	f.Add(uint8(6), uint16(3), []byte{0, 1, 0, 0, 0, 6, 1, 6, 0, 100, 0, 3, 9, 9})
	f.Add(uint8(4), uint16(125), []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Fuzz(func(t *testing.T, function uint8, quantity uint16, sent []byte) {
		if function < 1 || function > 6 || quantity < 1 || quantity > 125 {
			return
		}
		packager := modbus.NewTCPClientHandler("")
		packager.SlaveId = 1
		data := binary.BigEndian.AppendUint16([]byte{0, 100}, quantity)
		request, err := packager.Encode(&modbus.ProtocolDataUnit{FunctionCode: function, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		ours, theirs := net.Pipe()
		defer ours.Close()
		go func() {
			defer theirs.Close()
			if _, err := readFrame(theirs); err == nil {
				_, _ = theirs.Write(sent)
			}
		}()
		carrier := &transport{timeout: time.Minute, conn: ours, ctx: context.Background()}
		reply, err := carrier.exchange(context.Background(), request)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(sent, reply) {
			t.Fatalf("% x was received where % x was sent", reply, sent)
		}
		if err := packager.Verify(request, reply); err != nil {
			t.Fatalf("% x is no reply to % x: %v", reply, request, err)
		}
		pdu, err := packager.Decode(reply)
		if err != nil || pdu.FunctionCode&^0x80 != function || len(pdu.Data) == 0 {
			t.Fatalf("% x is no reply to % x: %v", reply, request, err)
		}
	})
}
