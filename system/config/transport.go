package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// TLS names the files with which a device and comsrv know each other. Paths are
// absolute; an empty one is left to the system or left out.
type TLS struct {
	CA          string // PEM: who may have signed the certificate of the device; empty: those that the system trusts
	Certificate string // PEM: shown to the device
	Key         string // PEM
	ServerName  string // that the certificate of the device must carry: the host of the address, unless told otherwise
}

// Client reads the files anew, so that certificates may be renewed while comsrv
// runs.
func (t TLS) Client() (*tls.Config, error) {
	made := &tls.Config{ServerName: t.ServerName, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		text, err := readBounded(t.CA)
		if err != nil {
			return nil, err
		}
		made.RootCAs = x509.NewCertPool()
		if !made.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", t.CA)
		}
	}
	if t.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
		if err != nil {
			return nil, err
		}
		made.Certificates = []tls.Certificate{pair}
	}
	return made, nil
}

// Serial is how a serial line is set. Modbus RTU always has eight data bits.
type Serial struct {
	BaudRate int
	Parity   Parity
	StopBits int // 1 or 2
}

// Parity is the parity bit of a serial line.
type Parity string

// The parities of a serial line.
const (
	ParityNone Parity = "none"
	ParityEven Parity = "even"
	ParityOdd  Parity = "odd"
)

// CharacterBits returns how many bits carry one byte: start, data, parity, stop.
func (s Serial) CharacterBits() int {
	bits := 1 + 8 + s.StopBits
	if s.Parity != ParityNone {
		bits++
	}
	return bits
}

type tlsEntry struct {
	CA          string `yaml:"ca"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	ServerName  string `yaml:"server_name"`
}

// serialEntry is the key serial of a channel in channels.yaml.
type serialEntry struct {
	BaudRate int    `yaml:"baud_rate"`
	Parity   Parity `yaml:"parity"`
	StopBits int    `yaml:"stop_bits"`
}

// defaultBaudRate is that of the specification, as are the other defaults of a
// serial line.
const defaultBaudRate = 19200

var baudRates = []int{300, 600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600}

func (s *siteReader) readTLS(doc *document, at []any, entry *tlsEntry, channel *Channel) {
	if channel.Protocol != ProtocolModbusTLS {
		doc.add(at, "%s does not use TLS: leave this key out, or use %s", channel.Protocol, ProtocolModbusTLS)
		return
	}
	if (entry.Certificate == "") != (entry.Key == "") {
		doc.add(at, "certificate and key belong together: give both or none")
		return
	}
	for _, file := range []struct{ key, name string }{{"ca", entry.CA}, {"certificate", entry.Certificate}, {"key", entry.Key}} {
		if s.tables != nil && file.name != "" && !filepath.IsLocal(file.name) {
			doc.add(append(at, file.key), "%q is not below the site folder, where the files of channels made through the API lie", file.name)
			return
		}
	}
	channel.Modbus.TLS = TLS{
		CA: s.file(entry.CA), Certificate: s.file(entry.Certificate), Key: s.file(entry.Key), ServerName: entry.ServerName,
	}
	if _, err := channel.Modbus.TLS.Client(); err != nil {
		doc.add(at, "%v", err)
	}
}

// nameDevice says whose name the certificate of the device must carry, so that
// channels which write its address in another way share no connection made for another
// name.
func (c *Channel) nameDevice() {
	if host, _, err := net.SplitHostPort(c.Address); err == nil && c.Modbus.TLS.ServerName == "" {
		c.Modbus.TLS.ServerName = strings.ToLower(host)
	}
}

// file returns where a file lies that a site names, relative to its folder.
func (s *siteReader) file(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	path := s.path(name)
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

func (s *siteReader) readSerial(doc *document, at []any, entry *serialEntry, channel *Channel) {
	serial := Serial{BaudRate: defaultBaudRate, Parity: ParityEven, StopBits: 1}
	if entry != nil {
		if entry.BaudRate != 0 {
			serial.BaudRate = entry.BaudRate
		}
		if entry.Parity != "" {
			serial.Parity = entry.Parity
		}
		if entry.StopBits != 0 {
			serial.StopBits = entry.StopBits
		}
	}
	if !contains(baudRates, serial.BaudRate) {
		doc.add(append(at, "baud_rate"), "%d is not one of %s", serial.BaudRate, listText(baudRates))
	}
	if parities := []Parity{ParityNone, ParityEven, ParityOdd}; !contains(parities, serial.Parity) {
		doc.add(append(at, "parity"), "%q is not one of %s", serial.Parity, listText(parities))
	}
	if serial.StopBits != 1 && serial.StopBits != 2 {
		doc.add(append(at, "stop_bits"), "%d is neither 1 nor 2", serial.StopBits)
	}
	channel.Serial = serial
}

// checkShared makes sure that channels which share a connection agree upon it.
func checkShared(channels []placed) {
	first := map[string]int{}
	for i, channel := range channels {
		if !IsModbus(channel.Protocol) || !channel.Enabled || channel.Modbus.OwnConnection {
			continue
		}
		address := PlainAddress(channel.Address)
		at, shared := first[address]
		if !shared {
			first[address] = i
			continue
		}
		if key := differs(channels[at].Channel, channel.Channel); key != "" {
			remedy := "give both the same"
			if channel.Protocol != ProtocolModbusRTU {
				remedy += ", or this one own_connection"
			}
			other := "channels[" + strconv.Itoa(at) + "]"
			if channels[at].doc != channel.doc {
				other = "channel " + uintText(uint32(channels[at].ID))
			}
			channel.doc.add(channel.below("address"), "%s has the same address and another %s: they share one connection, so %s", other, key, remedy)
		}
	}
}

// differs names the first setting of a connection in which two channels differ.
func differs(a, b *Channel) string {
	switch {
	case a.Protocol != b.Protocol:
		return "protocol"
	case a.Modbus.Spacing != b.Modbus.Spacing:
		return "modbus.spacing"
	case a.Modbus.TLS != b.Modbus.TLS:
		return "modbus.tls"
	case a.Serial != b.Serial:
		return "serial"
	default:
		return ""
	}
}
