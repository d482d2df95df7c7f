package testbed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goburrow/modbus"
	overTCP "github.com/grid-x/modbus"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// certify writes a certificate and its key, which signs itself, to a plant's folder.
func certify(t *testing.T, folder string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "plant"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"plant.pem": {Type: "CERTIFICATE", Bytes: der}, "plant.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

// A plant's devices speak as plant.yaml says: on a serial line, RTU over TCP, and TLS.
func TestDevicesSpeakAsThePlantSays(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("serial lines need pseudo-terminals as Linux has them")
	}
	folder := copySite(t)
	pool := certify(t, folder)
	line := filepath.Join(t.TempDir(), "genset")
	file := filepath.Join(folder, "plant.yaml")
	replace(t, file, "listen: 127.0.0.1:5021", "listen: 127.0.0.1:5021\n    transport: tls\n    certificate: plant.pem\n    key: plant.key")
	replace(t, file, "listen: 127.0.0.1:5022", "listen: 127.0.0.1:5022\n    transport: rtu_over_tcp")
	replace(t, file, "listen: 127.0.0.1:5023", "listen: x\n    transport: rtu")
	bed, err := Start(Options{
		Folder: folder, Addresses: plant.Addresses{Free: true, Listen: map[string]string{"genset": line}}, Mode: &plant.Mode{Speed: 1, Frozen: true},
		Clock: ems.SystemClock{}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	}()
	if bed.Address("genset") != line {
		t.Errorf("the line is %s", bed.Address("genset"))
	}
	serial := modbus.NewRTUClientHandler(line)
	serial.BaudRate, serial.Parity, serial.StopBits, serial.SlaveId, serial.Timeout = 19200, "N", 1, 3, 20*time.Second
	defer func() { _ = serial.Close() }()
	if data, err := modbus.NewClient(serial).ReadHoldingRegisters(1004, 1); err != nil || !bytes.Equal(data, []byte{0x40, 0x1F}) {
		t.Errorf("fuel % X, %v", data, err)
	}
	rtu := overTCP.NewRTUOverTCPClientHandler(bed.Address("battery"))
	rtu.SlaveID, rtu.Timeout = 1, 20*time.Second
	defer func() { _ = rtu.Close() }()
	if data, err := overTCP.NewClient(rtu).ReadCoils(0, 1); err != nil || !bytes.Equal(data, []byte{1}) {
		t.Errorf("run % X, %v", data, err)
	}
	secured, err := tls.Dial("tcp", bed.Address("pv"), &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = secured.Close() }()
	if _, err := secured.Write([]byte{0, 1, 0, 0, 0, 6, 1, 1, 0, 0, 0, 1}); err != nil {
		t.Fatal(err)
	}
	reply := make([]byte, 10)
	if _, err := io.ReadFull(secured, reply); err != nil || !bytes.Equal(reply, []byte{0, 1, 0, 0, 0, 4, 1, 1, 1, 1}) {
		t.Errorf("enabled % X, %v", reply, err)
	}
}

// What is wrong with how devices are spoken with is told before anything starts.
func TestTransportsAreChecked(t *testing.T) {
	t.Parallel()
	for change, want := range map[string]string{
		"transport: smoke": `key "devices[0].transport": "smoke" is unknown: use one of tcp, tls, rtu, rtu_over_tcp`,
		"transport: tls":   `key "devices[0].certificate" is missing`,
		"transport: tls\n    certificate: ../x\n    key: k":  `key "devices[0].certificate": "../x" leads out of the plant's folder`,
		"transport: tls\n    certificate: c.pem\n    key: k": `its certificate cannot be read: `,
		"transport: tcp\n    certificate: c.pem":             `key "devices[0].certificate" is unknown`,
	} {
		folder := copySite(t)
		replace(t, filepath.Join(folder, "plant.yaml"), "listen: 127.0.0.1:5021", "listen: 127.0.0.1:5021\n    "+change)
		if err := tryStart(folder, plant.Addresses{Free: true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", change, err, want)
		}
	}
	folder := copySite(t)
	replace(t, filepath.Join(folder, "plant.yaml"), "listen: 127.0.0.1:5022", "listen: 127.0.0.1:5023\n    transport: rtu_over_tcp")
	if err := tryStart(folder, plant.Addresses{}); err == nil || !strings.Contains(err.Error(), "127.0.0.1:5023 is that of device battery by another transport") {
		t.Error(err)
	}
}
