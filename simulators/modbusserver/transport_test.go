package modbusserver

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/goburrow/modbus"
	"github.com/goburrow/serial"

	"github.com/voltageems/voltageems-go/system/ems"
)

// transports returns every way to a server.
func transports() map[string]func(t testing.TB) (*testServer, peer) {
	opened := func(t testing.TB, s *testServer) (*testServer, peer) {
		t.Helper()
		connection, err := s.connect()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = connection.Close() })
		return s, peer{connection, s.options.Framing}
	}
	return map[string]func(t testing.TB) (*testServer, peer){
		"TCP":          func(t testing.TB) (*testServer, peer) { return opened(t, startServer(t, 0)) },
		"RTU over TCP": func(t testing.TB) (*testServer, peer) { return opened(t, startOn(t, listen(t), Options{Framing: RTU})) },
		"serial line": func(t testing.TB) (*testServer, peer) {
			line := newLine(t, "")
			s := startOn(t, line, Options{Framing: RTU})
			s.connect = func() (stream, error) { return openPort(line.Path()) }
			return opened(t, s)
		},
		"TLS": func(t testing.TB) (*testServer, peer) {
			authority := newAuthority(t)
			s := startOn(t, Secure(listen(t), authority.sign(t, "server"), authority.pool), Options{})
			plain, certificate := s.connect, authority.sign(t, "client")
			s.connect = func() (stream, error) {
				connection, err := plain()
				if err != nil {
					return nil, err
				}
				return authority.client(connection.(net.Conn), certificate), nil
			}
			return opened(t, s)
		},
	}
}

func newLine(t testing.TB, link string) *Line {
	t.Helper()
	line, err := OpenLine(link)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() }) // its server may have closed it
	return line
}

// openPort opens a line as a client does that knows no terminals.
func openPort(path string) (*os.File, error) {
	port, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	return port, port.SetDeadline(time.Now().Add(patient))
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	made := a.sign(t, "authority")
	a.certificate, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.certificate)
	return a
}

// sign makes a certificate; the first one is that of the authority itself.
func (a *authority) sign(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.certificate, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = template, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key, Leaf: leaf}
}

func (a *authority) dial(t testing.TB, s *testServer, certificates ...tls.Certificate) *tls.Conn {
	t.Helper()
	connection := a.client(dial(t, s), certificates...)
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

func (a *authority) client(connection net.Conn, certificates ...tls.Certificate) *tls.Conn {
	return tls.Client(connection, &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", Certificates: certificates})
}

// TestClientsWithoutCertificate are sent away where one is wanted, and served where
// none is.
func TestClientsWithoutCertificate(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	strict := startOn(t, Secure(listen(t), ours.sign(t, "server"), ours.pool), Options{})
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "another's": {theirs.sign(t, "client")}} {
		connection := ours.dial(t, strict, certificates...)
		_, _ = connection.Write(frameOf(1, 1, bytesOf(t, "03 0000 0001"))) // the refusal may come before
		if _, err := connection.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	plain := dial(t, strict)
	send(t, plain, frameOf(1, 1, bytesOf(t, "03 0000 0001")))
	if !closedByServer(t, plain) {
		t.Error("a client without TLS is served")
	}
	await(t, "three refusals", func() bool { return strict.counters.refused.Load() == 3 })
	peer{ours.dial(t, strict, ours.sign(t, "client")), TCP}.ask(t, 1, "03 0000 0001", "03 02 1000")

	open := startOn(t, Secure(listen(t), ours.sign(t, "server"), nil), Options{})
	peer{ours.dial(t, open), TCP}.ask(t, 1, "03 0000 0001", "03 02 1000")
	if err := ours.dialVersion(t, open, tls.VersionTLS11); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
}

func (a *authority) dialVersion(t testing.TB, s *testServer, version uint16) error {
	t.Helper()
	connection := tls.Client(dial(t, s), &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1", MaxVersion: version, MinVersion: version})
	return connection.Handshake()
}

// TestBroadcast: all units carry out what unit 0 is told, and none answers; the
// next answer is that of the next request.
func TestBroadcast(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"RTU over TCP", "serial line"} {
		s, p := transports()[name](t)
		for _, pdu := range []string{"06 0000 1234", "10 0001 0001 02 5678", "16 0000 FF00 0099", "03 0000 0001", "05 0000 FF00", "2B 0E 01 00", "08 0000 0000", "63"} {
			p.send(t, 0, 0, bytesOf(t, pdu))
		}
		await(t, "the silence behind a function that nobody knows", func() bool { return s.counters.requests[0].Load() == 1 })
		for _, unit := range []byte{1, 2} {
			p.ask(t, unit, "03 0000 0002", "03 04 1299 5678")
		}
		p.ask(t, 1, "01 0000 0001", "01 01 01") // unit 2 has no coils
		if got := len(s.writes.seen()); got != 7 {
			t.Errorf("%s: %d writes", name, got)
		}
		await(t, "what was asked to be counted", func() bool { return s.counters.served.Load() >= 12 })
		if served, refused := s.counters.served.Load(), s.counters.exceptions[2].Load(); served != 12 || refused != 1 {
			t.Errorf("%s: %d served, %d refused", name, served, refused)
		}
	}
}

// TestUnitsOnALine: nobody answers for a unit that there is not.
func TestUnitsOnALine(t *testing.T) {
	t.Parallel()
	s, p := transports()["RTU over TCP"](t)
	for _, unit := range []byte{3, 247, 255} {
		p.send(t, 0, unit, bytesOf(t, "03 0000 0001"))
	}
	p.ask(t, 2, "03 0000 0001", "03 02 0000")
	if got := s.counters.requests[3].Load(); got != 4 {
		t.Errorf("%d requests heard", got)
	}
}

// TestBrokenFramesOnALine are met with silence and counted, and the next frame is
// found.
func TestBrokenFramesOnALine(t *testing.T) {
	t.Parallel()
	s, p := transports()["RTU over TCP"](t)
	good := p.frame(0, 1, bytesOf(t, "03 0000 0001"))
	flipped := bytes.Clone(good)
	flipped[3] ^= 0x10
	for i, broken := range [][]byte{
		flipped, good[:5], {1}, append(bytes.Clone(flipped), good...), append([]byte{0}, good...),
		bytes.Repeat([]byte{0x55}, 5000), bytes.Repeat([]byte{1, 0x10, 0, 0, 0, 1, 0xFF}, 300), []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		send(t, p, broken)
		await(t, "a broken frame that counts", func() bool { return s.counters.malformed.Load() == uint64(i+1) })
		p.ask(t, 1, "03 0000 0001", "03 02 1000")
	}
}

// TestFramesOfALineSplitAndJoined are found however TCP delivers them.
func TestFramesOfALineSplitAndJoined(t *testing.T) {
	t.Parallel()
	s, p := transports()["RTU over TCP"](t)
	pdus := []string{"03 0000 0001", "10 0002 0002 04 1234 5678", "17 0002 0001 0003 0001 02 4444", "16 0004 00F2 0025", "08 0000 1111", "11", "2B 0E 04 02", "0F 0064 000B 02 CD FD"}
	want := []string{"03 02 1000", "10 0002 0002", "17 02 1234", "16 0004 00F2 0025", "08 0000 1111", "11 12 01 FF 566F6C74616765 20 53494D31 20 312E32", "2B 0E 04 82 00 00 01 02 03 312E32", "0F 0064 000B"}
	var all []byte
	for range 10 {
		for _, pdu := range pdus {
			all = append(all, p.frame(0, 1, bytesOf(t, pdu))...)
		}
	}
	check := func() {
		t.Helper()
		for i := range 10 * len(pdus) {
			if got := p.receive(t, 0, 1); !bytes.Equal(got, bytesOf(t, want[i%len(want)])) {
				t.Fatalf("answer %d: % X, want %s", i, got, want[i%len(want)])
			}
		}
	}
	send(t, p, all)
	check()
	for i := range all {
		send(t, p, all[i:i+1])
	}
	check()
	if got := s.counters.malformed.Load(); got != 0 {
		t.Errorf("%d malformed frames", got)
	}
}

// deadlineNoter notes the last deadline of a connection.
type deadlineNoter struct {
	net.Conn
	at time.Time
}

func (n *deadlineNoter) SetReadDeadline(at time.Time) error {
	n.at = at
	return nil
}

// TestPatience: a frame that is known to have more may stand still for longer than
// the silence that ends others.
func TestPatience(t *testing.T) {
	t.Parallel()
	noter := &deadlineNoter{}
	frames := newRTUFrames(noter, time.Millisecond, 0)
	if err := frames.arm(false); err != nil || !noter.at.IsZero() {
		t.Errorf("nothing has come, and it is to come before %v, %v", noter.at, err)
	}
	frames.to = 3
	before := time.Now()
	if err := frames.arm(true); err != nil || noter.at.Sub(before) < patience {
		t.Errorf("half a frame is given %v, %v", noter.at.Sub(before), err)
	}
	if err := frames.arm(false); err != nil || time.Until(noter.at) > time.Millisecond {
		t.Errorf("a frame of unknown length is given %v, %v", time.Until(noter.at), err)
	}
}

// TestCRC: the frame that the specification shows, and the fast sum against the slow
// one.
func TestCRC(t *testing.T) {
	t.Parallel()
	if got := crc([]byte{0x02, 0x07}); got != 0x1241 {
		t.Errorf("%#x", got)
	}
	data := make([]byte, 300)
	for i := range data {
		data[i] = byte(i*7 + i>>3)
		if got, want := crc(data[:i]), slowCRC(data[:i]); got != want {
			t.Fatalf("%d bytes: %#x, want %#x", i, got, want)
		}
	}
	if s := SilenceOf(9600); s < 4010*time.Microsecond || s > 4011*time.Microsecond {
		t.Errorf("9600 Bd: %v", s)
	}
	if s := SilenceOf(115200); s != 1750*time.Microsecond {
		t.Errorf("115200 Bd: %v", s)
	}
}

// TestSerialClient lets goburrow speak on a line that has a name, twice: a line
// outlives its clients.
func TestSerialClient(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "ttyMeter")
	if err := os.Symlink("/dev/pts/4096", link); err != nil { // as a run that was killed leaves it behind
		t.Fatal(err)
	}
	line := newLine(t, link)
	s := startOn(t, line, Options{Framing: RTU})
	if s.Addr().String() != link || s.Addr().Network() != "serial" {
		t.Errorf("address %v", s.Addr())
	}
	for range 2 {
		handler := modbus.NewRTUClientHandler(link)
		handler.Config = serial.Config{Address: link, BaudRate: 19200, DataBits: 8, Parity: "E", StopBits: 1, Timeout: 10 * time.Second}
		handler.SlaveId = 1
		client := modbus.NewClient(handler)
		if data, err := client.ReadHoldingRegisters(65535, 1); err != nil || !bytes.Equal(data, []byte{0xBE, 0xEF}) {
			t.Errorf("% X, %v", data, err)
		}
		if _, err := client.WriteMultipleRegisters(60, 2, []byte{1, 2, 3, 4}); err != nil {
			t.Error(err)
		}
		if data, err := client.MaskWriteRegister(60, 0xFF00, 0x0055); err != nil {
			t.Errorf("% X, %v", data, err)
		}
		if data, err := client.ReadWriteMultipleRegisters(60, 2, 61, 1, []byte{9, 8}); err != nil || !bytes.Equal(data, []byte{1, 0x55, 9, 8}) {
			t.Errorf("% X, %v", data, err)
		}
		if err := handler.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(link); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the link is left: %v", err)
	}
	if _, err := line.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a line that is closed: %v", err)
	}
}

func TestLinesThatCannotBe(t *testing.T) {
	t.Parallel()
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenLine(taken); ems.CodeOf(err) != ems.CodeUnavailable {
		t.Errorf("a file where the link is to be: %v", err)
	}
	if data, err := os.ReadFile(taken); err != nil || string(data) != "mine" {
		t.Errorf("the file holds %q, %v", data, err)
	}
	for name, options := range map[string]Options{
		"a line with frames of TCP": {},
		"any unit of several":       {AnyUnit: true},
		"any unit on a line":        {AnyUnit: true, Framing: RTU},
	} {
		listener, units := net.Listener(newLine(t, "")), map[byte]*Unit{1: NewUnit(nil, nil)}
		if name == "any unit of several" {
			listener, units[2] = listen(t), NewUnit(nil, nil)
			t.Cleanup(func() { _ = listener.Close() })
		}
		options.Clock = ems.SystemClock{}
		if _, err := Serve(listener, units, options); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAnyUnit: a device that is alone does not look at the unit id, if it is told so.
func TestAnyUnit(t *testing.T) {
	t.Parallel()
	unit := NewUnit([]Range{{HoldingRegisters, 0, 1}}, nil)
	s := serveUnits(t, map[byte]*Unit{5: unit}, Options{AnyUnit: true})
	for _, id := range []byte{0, 1, 5, 255} {
		peer{dial(t, s), TCP}.ask(t, id, "03 0000 0001", "03 02 0000")
	}
}
