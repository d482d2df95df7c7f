package comsrv

import (
	"maps"
	"slices"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/virtual"
)

// Drivers lists every driver by the name that a site writes as the protocol of a
// channel. A new driver is one line here.
func Drivers() map[string]protocol.Factory {
	return map[string]protocol.Factory{
		grpc.Name:    grpc.New,
		modbus.Name:  modbus.New,
		virtual.Name: virtual.New,
	}
}

// Protocols returns the names of the drivers, sorted, for the validation of a
// site.
func Protocols() []string { return slices.Sorted(maps.Keys(Drivers())) }
