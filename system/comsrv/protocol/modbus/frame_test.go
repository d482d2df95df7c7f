package modbus

import (
	"bytes"
	"encoding/binary"
	"os"
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

func TestReplySizeRTU(t *testing.T) {
	readThree := sum(1, 3, 0, 100, 0, 3)
	readBits := sum(1, 2, 0, 100, 0, 9)
	writeMany := sum(1, 16, 0, 100, 0, 2, 4, 1, 2, 3, 4)
	mask := sum(1, 22, 0, 4, 0, 0xf2, 0, 0x25)
	for _, check := range []struct {
		request, start []byte
		size           int // 0: refused
	}{
		{readThree, []byte{1, 3, 6, 0, 0}, 11},
		{readBits, []byte{1, 2, 2, 0, 0}, 7},
		{writeMany, []byte{1, 16, 0, 100, 0}, 8},
		{mask, []byte{1, 22, 0, 4, 0}, 10},
		{readThree, []byte{1, 0x83, 2, 0, 0}, 5},
		{writeMany, []byte{1, 0x90, 2, 0, 0}, 5},
		{readThree, []byte{2, 3, 6, 0, 0}, 0},
		{readThree, []byte{1, 4, 6, 0, 0}, 0},
		{readThree, []byte{1, 0x84, 6, 0, 0}, 0},
		{readThree, []byte{1, 3, 0, 0, 0}, 0},
		{readThree, []byte{1, 3, 4, 0, 0}, 0},
		{readThree, []byte{1, 3, 255, 0, 0}, 0},
		{readBits, []byte{1, 2, 1, 0, 0}, 0},
	} {
		size, err := replySizeRTU(check.request, check.start)
		if size != check.size || (err == nil) != (check.size > 0) {
			t.Errorf("% x to % x: %d, %v; want %d", check.start, check.request, size, err, check.size)
		}
	}
}

// TestOneWrongBitIsSeen: whichever bit of a reply on a serial line turns over, it
// is no longer taken.
func TestOneWrongBitIsSeen(t *testing.T) {
	request := sum(1, 3, 0, 100, 0, 3)
	reply := sum(1, 3, 6, 1, 2, 3, 4, 5, 6)
	var frame [maxFrame]byte
	for turned := -1; turned < 8*len(reply); turned++ {
		received := bytes.Clone(reply)
		if turned >= 0 {
			received[turned/8] ^= 1 << (turned % 8)
		}
		_, err := rtuFraming{modbus.NewRTUClientHandler("")}.receive(bytes.NewReader(received), request, frame[:])
		if (err == nil) != (turned < 0) {
			t.Errorf("bit %d: %v", turned, err)
		}
	}
}

func TestLateReplies(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	late, damaged := os.ErrDeadlineExceeded, &frameError{damaged: true}
	one, other, elsewhere := sum(1, 3, 0, 0, 0, 1), sum(1, 3, 0, 9, 0, 1), sum(2, 3, 0, 0, 0, 1)
	never := time.Time{}
	type step struct {
		request []byte
		sent    int
		err     error
	}
	for name, check := range map[string]struct {
		steps                  []step
		one, other, otherThere time.Time // when these may leave afterwards
	}{
		"nothing":                    {nil, never, never, never},
		"answered":                   {[]step{{one, 0, nil}}, never, never, never},
		"unanswered":                 {[]step{{one, 0, late}}, never, at(20), never},
		"reply to another":           {[]step{{one, 0, &frameError{}}}, never, at(20), never},
		"answered with other bits":   {[]step{{one, 0, damaged}}, never, never, never},
		"answered when asked again":  {[]step{{one, 0, late}, {one, 10, nil}}, never, at(30), never},
		"unanswered again":           {[]step{{one, 0, late}, {one, 10, late}}, never, at(30), never},
		"damaged when asked again":   {[]step{{one, 0, late}, {one, 10, damaged}}, never, at(20), never},
		"answered after all that":    {[]step{{one, 0, late}, {other, 20, nil}}, never, never, never},
		"another is unanswered then": {[]step{{one, 0, late}, {other, 20, late}}, at(40), never, never},
	} {
		replies := lateReplies{}
		for _, step := range check.steps {
			replies.note(step.request, at(step.sent), 10*time.Second, step.err)
		}
		for request, want := range map[*[]byte]time.Time{&one: check.one, &other: check.other, &elsewhere: check.otherThere} {
			if got := replies.quiet(*request); !got.Equal(want) {
				t.Errorf("%s: % x may leave at %v, want %v", name, *request, got, want)
			}
		}
	}
	var none lateReplies // of Modbus TCP
	none.note(one, start, time.Second, late)
	if got := none.quiet(other); !got.IsZero() {
		t.Errorf("on Modbus TCP a request waits until %v", got)
	}
}

// TestBytesAfterAnException: they may be read with it, and then it is not taken.
func TestBytesAfterAnException(t *testing.T) {
	request := []byte{0, 1, 0, 0, 0, 6, 1, 3, 0, 100, 0, 3}
	exception := []byte{0, 1, 0, 0, 0, 3, 1, 0x83, 2}
	var frame [maxFrame]byte
	packing := tcpFraming{modbus.NewTCPClientHandler("")}
	if size, err := packing.receive(bytes.NewReader(exception), request, frame[:]); size != 9 || err != nil {
		t.Errorf("%d bytes, %v", size, err)
	}
	_, err := packing.receive(bytes.NewReader(append(exception, 7, 7)), request, frame[:])
	if err == nil || err.Error() != "answered with 2 bytes after a reply of 9" {
		t.Errorf("%v", err)
	}
}

// FuzzReplyFrame: whatever a peer sends, a reply is accepted only when it is the
// reply to the request, and nothing after it is read.
func FuzzReplyFrame(f *testing.F) {
	f.Add(false, uint8(3), uint16(3), []byte{0, 1, 0, 0, 0, 9, 1, 3, 6, 1, 2, 3, 4, 5, 6})
	f.Add(false, uint8(1), uint16(9), []byte{0, 1, 0, 0, 0, 5, 1, 1, 2, 0xff, 1})
	f.Add(false, uint8(3), uint16(3), []byte{0, 1, 0, 0, 0, 3, 1, 0x83, 2})
	f.Add(false, uint8(6), uint16(3), []byte{0, 1, 0, 0, 0, 6, 1, 6, 0, 100, 0, 3, 9, 9})
	f.Add(false, uint8(4), uint16(125), []byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
	f.Add(false, uint8(22), uint16(3), []byte{0, 1, 0, 0, 0, 8, 1, 22, 0, 100, 0, 3, 0, 1})
	f.Add(true, uint8(22), uint16(3), sum(1, 22, 0, 100, 0, 3, 0, 1))
	f.Add(true, uint8(3), uint16(3), sum(1, 3, 6, 1, 2, 3, 4, 5, 6))
	f.Add(true, uint8(1), uint16(9), sum(1, 1, 2, 0xff, 1))
	f.Add(true, uint8(3), uint16(3), sum(1, 0x83, 2))
	f.Add(true, uint8(6), uint16(3), append(sum(1, 6, 0, 100, 0, 3), 9, 9))
	f.Add(true, uint8(4), uint16(125), sum(append([]byte{1, 4, 250}, make([]byte, 250)...)...))
	f.Fuzz(func(t *testing.T, serial bool, function uint8, quantity uint16, sent []byte) {
		if (function < 1 || function > 6) && function != 22 || quantity < 1 || quantity > 125 {
			return
		}
		var packing framing = tcpFraming{modbus.NewTCPClientHandler("")}
		if serial {
			packing = rtuFraming{modbus.NewRTUClientHandler("")}
		}
		packing.setUnit(1)
		data := binary.BigEndian.AppendUint16([]byte{0, 100}, quantity)
		if function == 22 {
			data = append(data, 0, 1)
		}
		request, err := packing.Encode(&modbus.ProtocolDataUnit{FunctionCode: function, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		var frame [maxFrame]byte
		from := bytes.NewReader(sent)
		size, err := packing.receive(from, request, frame[:])
		if err != nil {
			return
		}
		reply := frame[:size]
		if !bytes.HasPrefix(sent, reply) || from.Len() != len(sent)-size {
			t.Fatalf("% x was taken where % x was sent", reply, sent)
		}
		if err := packing.Verify(request, reply); err != nil {
			t.Fatalf("% x is no reply to % x: %v", reply, request, err)
		}
		pdu, err := packing.Decode(reply)
		if err != nil || pdu.FunctionCode&^exceptionFlag != function || len(pdu.Data) == 0 {
			t.Fatalf("% x is no reply to % x: %v", reply, request, err)
		}
		body := reply[:max(size-2, 0)]
		if serial && !bytes.Equal(sum(body...), reply) {
			t.Fatalf("% x has a wrong checksum", reply)
		}
	})
}
