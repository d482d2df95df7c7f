package config

import (
	"fmt"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The protocols of which this package knows more than the name. A channel of any
// other has a host:port and for each point a row of a register map.
const (
	ProtocolVirtual = "virtual"
	ProtocolGRPC    = "grpc"
)

// addressColumns are those of a mapping table that says where a point is in the
// words of its driver.
var addressColumns = []string{"point_id", "address"}

// maxAddressText bounds such an address, in bytes.
const maxAddressText = 200

// readMappings reads a mapping table in the form that the protocol gives it.
func (s *siteReader) readMappings(protocol, file string, kind ems.PointType) map[ems.PointID]mappingRow {
	switch protocol {
	case ProtocolVirtual: // it may have one from a device that the channel stands in for
		return nil
	case ProtocolGRPC:
		return s.readAddressTable(file)
	default:
		return s.readMappingTable(file, kind)
	}
}

// mapsEveryPoint reports whether a point needs a row in its mapping table.
func mapsEveryPoint(protocol string) bool {
	return protocol != ProtocolVirtual && protocol != ProtocolGRPC
}

func (s *siteReader) readAddressTable(file string) map[ems.PointID]mappingRow {
	rows := map[ems.PointID]mappingRow{}
	s.eachRow(file, addressColumns, nil, func(row *tableRow) {
		id, text := row.pointID(), row.text("address")
		if len(text) > maxAddressText {
			row.fault("address has %d bytes, more than the %d that fit", len(text), maxAddressText)
		}
		if first, twice := rows[id]; twice {
			row.fault("point %d stands already in line %d", id, first.line)
			return
		}
		if id != 0 {
			rows[id] = mappingRow{line: row.line, mapping: Mapping{Text: text, Bit: -1}}
		}
	})
	return rows
}

// checkDevice refuses what is not the address of a device behind that protocol.
func checkDevice(protocol, address string) error {
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
	default:
		return checkAddress(address, "192.168.1.20:502", 1)
	}
}

// readSections takes over what a channel says for its protocol alone.
func (s *siteReader) readSections(doc *document, at []any, entry channelEntry, channel *Channel) {
	misplaced := func(section string) {
		doc.add(append(at, section), "the protocol of this channel is %s: these settings are for protocol %s", channel.Protocol, section)
	}
	switch {
	case entry.Virtual == nil:
	case channel.Protocol != ProtocolVirtual:
		misplaced(ProtocolVirtual)
	default:
		channel.Virtual = *entry.Virtual
		channel.checkVirtual(doc, append(at, ProtocolVirtual))
	}
	switch {
	case entry.GRPC == nil:
	case channel.Protocol != ProtocolGRPC:
		misplaced(ProtocolGRPC)
	default:
		channel.GRPC = *entry.GRPC
		channel.GRPC.check(doc, append(at, ProtocolGRPC))
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
