package device

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/simulators/plant"
)

const sheet = `
name: Test device
registers:
  - {table: input,    address: 0,  type: float32, order: CDAB, quantity: power_kw}
  - {table: input,    address: 2,  type: int16,   scale: 0.1, offset: -40, quantity: temperature_c}
  - {table: input,    address: 10, type: bool, bit: 0,  quantity: running}
  - {table: input,    address: 10, type: bool, bit: 15, quantity: fault}
  - {table: discrete, address: 5,  quantity: running}
  - {table: coil,     address: 0,  setpoint: run}
  - {table: coil,     address: 1,  quantity: fault}
  - {table: holding,  address: 0x20, type: int16, scale: 0.1, setpoint: power_setpoint_kw}
  - {table: holding,  address: 0x21, type: float32, setpoint: limit_pct}
  - {table: holding,  address: 0x23, type: bool, bit: 3, setpoint: run}
  - {table: holding,  address: 0x24, type: int16, scale: 0.1, readonly: true, setpoint: power_setpoint_kw}
  - {table: input,    address: 20, type: uint16, scale: 0.1, setpoint: power_setpoint_kw}
`

var (
	testQuantities = []string{"running", "power_kw", "temperature_c", "fault"}
	testSetpoints  = []plant.Setting{
		{Name: "run", Most: 1, Boolean: true},
		{Name: "power_setpoint_kw", Least: -30, Most: 30},
		{Name: "limit_pct", Most: 100},
	}
)

func mustBind(t testing.TB, text string) *Map {
	t.Helper()
	var faults document.Faults
	profile := ReadProfile("p.yaml", []byte(text), &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	m := Bind(profile, testQuantities, testSetpoints, &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReadProfile(t *testing.T) {
	t.Parallel()
	want := []Register{
		{modbusserver.InputRegisters, 0, Float32, "CDAB", 1, 0, -1, "power_kw", false, false, 4, nil, nil},
		{modbusserver.InputRegisters, 2, Int16, "AB", 0.1, -40, -1, "temperature_c", false, false, 5, nil, nil},
		{modbusserver.InputRegisters, 10, Bool, "", 1, 0, 0, "running", false, false, 6, nil, nil},
		{modbusserver.InputRegisters, 10, Bool, "", 1, 0, 15, "fault", false, false, 7, nil, nil},
		{modbusserver.DiscreteInputs, 5, Bool, "", 1, 0, -1, "running", false, false, 8, nil, nil},
		{modbusserver.Coils, 0, Bool, "", 1, 0, -1, "run", true, true, 9, nil, nil},
		{modbusserver.Coils, 1, Bool, "", 1, 0, -1, "fault", false, false, 10, nil, nil},
		{modbusserver.HoldingRegisters, 32, Int16, "AB", 0.1, 0, -1, "power_setpoint_kw", true, true, 11, nil, nil},
		{modbusserver.HoldingRegisters, 33, Float32, "ABCD", 1, 0, -1, "limit_pct", true, true, 12, nil, nil},
		{modbusserver.HoldingRegisters, 35, Bool, "", 1, 0, 3, "run", true, true, 13, nil, nil},
		{modbusserver.HoldingRegisters, 36, Int16, "AB", 0.1, 0, -1, "power_setpoint_kw", true, false, 14, nil, nil},
		{modbusserver.InputRegisters, 20, Uint16, "AB", 0.1, 0, -1, "power_setpoint_kw", true, false, 15, nil, nil},
	}
	m := mustBind(t, sheet)
	if diff := cmp.Diff(want, m.profile.Registers, cmp.AllowUnexported(Register{})); diff != "" {
		t.Error(diff)
	}
	if m.profile.Name != "Test device" {
		t.Errorf("name %q", m.profile.Name)
	}
}

// profileFaults are rows of a profile and all that is wrong with them.
var profileFaults = map[string]struct {
	rows []string
	want []string
}{
	"values": {
		rows: []string{
			`{table: memory, address: 0, type: int16, quantity: power_kw}`,
			`{table: input, address: 65536, type: int16, quantity: power_kw}`,
			`{table: input, address: 65535, type: float32, quantity: power_kw}`,
			`{table: input, address: 0, type: int8, quantity: power_kw}`,
			`{table: input, address: 1, type: int16, order: ABCD, quantity: power_kw}`,
			`{table: input, address: 2, type: int16, scale: 0, quantity: power_kw}`,
			`{table: input, address: 3, type: bool, quantity: running}`,
			`{table: coil, address: 3, type: int16, quantity: running}`,
			`{table: coil, address: 4, bit: 1, quantity: running}`,
			`{table: input, address: 5, type: int16}`,
			`{table: input, address: 6, type: int16, quantity: power_kw, setpoint: run}`,
		},
		want: []string{
			`p.yaml:3: key "registers[0].table": "memory" is unknown: use one of coil, discrete, holding, input`,
			`p.yaml:4: key "registers[1].address": 65536 is out of range: use 0 to 65535`,
			`p.yaml:5: key "registers[2].address": 65535: a float32 would run past 65535`,
			`p.yaml:6: key "registers[3].type": "int8" is unknown: use one of bool, int16, uint16, int32, uint32, int64, uint64, float32, float64, acc32, acc64`,
			`p.yaml:7: key "registers[4].order": "ABCD" is unknown: use one of AB, BA`,
			`p.yaml:8: key "registers[5].scale": must not be 0: every value would read the same`,
			`p.yaml:9: key "registers[6].bit" is missing`,
			`p.yaml:10: key "registers[7].type": "int16" is unknown: use one of bool`,
			`p.yaml:11: key "registers[8].bit" is unknown: known here are address, quantity, readonly, setpoint, table, type`,
			`p.yaml:12: key "registers[9].quantity": a register shows either a quantity or a setpoint: name one`,
			`p.yaml:13: key "registers[10].quantity": a register shows either a quantity or a setpoint: name one`,
		},
	},
	"overlaps": {
		rows: []string{
			`{table: input, address: 0, type: float64, quantity: power_kw}`,
			`{table: input, address: 3, type: float32, quantity: temperature_c}`,
			`{table: holding, address: 3, type: float32, quantity: temperature_c}`,
			`{table: input, address: 10, type: bool, bit: 1, quantity: running}`,
			`{table: input, address: 10, type: bool, bit: 1, quantity: fault}`,
			`{table: input, address: 10, type: int16, quantity: power_kw}`,
			`{table: holding, address: 10, type: bool, bit: 1, quantity: running}`,
			`{table: holding, address: 10, type: bool, bit: 2, setpoint: run}`,
			`{table: coil, address: 1, setpoint: run}`,
			`{table: coil, address: 1, quantity: fault}`,
		},
		want: []string{
			`p.yaml:4: input 3 is taken by power_kw in line 3, and temperature_c (float32) needs it too`,
			`p.yaml:7: bit 1 of input 10 is taken by running in line 6, and fault needs it too`,
			`p.yaml:8: input 10 is taken by running in line 6, and power_kw (int16) needs it too`,
			`p.yaml:10: holding 10 holds running and run, of which one can be written and one not: a client writes a register whole, part them`,
			`p.yaml:12: coil 1 is taken by run in line 11, and fault (bool) needs it too`,
		},
	},
	"names": {
		rows: []string{
			`{table: input, address: 0, type: int16, quantity: wind}`,
			`{table: holding, address: 0, type: int16, setpoint: power_kw}`,
		},
		want: []string{
			`p.yaml:3: the device has no quantity "wind": it has running, power_kw, temperature_c, fault`,
			`p.yaml:4: the device has no setpoint "power_kw": it has run, power_setpoint_kw, limit_pct`,
		},
	},
	"nothing": {
		want: []string{`p.yaml:2: key "registers": must be a list with at least one entry`},
	},
}

func TestProfileFaults(t *testing.T) {
	t.Parallel()
	for name, c := range profileFaults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := "name: test\nregisters:\n"
			for _, row := range c.rows {
				text += "  - " + row + "\n"
			}
			var faults document.Faults
			profile := ReadProfile("p.yaml", []byte(text), &faults)
			if faults.Count() == 0 {
				Bind(profile, testQuantities, testSetpoints, &faults)
			}
			if diff := cmp.Diff(c.want, strings.Split(fmt.Sprint(faults.Err()), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeWrites(t *testing.T) {
	t.Parallel()
	m := mustBind(t, sheet)
	holding, coils := modbusserver.HoldingRegisters, modbusserver.Coils
	cases := []struct {
		name    string
		table   modbusserver.Table
		address uint16
		values  []uint16
		want    []Write
		result  mbserver.Exception
	}{
		{"coil", coils, 0, []uint16{1}, []Write{{"run", 1}}, 0},
		{"read-only coil", coils, 1, []uint16{1}, nil, 2},
		{"one of two coils", coils, 0, []uint16{1, 1}, nil, 2},
		{"scaled", holding, 0x20, []uint16{0xFF85}, []Write{{"power_setpoint_kw", -12.3}}, 0},
		{"the very limit", holding, 0x20, []uint16{300}, []Write{{"power_setpoint_kw", 30}}, 0},
		{"beyond the limit", holding, 0x20, []uint16{301}, nil, 3},
		{"float", holding, 0x21, []uint16{0x4248, 0}, []Write{{"limit_pct", 50}}, 0},
		{"half a float", holding, 0x21, []uint16{0x4248}, nil, 2},
		{"the other half", holding, 0x22, []uint16{0}, nil, 2},
		{"not a number", holding, 0x21, []uint16{0x7FC0, 0}, nil, 3},
		{"infinite", holding, 0x21, []uint16{0x7F80, 0}, nil, 3},
		{"bit", holding, 0x23, []uint16{0x0008}, []Write{{"run", 1}}, 0},
		{"other bits", holding, 0x23, []uint16{0xFFF7}, []Write{{"run", 0}}, 0},
		{"several", holding, 0x20, []uint16{10, 0x4120, 0, 8}, []Write{{"power_setpoint_kw", 1}, {"limit_pct", 10}, {"run", 1}}, 0},
		{"one of several out of range", holding, 0x20, []uint16{10, 0xC120, 0, 8}, nil, 3},
		{"into the read-only one", holding, 0x23, []uint16{8, 0}, nil, 2},
	}
	for _, c := range cases {
		got, result := m.Decode(c.table, c.address, c.values)
		if diff := cmp.Diff(c.want, got); diff != "" || result != c.result {
			t.Errorf("%s: exception %d, want %d; %s", c.name, result, c.result, diff)
		}
	}
}

// recorder notes what Encode sets.
type recorder map[place]uint16

func (r recorder) set(table modbusserver.Table, address uint16, values ...uint16) {
	for i, value := range values {
		r[place{table, address + uint16(i)}] = value
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	got := recorder{}
	mustBind(t, sheet).Encode(got.set, Shown{Quantities: []float64{1, 123.456, -12.34, 1}}, []float64{1, -12.3, 50})
	want := recorder{
		{modbusserver.InputRegisters, 0}: 0xE979, {modbusserver.InputRegisters, 1}: 0x42F6,
		{modbusserver.InputRegisters, 2}:      277, // (-12.34 + 40) / 0.1
		{modbusserver.InputRegisters, 10}:     0x8001,
		{modbusserver.InputRegisters, 20}:     0, // a negative number in an unsigned register
		{modbusserver.DiscreteInputs, 5}:      1,
		{modbusserver.Coils, 0}:               1,
		{modbusserver.Coils, 1}:               1,
		{modbusserver.HoldingRegisters, 0x20}: 0xFF85,
		{modbusserver.HoldingRegisters, 0x21}: 0x4248,
		{modbusserver.HoldingRegisters, 0x22}: 0,
		{modbusserver.HoldingRegisters, 0x23}: 0x0008,
		{modbusserver.HoldingRegisters, 0x24}: 0xFF85,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); diff != "" {
		t.Error(diff)
	}
}

// FuzzReadProfile shows that a profile that is accepted has no overlap, encodes
// any value and decodes what it encoded.
func FuzzReadProfile(f *testing.F) {
	f.Add([]byte(sheet))
	files, err := os.ReadDir("../../scenarios/microgrid/profiles")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile("../../scenarios/microgrid/profiles/" + file.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var faults document.Faults
		profile := ReadProfile("p.yaml", data, &faults)
		if faults.Err() != nil {
			return
		}
		var quantities []string
		var setpoints []plant.Setting
		for _, r := range profile.Registers {
			if r.Setpoint {
				setpoints = append(setpoints, plant.Setting{Name: r.Name, Least: -1e300, Most: 1e300})
			} else {
				quantities = append(quantities, r.Name)
			}
		}
		m := Bind(profile, quantities, setpoints, &faults)
		if err := faults.Err(); err != nil {
			t.Fatal(err)
		}
		encoded := recorder{}
		m.Encode(encoded.set, Shown{Quantities: make([]float64, len(quantities))}, make([]float64, len(setpoints)))
		for _, r := range profile.Registers {
			var values []uint16
			for n := range r.Type.width() {
				value, ok := encoded[place{r.Table, r.Address + uint16(n)}]
				if !ok {
					t.Fatalf("%s %d was not encoded", r.Table, int(r.Address)+n)
				}
				values = append(values, value)
			}
			if !r.Writeable {
				continue
			}
			if _, result := m.Decode(r.Table, r.Address, values); result != mbserver.Success {
				t.Fatalf("%s %d: exception %d for what it shows", r.Table, r.Address, result)
			}
		}
	})
}

// A value may stand as a code, and a client writes the code.
func TestCodesOfRegisters(t *testing.T) {
	t.Parallel()
	m := mustBind(t, `
name: Test device
registers:
  - {table: input,   address: 0, type: uint16, order: BA, codes: [16, 32], quantity: running}
  - {table: holding, address: 1, type: uint16, codes: [170, 85], setpoint: run}
  - {table: holding, address: 2, type: int16, scale: 10, codes: [100, 200], setpoint: power_setpoint_kw}
`)
	image := map[uint16]uint16{}
	m.Encode(func(_ modbusserver.Table, address uint16, values ...uint16) { image[address] = values[0] }, Shown{Quantities: []float64{1, 0, 0, 0}}, []float64{1, 0, 0})
	if diff := cmp.Diff(map[uint16]uint16{0: 32 << 8, 1: 85, 2: 10}, image); diff != "" {
		t.Error(diff)
	}
	writes, result := m.Decode(modbusserver.HoldingRegisters, 1, []uint16{170, 20})
	if diff := cmp.Diff([]Write{{Setpoint: "run", Value: 0}, {Setpoint: "power_setpoint_kw", Value: 1}}, writes); diff != "" || result != mbserver.Success {
		t.Error(diff, result)
	}
	for address := range uint16(2) { // of the second the number that stands for no code could be set
		if _, result := m.Decode(modbusserver.HoldingRegisters, 1+address, []uint16{1}); result != mbserver.IllegalDataValue {
			t.Errorf("a code that stands for nothing: %v", result)
		}
	}
}
