package modbus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// authority signs certificates for a test and keeps them as files.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", nil)
	return a
}

func (a *authority) path(name string) string { return filepath.Join(a.dir, name+".pem") }

// issue writes NAME.pem and NAME_key.pem.
func (a *authority) issue(name string, names []string) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	made := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: a.cert == nil, BasicConstraintsValid: true,
	}
	signer, signerKey := a.cert, a.key
	if signer == nil {
		signer, signerKey = made, key
	}
	der, err := x509.CreateCertificate(rand.Reader, made, signer, &key.PublicKey, signerKey)
	if err != nil {
		a.t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		a.path(name):          {Type: "CERTIFICATE", Bytes: der},
		a.path(name + "_key"): {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	read, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return read, key
}

// newSecurePeer returns a peer that shows a certificate of "device" and wants one
// of the same authority.
func newSecurePeer(t *testing.T, a *authority, serve func(*peer, net.Conn, []byte) bool) *peer {
	t.Helper()
	a.issue("device", []string{"device"})
	a.issue("comsrv", nil)
	pair, err := tls.LoadX509KeyPair(a.path("device"), a.path("device_key"))
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
	})
	if err != nil {
		t.Fatal(err)
	}
	return newPeerOn(t, listener, readFrame, serve)
}

func secureChannel(p *peer, a *authority) config.Channel {
	channel := shared(1, p.address(), 1)
	channel.Protocol = config.ProtocolModbusTLS
	channel.Modbus.TLS = config.TLS{CA: a.path("ca"), Certificate: a.path("comsrv"), Key: a.path("comsrv_key"), ServerName: "device"}
	return channel
}

// TestASessionTicketIsNotStray: many devices send some after the handshake, where
// the first request finds them.
func TestASessionTicketIsNotStray(t *testing.T) {
	t.Parallel()
	device, a := newBank(), newAuthority(t)
	p := newSecurePeer(t, a, device.serve)
	settings, err := secureChannel(p, a).Modbus.TLS.Client()
	if err != nil {
		t.Fatal(err)
	}
	settings.ClientSessionCache = tls.NewLRUClientSessionCache(1) // the peer of the test sends tickets to those who take some
	conn, err := tls.Dial("tcp", p.address(), settings)
	if err != nil {
		t.Fatal(err)
	}
	driver := openOn(t, newLinks(t, ems.SystemClock{}), secureChannel(p, a))
	port := tlsPort{conn, newSocket(conn.NetConn())}
	driver.held().port = port
	deadline := time.Now().Add(10 * time.Second)
	for !errors.Is(port.socket.peek(), errStray) {
		if time.Now().After(deadline) {
			t.Fatal("no ticket arrives")
		}
		time.Sleep(time.Millisecond)
	}
	wantGood(t, driver, map[ems.PointID]float64{1: 0, 2: 0})
	if p.connected() != 1 {
		t.Errorf("%d connections", p.connected())
	}
}

// TestTLS: both sides know each other, on one connection until the device ends it.
func TestTLS(t *testing.T) {
	t.Parallel()
	device, a := newBank(), newAuthority(t)
	device.words[3][1] = 11
	p := newSecurePeer(t, a, device.serve)
	driver := openOn(t, newLinks(t, ems.SystemClock{}), secureChannel(p, a))
	if err := driver.Connect(context.Background()); err != nil {
		t.Fatal(err)
	}
	for raw := range 5 {
		wantGood(t, driver, map[ems.PointID]float64{1: 11, 2: float64(max(0, raw-1))})
		written, err := driver.WritePoint(context.Background(), protocol.Write{Point: 1, Raw: float64(raw)})
		if err != nil || written.ReadBack == nil || *written.ReadBack != float64(raw) {
			t.Errorf("%+v, %v", written, err)
		}
	}
	if p.connected() != 1 || device.writes != 5 {
		t.Errorf("%d connections, %d writes", p.connected(), device.writes)
	}
	p.cut()
	deadline := time.Now().Add(10 * time.Second)
	for driver.link.port.idle() == nil {
		if time.Now().After(deadline) {
			t.Fatal("the end of the connection does not arrive")
		}
		time.Sleep(time.Millisecond)
	}
	if _, err := driver.WritePoint(context.Background(), protocol.Write{Point: 1, Raw: 9}); err != nil {
		t.Errorf("after the device had closed the connection: %v", err)
	}
	if p.connected() != 2 || device.writes != 6 {
		t.Errorf("%d connections, %d writes", p.connected(), device.writes)
	}
}

func TestStrayBytesOnTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	stray := answer([]byte{0, 2, 0, 0, 0, 0, 1}, 3, 2, 0xde, 0xad)
	p := newSecurePeer(t, a, func(_ *peer, conn net.Conn, request []byte) bool {
		return send(conn, append(answer(request, 3, 2, 0, request[1]), stray...))
	})
	channel := secureChannel(p, a)
	channel.Points = []config.MappedPoint{oneRegister()}
	driver := openOn(t, newLinks(t, ems.SystemClock{}), channel)
	for transaction := 1; transaction <= 3; transaction++ {
		if raw, err := readOne(t, driver); err != nil || raw != float64(transaction) {
			t.Fatalf("poll %d read %v, %v", transaction, raw, err)
		}
	}
	if p.connected() != 3 {
		t.Errorf("%d connections for 3 polls", p.connected())
	}
}

func TestTLSRefusesStrangers(t *testing.T) {
	t.Parallel()
	a, other := newAuthority(t), newAuthority(t)
	p := newSecurePeer(t, a, newBank().serve)
	for name, check := range map[string]struct {
		change func(tls *config.TLS)
		want   string
	}{
		"another device":        {func(tls *config.TLS) { tls.ServerName = "meter" }, "certificate is valid for device, not meter"},
		"another authority":     {func(tls *config.TLS) { tls.CA = other.path("ca") }, "certificate signed by unknown authority"},
		"no certificate of us":  {func(tls *config.TLS) { tls.Certificate, tls.Key = "", "" }, "tls: certificate required"},
		"a certificate gone":    {func(tls *config.TLS) { tls.Certificate = a.path("gone") }, "no such file or directory"},
		"an authority's key":    {func(tls *config.TLS) { tls.CA = a.path("ca_key") }, "holds no certificate in PEM"},
		"the host as its name":  {func(tls *config.TLS) { tls.ServerName = "" }, "cannot validate certificate for 127.0.0.1"},
		"the key of another":    {func(tls *config.TLS) { tls.Key = a.path("device_key") }, "private key does not match public key"},
		"authorities of system": {func(tls *config.TLS) { tls.CA = "" }, "certificate signed by unknown authority"},
	} {
		channel := secureChannel(p, a)
		change := check.change
		change(&channel.Modbus.TLS)
		driver := openOn(t, newLinks(t, ems.SystemClock{}), channel)
		_, err := driver.ReadBatch(context.Background(), ems.DefaultGroup)
		var broken *brokenError
		if !errors.As(err, &broken) || !strings.Contains(err.Error(), check.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if seen := p.seen(); len(seen) > 0 {
		t.Errorf("strangers were listened to: %v", seen)
	}
}

// TestHandshakeHasADeadline: a peer that accepts and says nothing ends it.
func TestHandshakeHasADeadline(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("comsrv", nil)
	p := newPeer(t, newBank().serve) // waits for a request of Modbus TCP, and a handshake has a longer first frame
	channel := secureChannel(p, a)
	channel.Timeout = testTimeout
	driver := openOn(t, newLinks(t, ems.SystemClock{}), channel)
	var broken *brokenError
	if err := driver.Connect(context.Background()); !errors.As(err, &broken) || !broken.dialling || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
}
