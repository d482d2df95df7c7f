package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// siteOf returns a folder with these channels, none of which has points, and with
// files for TLS.
func siteOf(t *testing.T, channels string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"site.yaml": "site: {name: north}\n", "channels.yaml": "channels:\n" + channels} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ours", "theirs"} {
		writePair(t, filepath.Join(dir, "tls", name))
	}
	return dir
}

// writePair writes a certificate and its key.
func writePair(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, made, made, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		path + ".pem": {Type: "CERTIFICATE", Bytes: der}, path + ".key": {Type: "EC PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTransportsAreRead(t *testing.T) {
	t.Parallel()
	dir := siteOf(t, `
  - {id: 1, name: a, protocol: modbus_tcp, address: "plc:502", modbus: {retries: 1, spacing: 20ms}}
  - {id: 2, name: b, protocol: modbus_tcp, address: "plc:502", modbus: {retries: 3, spacing: 20ms, max_registers: 60}, poll_period: 2s, timeout: 500ms}
  - {id: 3, name: c, protocol: modbus_tcp, address: "plc:502", modbus: {own_connection: true}}
  - {id: 4, name: d, protocol: modbus_rtu, address: /dev/ttyUSB0}
  - {id: 5, name: e, protocol: modbus_rtu, address: /dev/ttyUSB1, serial: {baud_rate: 9600, parity: none, stop_bits: 2}}
  - {id: 6, name: f, protocol: modbus_rtu_over_tcp, address: "gateway:4001", enabled: false}
  - {id: 7, name: g, protocol: modbus_tcp, address: "gateway:4001"}
  - id: 8
    name: h
    protocol: modbus_tls
    address: plc:802
    modbus: {tls: {ca: tls/theirs.pem, certificate: tls/ours.pem, key: tls/ours.key, server_name: plc-8}}
  - {id: 9, name: i, protocol: modbus_tls, address: "meter:802"}
`)
	site, err := config.ReadSite(dir, nil, protocols())
	if err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, "tls", name) }
	channel := func(id ems.ChannelID, name, protocol, address string, change func(*config.Channel)) config.Channel {
		made := config.Channel{
			ID: id, Name: name, Protocol: protocol, Address: address, PollPeriod: time.Second, Timeout: time.Second, Enabled: true,
			Modbus: config.Modbus{Reads: config.Reads{}.OrDefault()},
		}
		change(&made)
		return made
	}
	want := []config.Channel{
		channel(1, "a", "modbus_tcp", "plc:502", func(c *config.Channel) {
			c.Timeout = 500 * time.Millisecond // two tries fit into the period
			c.Modbus.Retries, c.Modbus.Spacing = 1, 20*time.Millisecond
		}),
		channel(2, "b", "modbus_tcp", "plc:502", func(c *config.Channel) {
			c.PollPeriod, c.Timeout = 2*time.Second, 500*time.Millisecond
			c.Modbus.Retries, c.Modbus.Spacing, c.Modbus.Reads.MaxRegisters = 3, 20*time.Millisecond, 60
		}),
		channel(3, "c", "modbus_tcp", "plc:502", func(c *config.Channel) { c.Modbus.OwnConnection = true }),
		channel(4, "d", "modbus_rtu", "/dev/ttyUSB0", func(c *config.Channel) {
			c.Serial = config.Serial{BaudRate: 19200, Parity: config.ParityEven, StopBits: 1}
		}),
		channel(5, "e", "modbus_rtu", "/dev/ttyUSB1", func(c *config.Channel) {
			c.Serial = config.Serial{BaudRate: 9600, Parity: config.ParityNone, StopBits: 2}
		}),
		channel(6, "f", "modbus_rtu_over_tcp", "gateway:4001", func(c *config.Channel) { c.Enabled = false }),
		channel(7, "g", "modbus_tcp", "gateway:4001", func(*config.Channel) {}),
		channel(8, "h", "modbus_tls", "plc:802", func(c *config.Channel) {
			c.Modbus.TLS = config.TLS{CA: path("theirs.pem"), Certificate: path("ours.pem"), Key: path("ours.key"), ServerName: "plc-8"}
		}),
		channel(9, "i", "modbus_tls", "meter:802", func(c *config.Channel) { c.Modbus.TLS.ServerName = "meter" }),
	}
	if diff := cmp.Diff(want, site.Channels); diff != "" {
		t.Error(diff)
	}
	made, err := site.Channels[7].Modbus.TLS.Client()
	if err != nil || made.ServerName != "plc-8" || len(made.Certificates) != 1 || made.RootCAs == nil {
		t.Errorf("%+v, %v", made, err)
	}
}

func TestEveryFaultOfATransportIsTold(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]struct {
		channel string
		want    []string
	}{
		"retries": {`protocol: modbus_tcp, address: "plc:502", modbus: {retries: 11}`, []string{
			"channels.yaml:2: channels[0].modbus.retries: 11 is not between 0 and 10",
		}},
		"retries beyond the period": {`protocol: modbus_tcp, address: "plc:502", timeout: 600ms, modbus: {retries: 1}`, []string{
			"channels.yaml:2: channels[0].modbus.retries: a read with 1 more after the first may take 1.2s, which is longer than the shortest poll period of 1s: " +
				"give fewer retries or a timeout of at most 500ms",
		}},
		"spacing": {`protocol: modbus_tcp, address: "plc:502", modbus: {spacing: 11s}`, []string{
			"channels.yaml:2: channels[0].modbus.spacing: 11s is not between 0s and 10s",
		}},
		"unknown key": {`protocol: modbus_tcp, address: "plc:502", modbus: {retry: 1}`, []string{
			`channels.yaml:2: unknown key "retry": check its spelling and indentation`,
		}},
		"Modbus of another protocol": {`protocol: grpc, address: "a:1", modbus: {retries: 1}, serial: {parity: odd}`, []string{
			"channels.yaml:2: channels[0].modbus: the protocol of this channel is grpc: these settings are for protocol modbus_tcp, modbus_tls, modbus_rtu, modbus_rtu_over_tcp",
			"channels.yaml:2: channels[0].serial: the protocol of this channel is grpc: these settings are for protocol modbus_rtu",
		}},
		"serial of TCP": {`protocol: modbus_tcp, address: "plc:502", serial: {parity: odd}`, []string{
			"channels.yaml:2: channels[0].serial: the protocol of this channel is modbus_tcp: these settings are for protocol modbus_rtu",
		}},
		"serial port": {`protocol: modbus_rtu, address: "plc:502"`, []string{
			`channels.yaml:2: channels[0].address: "plc:502" is not a serial port, for example /dev/ttyUSB0`,
		}},
		"serial port elsewhere": {`protocol: modbus_rtu, address: /dev/../etc/passwd`, []string{
			`channels.yaml:2: channels[0].address: "/dev/../etc/passwd" is not a serial port, for example /dev/ttyUSB0`,
		}},
		"serial settings": {`protocol: modbus_rtu, address: /dev/ttyS0, serial: {baud_rate: 9601, parity: mark, stop_bits: 3}, modbus: {own_connection: true}`, []string{
			"channels.yaml:2: channels[0].serial.baud_rate: 9601 is not one of 300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600",
			`channels.yaml:2: channels[0].serial.parity: "mark" is not one of none, even, odd`,
			"channels.yaml:2: channels[0].serial.stop_bits: 3 is neither 1 nor 2",
			"channels.yaml:2: channels[0].modbus.own_connection: a serial port can be opened only once: leave this key out",
		}},
		"TLS of TCP": {`protocol: modbus_tcp, address: "plc:502", modbus: {tls: {ca: tls/theirs.pem}}`, []string{
			"channels.yaml:2: channels[0].modbus.tls: modbus_tcp does not use TLS: leave this key out, or use modbus_tls",
		}},
		"half a pair": {`protocol: modbus_tls, address: "plc:802", modbus: {tls: {certificate: tls/ours.pem}}`, []string{
			"channels.yaml:2: channels[0].modbus.tls: certificate and key belong together: give both or none",
		}},
		"a file that is not there": {`protocol: modbus_tls, address: "plc:802", modbus: {tls: {ca: tls/gone.pem}}`, []string{
			"channels.yaml:2: channels[0].modbus.tls: open DIR/tls/gone.pem: no such file or directory",
		}},
		"a key for a certificate": {`protocol: modbus_tls, address: "plc:802", modbus: {tls: {ca: tls/ours.key}}`, []string{
			"channels.yaml:2: channels[0].modbus.tls: DIR/tls/ours.key holds no certificate in PEM",
		}},
		"the key of another": {`protocol: modbus_tls, address: "plc:802", modbus: {tls: {certificate: tls/ours.pem, key: tls/theirs.key}}`, []string{
			"channels.yaml:2: channels[0].modbus.tls: tls: private key does not match public key",
		}},
		"another spacing": {`protocol: modbus_tcp, address: "plc:502"}
  - {id: 2, name: b, protocol: modbus_tcp, address: "plc:502", modbus: {spacing: 1ms}`, []string{
			"channels.yaml:3: channels[1].address: channels[0] has the same address and another modbus.spacing: they share one connection, " +
				"so give both the same, or this one own_connection",
		}},
		"another protocol": {`protocol: modbus_tcp, address: "plc:502"}
  - {id: 2, name: b, protocol: modbus_rtu_over_tcp, address: "plc:502"`, []string{
			"channels.yaml:3: channels[1].address: channels[0] has the same address and another protocol: they share one connection, " +
				"so give both the same, or this one own_connection",
		}},
		"another TLS": {`protocol: modbus_tls, address: "plc:802"}
  - {id: 2, name: b, protocol: modbus_tls, address: "plc:802", modbus: {tls: {server_name: plc-1}}`, []string{
			"channels.yaml:3: channels[1].address: channels[0] has the same address and another modbus.tls: they share one connection, " +
				"so give both the same, or this one own_connection",
		}},
		"another line": {`protocol: modbus_rtu, address: /dev/ttyS0}
  - {id: 2, name: b, protocol: modbus_rtu, address: /dev/ttyS0, serial: {stop_bits: 2}`, []string{
			"channels.yaml:3: channels[1].address: channels[0] has the same address and another serial: they share one connection, so give both the same",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := siteOf(t, "  - {id: 1, name: a, "+check.channel+"}\n")
			_, err := config.ReadSite(dir, nil, protocols())
			var coded *ems.Error
			if ems.CodeOf(err) != ems.CodeInvalid || !errors.As(err, &coded) {
				t.Fatalf("got %v, want INVALID", err)
			}
			got := slices.Clone(coded.Details)
			for i := range got {
				got[i] = strings.ReplaceAll(got[i], dir, "DIR")
			}
			slices.Sort(got)
			slices.Sort(check.want)
			if diff := cmp.Diff(check.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAnAddressOfTheEnvironmentIsOfTheProtocol, and channels that only come to
// share a connection by it must agree upon it as well.
func TestAnAddressOfTheEnvironmentIsOfTheProtocol(t *testing.T) {
	t.Parallel()
	dir := siteOf(t, `
  - {id: 1, name: a, protocol: modbus_rtu, address: /dev/ttyS0}
  - {id: 2, name: b, protocol: modbus_rtu, address: /dev/ttyS1, serial: {stop_bits: 2}}
`)
	site, err := config.ReadSite(dir, []string{"COMSRV_CHANNEL_1_ADDRESS=/dev/serial/by-id/usb-1"}, protocols())
	if err != nil || site.Channels[0].Address != "/dev/serial/by-id/usb-1" {
		t.Fatalf("%+v, %v", site, err)
	}
	for address, want := range map[string]string{
		"plc:502":    `environment: COMSRV_CHANNEL_1_ADDRESS: "plc:502" is not a serial port, for example /dev/ttyUSB0`,
		"/dev/ttyS1": "channels.yaml:4: channels[1].address: channels[0] has the same address and another serial",
	} {
		_, err := config.ReadSite(dir, []string{"COMSRV_CHANNEL_1_ADDRESS=" + address}, protocols())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestUnitZeroOfALineIsWrittenWhole: it is all units, none of which answers.
func TestUnitZeroOfALineIsWrittenWhole(t *testing.T) {
	t.Parallel()
	for protocol, want := range map[string][]string{
		"modbus_tcp": nil,
		"modbus_rtu_over_tcp": {
			"points/1/control_mapping.csv:2: slave_id 0 is every unit of the line, and the register that holds the other bits cannot be read: " +
				"name one unit, or use function_code 22",
			"points/1/telemetry_mapping.csv:2: slave_id 0 is every unit of the line, and none of them answers: name one",
		},
	} {
		dir := siteOf(t, "  - {id: 1, name: a, protocol: "+protocol+", address: 'h:1'}\n")
		if err := os.MkdirAll(filepath.Join(dir, "points", "1"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"telemetry": namedPoints(1, "t"), "telemetry_mapping": mappingHead + "1,0,3,10,uint16,,\n",
			"control": namedPoints(3, "c"), "control_mapping": mappingHead + "1,0,6,10,bool,,3\n2,0,22,11,bool,,3\n3,0,5,11,bool,,\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, "points", "1", name+".csv"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, err := config.ReadSite(dir, nil, protocols())
		if diff := cmp.Diff(want, details(t, err)); diff != "" {
			t.Errorf("%s: %s", protocol, diff)
		}
	}
}
