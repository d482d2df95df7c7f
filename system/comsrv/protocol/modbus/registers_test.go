package modbus

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestUnitsThatNoPointNames are asked when somebody wants to, and what they say
// decides nothing for the units of the channel.
func TestUnitsThatNoPointNames(t *testing.T) {
	t.Parallel()
	device := newBank()
	device.units = map[byte]bool{2: true}
	device.words[3][7] = 77
	p := newPeer(t, device.serve)
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	driver := openOn(t, newLinks(t, clock), config.Channel{
		ID: 1, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: 50 * time.Millisecond,
		Points: []config.MappedPoint{point(ems.Telemetry, 1, register(1, 3, 0, config.Uint16))},
	})
	values, err := driver.ReadRange(context.Background(), protocol.Range{Unit: 2, Function: 3, Address: 6, Count: 3})
	if !slices.Equal(values, []uint16{0, 77, 0}) || err != nil {
		t.Fatal(values, err)
	}
	if err := driver.WriteRange(context.Background(), protocol.Range{Unit: 2, Function: 6, Address: 8, Count: 1}, []uint16{5}, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 { // unit 1 is dead, and since no other unit of the channel answers it is not left alone
		var broken *brokenError
		if _, err := driver.ReadBatch(context.Background(), ems.DefaultGroup); !errors.As(err, &broken) || !broken.sent {
			t.Errorf("%v", err)
		}
	}
	if _, err := driver.ReadRange(context.Background(), protocol.Range{Unit: 3, Function: 1, Count: 1}); err == nil || driver.link.health.failing(3) {
		t.Errorf("%v, and unit 3 is held to fail", err)
	}
	if requests := len(p.seen()); requests != 6 {
		t.Errorf("%d requests", requests)
	}
}
