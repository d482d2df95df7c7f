package modbus

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/simulators/device"
	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/config"
)

// simulated is one value of the simulator's register map, and the same as a site
// has it.
type simulated struct {
	name    string
	mapping config.Mapping
}

// simulatedValues has every type and order that the simulator knows, each in
// registers of its own.
func simulatedValues() (values []simulated) {
	address := uint16(0)
	for _, data := range []config.DataType{
		config.Int16, config.Uint16, config.Int32, config.Uint32, config.Int64, config.Uint64, config.Float32, config.Float64,
	} {
		for _, order := range data.ByteOrders()[:min(4, len(data.ByteOrders()))] {
			mapping := config.Mapping{Unit: 1, Function: 16, Address: address, DataType: data, ByteOrder: order, Bit: -1}
			values = append(values, simulated{fmt.Sprintf("%s_%s", data, order), mapping})
			address += uint16(mapping.Registers())
		}
	}
	for at := range 16 {
		mapping := config.Mapping{Unit: 1, Function: 16, Address: address, DataType: config.Bool, ByteOrder: "AB", Bit: at}
		values = append(values, simulated{fmt.Sprintf("bool_%d", at), mapping})
	}
	return values
}

// bindSimulator gives the simulator the same map.
func bindSimulator(t *testing.T, values []simulated) *device.Map {
	t.Helper()
	profile := "name: all\nregisters:\n"
	var settings []plant.Setting
	for _, v := range values {
		profile += fmt.Sprintf("  - {table: holding, address: %d, type: %s, setpoint: %s", v.mapping.Address, v.mapping.DataType, v.name)
		setting := plant.Setting{Name: v.name, Least: -1.7e308, Most: 1.7e308}
		if v.mapping.DataType == config.Bool {
			profile += fmt.Sprintf(", bit: %d}\n", v.mapping.Bit)
			setting.Least, setting.Most = 0, 1
		} else {
			profile += fmt.Sprintf(", order: %s}\n", v.mapping.ByteOrder)
		}
		settings = append(settings, setting)
	}
	var faults document.Faults
	bound := device.Bind(device.ReadProfile("all.yaml", []byte(profile), &faults), nil, settings, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return bound
}

// TestAgainstTheSimulator: what the simulator's encoder, which shares no code with
// this package, makes of a value is decoded to it, and what is encoded here is the
// same to the simulator.
func TestAgainstTheSimulator(t *testing.T) {
	t.Parallel()
	values := simulatedValues()
	bound := bindSimulator(t, values)
	rapid.Check(t, func(t *rapid.T) {
		want := make([]float64, len(values))
		for i, v := range values {
			raw := rapid.OneOf(rapid.Float64Range(-40000, 70000), rapid.Float64Range(-1e10, 1e10), rapid.Float64Range(-2e19, 2e19)).Draw(t, v.name)
			if v.mapping.DataType == config.Bool {
				raw = float64(rapid.IntRange(0, 1).Draw(t, v.name))
			}
			if _, fits := rounded(&v.mapping, raw); !fits {
				raw = 0
			}
			want[i] = raw
		}
		registers := map[uint16]uint16{}
		bound.Encode(func(_ modbusserver.Table, address uint16, numbers ...uint16) {
			for i, number := range numbers {
				registers[address+uint16(i)] = number
			}
		}, device.Shown{}, want)
		for i, v := range values {
			wire := []byte{}
			for at := int(v.mapping.Address); at < v.mapping.End(); at++ {
				wire = binary.BigEndian.AppendUint16(wire, registers[uint16(at)])
			}
			expected, _ := rounded(&v.mapping, want[i])
			if got, _, err := decodeRegisters(&v.mapping, wire); err != nil || got != expected {
				t.Fatalf("the simulator's %s of %v is % x, which decodes to %v, %v", v.name, want[i], wire, got, err)
			}
			ours, err := encodeRegisters(&v.mapping, want[i], held(&v.mapping, wire))
			if err != nil || !slices.Equal(ours, wire) {
				t.Fatalf("%s of %v is % x to the simulator and % x, %v here", v.name, want[i], wire, ours, err)
			}
		}
	})
}
