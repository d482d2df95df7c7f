package comsrv

import (
	"maps"
	"slices"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/virtual"
	"github.com/voltageems/voltageems-go/system/config"
)

// Drivers lists every driver by the name that a site writes as the protocol of a
// channel. A new driver is one line here. Channels of Modbus share links.
func Drivers(links *modbus.Links) map[string]protocol.Factory {
	return map[string]protocol.Factory{
		config.ProtocolModbusTCP:        links.New,
		config.ProtocolModbusTLS:        links.New,
		config.ProtocolModbusRTU:        links.New,
		config.ProtocolModbusRTUOverTCP: links.New,
		virtual.Name:                    virtual.New,
		grpc.Name:                       grpc.New,
	}
}

// Protocols returns the names of the drivers, sorted, for the validation of a
// site.
func Protocols() []string { return slices.Sorted(maps.Keys(Drivers(nil))) }
