package config

import (
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Modbus is what the key modbus of a channel says: what is read together, and how
// requests travel.
type Modbus struct {
	Reads         Reads
	Retries       int           // of a read that got no answer; a write is never sent again
	Spacing       time.Duration // between the end of one exchange on a connection and the next request
	OwnConnection bool          // do not share the connection with other channels of the same address
	TLS           TLS           // of modbus_tls
}

// modbusEntry is the key modbus of a channel in channels.yaml.
type modbusEntry struct {
	readsEntry    `yaml:",inline"`
	Retries       int           `yaml:"retries"`
	Spacing       time.Duration `yaml:"spacing"`
	OwnConnection bool          `yaml:"own_connection"`
	TLS           *tlsEntry     `yaml:"tls"`
}

// Bounds of how requests travel.
const (
	maxRetries     = 10
	longestSpacing = 10 * time.Second
)

// readModbus reads what a channel says for Modbus, after its timing and before
// its points.
func (s *siteReader) readModbus(doc *document, at []any, entry channelEntry, channel *Channel) {
	channel.Modbus.Reads = Reads{}.OrDefault()
	if channel.Protocol == ProtocolModbusRTU {
		s.readSerial(doc, append(at, "serial"), entry.Serial, channel)
	}
	if channel.Protocol == ProtocolModbusTLS {
		defer channel.nameDevice()
	}
	if entry.Modbus == nil {
		return
	}
	at = append(at, "modbus")
	read := entry.Modbus
	channel.Modbus = Modbus{Reads: read.read(doc, at), Retries: read.Retries, Spacing: read.Spacing, OwnConnection: read.OwnConnection}
	if read.Retries < 0 || read.Retries > maxRetries {
		doc.add(append(at, "retries"), "%d is not between 0 and %d", read.Retries, maxRetries)
	} else if longest := read.tries() * channel.Timeout; read.Retries > 0 && longest > channel.ShortestPeriod() {
		doc.add(append(at, "retries"), "a read with %d more after the first may take %v, which is longer than the shortest poll period of %v: "+
			"give fewer retries or a timeout of at most %v", read.Retries, longest, channel.ShortestPeriod(),
			channel.ShortestPeriod()/read.tries())
	}
	if read.Spacing < 0 || read.Spacing > longestSpacing {
		doc.add(append(at, "spacing"), "%v is not between 0s and %v", read.Spacing, longestSpacing)
	}
	if read.OwnConnection && channel.Protocol == ProtocolModbusRTU {
		doc.add(append(at, "own_connection"), "a serial port can be opened only once: leave this key out")
	}
	if read.TLS != nil {
		s.readTLS(doc, append(at, "tls"), read.TLS, channel)
	}
}

// tries returns how often a read is sent at most, and 1 where that is no sound
// number.
func (e *modbusEntry) tries() time.Duration {
	if e == nil || e.Retries < 0 || e.Retries > maxRetries {
		return 1
	}
	return time.Duration(1 + e.Retries)
}

// CheckMapping tells fault of a mapping, sound in itself, that this channel cannot
// serve.
func (c *Channel) CheckMapping(mapping *Mapping, kind ems.PointType, fault func(column, format string, args ...any)) {
	switch {
	case !Broadcasts(c.Protocol, mapping.Unit):
	case !kind.Writable():
		fault("slave_id", "0 is every unit of the line, and none of them answers: name one")
	case mapping.ReadsFirst():
		fault("slave_id", "0 is every unit of the line, and the register that holds the other bits cannot be read: name one unit, or use function_code 22")
	}
	c.Modbus.Reads.Check(mapping, fault)
}
