package modbus

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// misdeed is what a peer does instead of answering. It returns false to end the
// connection.
type misdeed func(conn net.Conn, reply []byte) bool

// bytesOf sends something made of the reply and goes on.
func bytesOf(change func(reply []byte) []byte) misdeed {
	return func(conn net.Conn, reply []byte) bool { return send(conn, change(bytes.Clone(reply))) }
}

func reset(conn net.Conn) bool {
	_ = conn.(*net.TCPConn).SetLinger(0)
	return false
}

// misdeeds returns those of any framing, for a reply of that size.
func misdeeds(size int) map[string]misdeed {
	all := map[string]misdeed{
		"a byte now and then": func(conn net.Conn, reply []byte) bool {
			for _, b := range reply {
				if !send(conn, []byte{b}) {
					return false
				}
				time.Sleep(testTimeout / 3)
			}
			return true
		},
		"a flood": bytesOf(func([]byte) []byte { return make([]byte, 1<<20) }),
		"noise":   bytesOf(func([]byte) []byte { return []byte("SSH-2.0-OpenSSH_9.2\r\nHTTP/1.1 400 Bad Request\r\n\r\n") }),
	}
	for n := range size {
		all[fmt.Sprintf("%d bytes and silence", n)] = bytesOf(func(reply []byte) []byte { return reply[:n] })
	}
	return all
}

// cuts returns those of a connection that can be cut.
func cuts(size int) map[string]misdeed {
	all := map[string]misdeed{}
	for n := range size {
		all[fmt.Sprintf("%d bytes and the end", n)] = func(conn net.Conn, reply []byte) bool {
			send(conn, reply[:n])
			return false
		}
		all[fmt.Sprintf("%d bytes and a reset", n)] = func(conn net.Conn, reply []byte) bool {
			send(conn, reply[:n])
			return reset(conn)
		}
	}
	return all
}

// malformed is one case, against a driver of unit 2 and one of unit 1 that share
// a connection.
type malformed struct {
	protocol string
	deed     misdeed
	harmless bool // the value is taken all the same
}

func malformedTCP() map[string]malformed {
	all := map[string]malformed{}
	for name, deed := range misdeeds(11) {
		all[name] = malformed{protocol: config.ProtocolModbusTCP, deed: deed}
	}
	for name, deed := range cuts(11) {
		all[name] = malformed{protocol: config.ProtocolModbusTCP, deed: deed}
	}
	for _, length := range []int{0, 1, 2, 4, 6, 254, 255, 65535} {
		all[fmt.Sprintf("length %d", length)] = malformed{protocol: config.ProtocolModbusTCP, deed: bytesOf(func(reply []byte) []byte {
			binary.BigEndian.PutUint16(reply[4:], uint16(length))
			return append(reply, make([]byte, max(0, length-5))...)[:6+length]
		})}
	}
	for name, at := range map[string]int{"transaction": 1, "transaction, high byte": 0, "protocol": 3, "unit": 6, "function": 7, "byte count": 8} {
		all["wrong "+name] = malformed{protocol: config.ProtocolModbusTCP, deed: bytesOf(func(reply []byte) []byte {
			reply[at]++
			return reply
		})}
	}
	return all
}

func malformedRTU(protocol string) map[string]malformed {
	all := map[string]malformed{}
	for name, deed := range misdeeds(7) {
		all[name] = malformed{protocol: protocol, deed: deed}
	}
	if protocol == config.ProtocolModbusRTUOverTCP {
		for name, deed := range cuts(7) {
			all[name] = malformed{protocol: protocol, deed: deed}
		}
	}
	for _, count := range []int{0, 1, 3, 4, 254, 255} {
		all[fmt.Sprintf("byte count %d", count)] = malformed{protocol: protocol, deed: bytesOf(func(reply []byte) []byte {
			return sum(append([]byte{reply[0], reply[1], byte(count)}, make([]byte, count)...)...)
		})}
	}
	for name, at := range map[string]int{"unit": 0, "function": 1} {
		all["wrong "+name] = malformed{protocol: protocol, deed: bytesOf(func(reply []byte) []byte {
			reply[at]++
			return sum(reply[:5]...)
		})}
	}
	all["wrong checksum"] = malformed{protocol: protocol, deed: bytesOf(func(reply []byte) []byte {
		reply[6]++
		return reply
	})}
	return all
}

func trailing(all map[string]malformed, protocol string) map[string]malformed {
	for _, extra := range []int{1, 300} {
		all[fmt.Sprintf("%d trailing bytes", extra)] = malformed{protocol, bytesOf(func(reply []byte) []byte {
			return append(reply, make([]byte, extra)...)
		}), true}
	}
	all["the reply twice"] = malformed{protocol, bytesOf(func(reply []byte) []byte { return append(reply, reply...) }), true}
	return all
}

// TestMalformedReplies: each costs the poll of its unit, and nothing else. The
// other unit behind the connection is polled meanwhile and afterwards, and the
// next poll finds the device.
func TestMalformedReplies(t *testing.T) {
	t.Parallel()
	for protocol, cases := range map[string]map[string]malformed{
		config.ProtocolModbusTCP:        trailing(malformedTCP(), config.ProtocolModbusTCP),
		config.ProtocolModbusRTUOverTCP: trailing(malformedRTU(config.ProtocolModbusRTUOverTCP), config.ProtocolModbusRTUOverTCP),
	} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			var running sync.WaitGroup // all at once, as most of the time is spent waiting
			for name, check := range cases {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				read, serve, arm := misbehaving(check)
				p := newPeerOn(t, listener, read, serve)
				running.Go(func() { commit(t, name, p.address(), check, arm) })
			}
			running.Wait()
		})
	}
}

// misbehaving returns what a peer does that has a unit which is always sound, and
// a unit 2 that does something once when it is told to.
func misbehaving(check malformed) (
	read func(io.Reader) ([]byte, error), serve func(*peer, net.Conn, []byte) bool, arm func(),
) {
	device := newBank()
	device.words[3] = map[uint16]uint16{1: 11, 2: 22}
	read = readFrame
	pack := func(reply []byte) []byte { return reply }
	if config.IsLine(check.protocol) {
		read, pack = readLine, onLine
	}
	var mu sync.Mutex
	armed := false
	serve = func(_ *peer, conn net.Conn, request []byte) bool {
		mu.Lock()
		reply := pack(device.reply(request))
		strikes := armed && request[6] == 2
		if strikes {
			armed = false
		}
		mu.Unlock()
		if strikes {
			return check.deed(conn, reply)
		}
		return send(conn, reply)
	}
	return read, serve, func() {
		mu.Lock()
		defer mu.Unlock()
		armed = true
	}
}

// commit runs one case.
func commit(t *testing.T, name, address string, check malformed, arm func()) {
	links := newLinks(t, ems.SystemClock{})
	driverOf := func(id ems.ChannelID, unit uint8) *Driver {
		channel := shared(id, address, unit)
		channel.Protocol, channel.Points = check.protocol, channel.Points[:1]
		channel.Serial = config.Serial{BaudRate: 115200, Parity: config.ParityEven, StopBits: 1}
		return openOn(t, links, channel)
	}
	sound, other := driverOf(1, 1), driverOf(2, 2)
	read := func(driver *Driver, want float64) {
		readings, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
		if err != nil || len(readings) != 1 || readings[0].Quality != ems.Good || readings[0].Raw != want {
			t.Errorf("%s: %+v, %v; want %v", name, readings, err, want)
		}
	}
	read(sound, 11)
	read(other, 22)
	arm()
	var polling sync.WaitGroup
	polling.Go(func() {
		for range 3 {
			read(sound, 11)
		}
	})
	if check.harmless {
		read(other, 22)
	} else {
		other.channel.Timeout = testTimeout
		if readings, err := other.ReadBatch(context.Background(), ems.DefaultGroup); err == nil {
			t.Errorf("%s: taken as %+v", name, readings)
		}
		other.channel.Timeout = time.Minute
	}
	polling.Wait()
	read(sound, 11)
	other.held().health.wake(2) // it is left alone for about a timeout
	read(other, 22)
	read(sound, 11)
}

// TestMemoryOfAFrame: whatever a peer announces and sends, one exchange takes
// less than 64 KiB.
func TestMemoryOfAFrame(t *testing.T) {
	flood := make([]byte, 1<<20)
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		return send(conn, []byte{request[0], request[1], 0, 0, 0xff, 0xff, 1, 3}) && send(conn, flood)
	})
	driver := open(t, p.address(), time.Minute, oneRegister())
	const exchanges = 50
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range exchanges {
		if _, err := driver.ReadBatch(context.Background(), ems.DefaultGroup); err == nil {
			t.Fatal("the flood was taken for a reply")
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / exchanges; each > 64<<10 {
		t.Errorf("one exchange allocates %d bytes", each)
	}
	if diff := cmp.Diff(exchanges, p.connected()); diff != "" {
		t.Error(diff)
	}
}
