package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/system/ems"
)

// identity is a certificate that signs itself, which both sides show and trust, and
// the files that have it.
type identity struct {
	certificate   tls.Certificate
	pool          *x509.CertPool
	file, keyFile string
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "meter"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	one := identity{pool: x509.NewCertPool(), file: filepath.Join(dir, "meter.pem"), keyFile: filepath.Join(dir, "meter.key")}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	keyed := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	for file, data := range map[string][]byte{one.file: certificate, one.keyFile: keyed} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if one.certificate, err = tls.X509KeyPair(certificate, keyed); err != nil || !one.pool.AppendCertsFromPEM(certificate) {
		t.Fatal(err)
	}
	return one
}

// serveMeter serves a unit 7 whose registers hold their addresses.
func serveMeter(t *testing.T, listener net.Listener, framing modbusserver.Framing) (host, port string) {
	t.Helper()
	unit := modbusserver.NewUnit([]modbusserver.Range{
		{Table: modbusserver.Coils, Count: 20}, {Table: modbusserver.DiscreteInputs, Count: 20},
		{Table: modbusserver.HoldingRegisters, Count: 200}, {Table: modbusserver.InputRegisters, Address: 300, Count: 200},
	}, nil)
	unit.SetIdentity(modbusserver.Identity{Vendor: "Voltage", ProductCode: "M7", Revision: "1.0"})
	unit.Update(func(image *modbusserver.Image) {
		for i := range uint16(200) {
			image.Set(modbusserver.HoldingRegisters, i, i)
			image.Set(modbusserver.InputRegisters, 300+i, 300+i)
			image.Set(modbusserver.DiscreteInputs, i, i%3/2)
		}
	})
	server, err := modbusserver.Serve(listener, map[byte]*modbusserver.Unit{7: unit}, modbusserver.Options{
		Name: "meter", Framing: framing, Clock: ems.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	host, port, _ = net.SplitHostPort(listener.Addr().String()) // a line has neither
	return host, port
}

func listenHere(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func servedLine(t *testing.T) string {
	t.Helper()
	line, err := modbusserver.OpenLine("")
	if err != nil {
		t.Fatal(err)
	}
	serveMeter(t, line, modbusserver.RTU)
	return line.Path()
}

// Clients that nobody here wrote read and write over every transport that they have.
func TestForeignClientsOverEveryTransport(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(t *testing.T) foreign{
		"mbpoll on a serial line":   func(t *testing.T) foreign { return mbpollRTU(t, servedLine(t), 7) },
		"pymodbus on a serial line": func(t *testing.T) foreign { return startPymodbus(t, 7, "rtu", servedLine(t)) },
		"pymodbus, RTU over TCP": func(t *testing.T) foreign {
			host, port := serveMeter(t, listenHere(t), modbusserver.RTU)
			return startPymodbus(t, 7, "rtu_over_tcp", host, port)
		},
		"pymodbus, TLS": func(t *testing.T) foreign {
			one := newIdentity(t)
			host, port := serveMeter(t, modbusserver.Secure(listenHere(t), one.certificate, one.pool), modbusserver.TCP)
			return startPymodbus(t, 7, "tls", host, port, one.file, one.file, one.keyFile)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := connect(t)
			expect := func(table string, address uint16, want ...uint16) {
				t.Helper()
				got, err := client.values(table, address, uint16(len(want)))
				if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%s %d: %v, %v, want %v", table, address, got, err, want)
				}
			}
			most := make([]uint16, 125)
			for i := range most {
				most[i] = uint16(310 + i)
			}
			expect("input", 310, most...)
			expect("holding", 3, 3, 4, 5)
			expect("discrete", 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0)
			for _, err := range []error{client.write("holding", 4, 1000, 2000), client.write("holding", 9, 65535), client.write("coil", 2, 1, 0, 1), client.write("coil", 9, 1)} {
				if err != nil {
					t.Error(err)
				}
			}
			expect("holding", 3, 3, 1000, 2000, 6)
			expect("holding", 9, 65535)
			expect("coil", 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 1)
			if _, err := client.values("holding", 200, 1); err == nil || !strings.Contains(err.Error(), "exception 2") && !strings.Contains(err.Error(), "Illegal data address") {
				t.Errorf("an address that there is not: %v", err)
			}
		})
	}
}

// mbpoll asks a unit on a line who it is, with function 17.
func TestAForeignClientAsksWhoAUnitIs(t *testing.T) {
	t.Parallel()
	text, err := mbpollRTU(t, servedLine(t), 7).run("4", 0, "-u")
	for _, want := range []string{"Id    : 0x07", "Status: On", "Voltage M7 1.0"} {
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("no %q in %q, %v", want, text, err)
		}
	}
}
