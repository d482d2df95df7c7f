package testbed

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/simulators/fault"
)

// Faults of a device strike where its clients are: a machine changes the truth, a value
// what registers show of it, and the wire the answers. What is cleared is over.
func TestFaultsStrikeADevice(t *testing.T) {
	t.Parallel()
	bed, clock := start(t)
	client := connect(t, bed, "battery", 1)
	voltage := func() float64 {
		t.Helper()
		data, err := client.ReadHoldingRegisters(4, 2) // float32 as CDAB
		if err != nil {
			t.Fatal(err)
		}
		return float64(math.Float32frombits(uint32(binary.BigEndian.Uint16(data[2:]))<<16 | uint32(binary.BigEndian.Uint16(data))))
	}
	truth := func(quantity string) float64 {
		return truthOf(t, bed.Plant(), "battery", profileRow{Quantity: quantity})
	}
	tick(t, bed, clock, 1)
	if got := voltage(); got != float64(float32(truth("voltage_v"))) {
		t.Fatalf("%v V, and %v in truth", got, truth("voltage_v"))
	}
	inject := func(f fault.Fault) uint64 {
		t.Helper()
		injected, err := bed.Faults().Inject(f)
		if err != nil {
			t.Fatal(err)
		}
		return injected.ID
	}
	amount := 1000.0
	biased := inject(fault.Fault{Device: "battery", Kind: "bias", Quantity: "voltage_v", Amount: &amount})
	hot := inject(fault.Fault{Device: "battery", Kind: "cell_overheating", DurationS: 0.2})
	tick(t, bed, clock, 1)
	if got := voltage(); math.Abs(got-truth("voltage_v")-1000) > 0.01 {
		t.Errorf("%v V, and %v in truth", got, truth("voltage_v"))
	}
	if rise := truth("cell_temperature_max_c"); math.Abs(rise-65) > 0.1 {
		t.Errorf("the hottest cell has %v C", rise)
	}
	tick(t, bed, clock, 2)
	if rise := truth("cell_temperature_max_c"); math.Abs(rise-25) > 0.1 {
		t.Errorf("the hottest cell has %v C afterwards", rise)
	}
	if _, err := bed.Faults().Clear(hot); err == nil {
		t.Error("a fault that has ended was cleared")
	}
	if _, err := bed.Faults().Clear(biased); err != nil {
		t.Error(err)
	}
	tick(t, bed, clock, 1)
	if got := voltage(); got != float64(float32(truth("voltage_v"))) {
		t.Errorf("%v V afterwards, and %v in truth", got, truth("voltage_v"))
	}
	function := 3
	busy := inject(fault.Fault{Device: "battery", Kind: "exception", Exception: 6, Function: &function})
	if _, err := client.ReadHoldingRegisters(4, 2); err == nil || !strings.Contains(err.Error(), "exception '6'") {
		t.Errorf("%v", err)
	}
	if _, err := client.ReadCoils(0, 1); err != nil {
		t.Errorf("another function: %v", err)
	}
	if states := bed.Faults().List(); len(states) != 1 || states[0].ID != busy || states[0].Struck != 1 {
		t.Errorf("%+v", states)
	}
	if cleared, err := bed.Faults().ClearAll(); err != nil || cleared != 1 {
		t.Error(cleared, err)
	}
	voltage()
}
