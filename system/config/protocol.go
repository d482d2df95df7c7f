package config

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The protocols, as a site writes them. A channel of any other has a host:port and
// for each point a row of a register map.
const (
	ProtocolModbusTCP        = "modbus_tcp"
	ProtocolModbusTLS        = "modbus_tls"          // TCP with TLS, usually on port 802
	ProtocolModbusRTU        = "modbus_rtu"          // a serial line
	ProtocolModbusRTUOverTCP = "modbus_rtu_over_tcp" // frames of a serial line on a TCP connection, as plain gateways carry them
	ProtocolVirtual          = "virtual"             // no device
	ProtocolGRPC             = "grpc"                // a driver in another process
)

var modbusProtocols = []string{ProtocolModbusTCP, ProtocolModbusTLS, ProtocolModbusRTU, ProtocolModbusRTUOverTCP}

// IsModbus reports whether a protocol is one of the Modbus driver.
func IsModbus(protocol string) bool { return contains(modbusProtocols, protocol) }

// IsLine reports whether a protocol has the frames of a serial line.
func IsLine(protocol string) bool {
	return protocol == ProtocolModbusRTU || protocol == ProtocolModbusRTUOverTCP
}

// Broadcasts reports whether a unit stands for all of a line, none of which
// answers. On Modbus TCP a device answers to 0 like to any other.
func Broadcasts(protocol string, unit uint8) bool { return unit == 0 && IsLine(protocol) }

// addressColumns are those of a mapping table that says where a point is in the
// words of its driver.
var addressColumns = []string{"point_id", "address"}

// maxAddressText bounds such an address, in bytes.
const maxAddressText = 200

// readMappings reads a mapping table in the form that the protocol of the channel
// gives it, and reports whether it came to the end.
func (s *siteReader) readMappings(file string, kind ems.PointType, channel *Channel, targets writeTargets) (rows map[ems.PointID]mappingRow, whole bool) {
	switch channel.Protocol {
	case ProtocolVirtual: // it may have one from a device that the channel stands in for
		return nil, true
	case ProtocolGRPC:
		return s.readAddressTable(file)
	default:
		return s.readMappingTable(file, kind, channel, targets)
	}
}

// mapsEveryPoint reports whether a point needs a row in its mapping table.
func mapsEveryPoint(protocol string) bool {
	return protocol != ProtocolVirtual && protocol != ProtocolGRPC
}

func (s *siteReader) readAddressTable(file string) (rows map[ems.PointID]mappingRow, whole bool) {
	rows = map[ems.PointID]mappingRow{}
	whole = s.eachRow(file, addressColumns, nil, func(row *tableRow) {
		id, text := row.pointID(), row.text("address")
		if len(text) > maxAddressText {
			row.fault("address", "has %d bytes, more than the %d that fit", len(text), maxAddressText)
		}
		if first, twice := rows[id]; twice {
			row.fault("point_id", "%d stands already in line %d: give each point of a table its own", id, first.line)
			return
		}
		if id != 0 {
			rows[id] = mappingRow{line: row.line, mapping: Mapping{Text: text, Bit: -1}}
		}
	})
	return rows, whole
}

// CheckDevice refuses what is not the address of a device behind that protocol.
func CheckDevice(protocol, address string) error {
	path, socket := strings.CutPrefix(address, "unix:")
	switch {
	case protocol == ProtocolVirtual: // there is no device; one may have been there before
		return nil
	case protocol == ProtocolGRPC && socket:
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("%q: name the socket by its whole path, for example unix:/run/driver.sock", address)
		}
		return nil
	case protocol == ProtocolGRPC:
		return checkAddress(address, "127.0.0.1:7001", 1)
	case protocol == ProtocolModbusRTU:
		if !strings.HasPrefix(address, "/dev/") || filepath.Clean(address) != address {
			return fmt.Errorf("%q is not a serial port, for example /dev/ttyUSB0", address)
		}
		return nil
	default:
		return checkAddress(address, "192.168.1.20:502", 1)
	}
}

// readSections takes over what a channel says for its protocol alone, after its
// timing and before its points. A virtual channel may keep what it says of a
// device that it stands in for.
func (s *siteReader) readSections(doc *document, at []any, entry channelEntry, channel *Channel) {
	for _, section := range []struct {
		name      string
		given     bool
		protocols []string
	}{
		{"modbus", entry.Modbus != nil, modbusProtocols},
		{"serial", entry.Serial != nil, []string{ProtocolModbusRTU}},
		{"grpc", entry.GRPC != nil, []string{ProtocolGRPC}},
		{"virtual", entry.Virtual != nil, []string{ProtocolVirtual}},
	} {
		if section.given && channel.Protocol != ProtocolVirtual && !contains(section.protocols, channel.Protocol) {
			doc.add(append(at, section.name), "the protocol of this channel is %s: these settings are for protocol %s",
				channel.Protocol, listText(section.protocols))
		}
	}
	switch {
	case channel.Protocol == ProtocolVirtual && entry.Virtual != nil:
		channel.Virtual = *entry.Virtual
	case channel.Protocol == ProtocolGRPC && entry.GRPC != nil:
		channel.GRPC = *entry.GRPC
		channel.GRPC.check(doc, append(at, "grpc"))
	case mapsEveryPoint(channel.Protocol):
		s.readModbus(doc, at, entry, channel)
	}
}

// GRPC is what a driver in another process is told beside the points.
type GRPC struct {
	Settings map[string]string `yaml:"settings"` // in the words of that driver
}

// Bounds of the settings of a driver.
const (
	maxSettings     = 100
	maxSettingBytes = 1000 // of a name, and of a value
)

func (g *GRPC) check(doc *document, at []any) {
	at = append(at, "settings")
	if len(g.Settings) > maxSettings {
		doc.add(at, "%d settings are more than the %d that fit", len(g.Settings), maxSettings)
	}
	for name, value := range g.Settings {
		if size := max(len(name), len(value)); name == "" || size > maxSettingBytes {
			doc.add(append(at, name), "a setting has a name, and name and value have at most %d bytes each", maxSettingBytes)
		}
	}
}
