package device

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	peer "github.com/andig/gosunspec"
	over "github.com/andig/gosunspec/modbus"
	_ "github.com/andig/gosunspec/models" // which registers what that library knows of each model
	"github.com/google/go-cmp/cmp"
	client "github.com/grid-x/modbus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/system/ems"
)

const sunspecSheet = `
name: Test inverter
sunspec:
  models:
    - model: 1
      points:
        - {point: Mn, text: Maker}
        - {point: Md, text: Model 7}
        - {point: SN, text: "no {id}"}
    - model: 103
      points:
        - {point: A, quantity: temperature_c, factor: 2}
        - {point: A_SF, value: -1}
        - {point: W, quantity: power_kw, factor: 1000}
        - {point: W_SF, value: 1}
        - {point: WH, quantity: power_kw, factor: 1000}
        - {point: WH_SF, value: 0}
        - {point: St, quantity: running, codes: [2, 4]}
        - {point: Evt1, bit: 20, quantity: fault}
        - {point: EvtVnd1, value: 7}
    - model: 123
      points:
        - {point: WMaxLimPct, setpoint: limit_pct}
        - {point: WMaxLimPct_SF, value: -2}
        - {point: WMaxLim_Ena, setpoint: run}
        - {point: OutPFSet_SF, value: -3}
        - {point: VArPct_SF, value: 0}
    - model: 160
      parts: 2
      points:
        - {point: DCA_SF, value: -1}
        - {point: N, value: 2}
        - {point: DCA, part: 2, quantity: power_kw}
`

// serveMap puts a map of a device on a socket.
func serveMap(t *testing.T, m *Map, quantities, setpoints []float64) (address string, unit *modbusserver.Unit) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unit = modbusserver.NewUnit(m.Ranges(), func(table modbusserver.Table, address uint16, values []uint16) mbserver.Exception {
		_, result := m.Decode(table, address, values)
		return result
	})
	unit.Update(func(image *modbusserver.Image) {
		m.EncodeConstants("pv7", image.Set)
		m.Encode(image.Set, Shown{Quantities: quantities}, setpoints)
	})
	server, err := modbusserver.Serve(listener, map[byte]*modbusserver.Unit{1: unit}, modbusserver.Options{
		Name: "sunspec", Clock: ems.SystemClock{}, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String(), unit
}

// A client that nobody here wrote discovers the models, and reads the values.
func TestAnotherClientDiscoversTheModels(t *testing.T) {
	t.Parallel()
	m := mustBind(t, sunspecSheet)
	// running, power_kw, temperature_c, fault; run, power_setpoint_kw, limit_pct
	address, _ := serveMap(t, m, []float64{1, 12.34, 21.5, 1}, []float64{1, 0, 87.5})
	handler := client.NewTCPClientHandler(address)
	handler.SlaveID = 1
	t.Cleanup(func() { _ = handler.Close() })
	found, err := over.Open(client.NewClient(handler))
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	found.Do(func(device peer.Device) {
		device.Do(func(model peer.Model) {
			block := 0
			model.Do(func(part peer.Block) {
				if err := part.Read(); err != nil {
					t.Fatal(err)
				}
				part.Do(func(point peer.Point) {
					switch kind := point.Type(); {
					case kind == "string":
						if text := strings.TrimRight(point.StringValue(), "\x00"); text != "" {
							values = append(values, fmt.Sprintf("%d %s %s", model.Id(), point.Id(), text))
						}
					case kind == "sunssf" || kind == "pad" || point.NotImplemented():
					case strings.HasPrefix(kind, "enum") || strings.HasPrefix(kind, "bitfield") || kind == "count":
						values = append(values, fmt.Sprintf("%d %s %v", model.Id(), point.Id(), point.Value()))
					default:
						values = append(values, fmt.Sprintf("%d %d %s %.6g", model.Id(), block, point.Id(), point.ScaledValue()))
					}
				})
				block++
			})
		})
	})
	want := []string{
		"1 Mn Maker", "1 Md Model 7", "1 SN no pv7",
		"103 0 A 43", "103 0 W 12340", "103 0 WH 12340", "103 St 4", "103 Evt1 0x00100000", "103 EvtVnd1 0x00000007",
		"123 0 WMaxLimPct 87.5", "123 WMaxLim_Ena 1",
		"160 N 2", "160 1 DCWH NaN", "160 2 DCA 12.3", "160 2 DCWH NaN", // counters of no exponent
	}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Error(diff)
	}
}

// The models lie where the specification puts them, and what a device does not
// implement says so.
func TestSunSpecLayout(t *testing.T) {
	t.Parallel()
	m := mustBind(t, sunspecSheet)
	image := map[uint16]uint16{}
	set := func(_ modbusserver.Table, address uint16, values ...uint16) {
		for i, value := range values {
			image[address+uint16(i)] = value
		}
	}
	m.EncodeConstants("pv7", set)
	m.Encode(set, Shown{Quantities: []float64{0, -0.01, 0, 0}}, []float64{0, 0, 100})
	for address, want := range map[uint16]uint16{
		40000: 0x5375, 40001: 0x6E53, 40002: 1, 40003: 66, 40004: 'M'<<8 | 'a', 40069: 0x8000,
		40070: 103, 40071: 50, 40072: 0, 40073: 0xFFFF, 40076: 0xFFFF, 40084: 0xFFFF, // W = -10 W in units of 10
		40122: 123, 40123: 24, 40127: 10000, 40131: 0,
		40148: 160, 40149: 48, 40198: 0xFFFF, 40199: 0,
	} {
		if got, there := image[address]; got != want || !there {
			t.Errorf("%d holds %#x, %v, want %#x", address, got, there, want)
		}
	}
	if len(image) != 40200-40000 {
		t.Errorf("%d registers", len(image))
	}
	writes, result := m.Decode(modbusserver.HoldingRegisters, 40127, []uint16{5000})
	if diff := cmp.Diff([]Write{{Setpoint: "limit_pct", Value: 50}}, writes); diff != "" || result != mbserver.Success {
		t.Error(diff, result)
	}
	for address, want := range map[uint16]mbserver.Exception{40128: mbserver.IllegalDataAddress, 40070: mbserver.IllegalDataAddress, 40127: mbserver.IllegalDataValue} {
		if _, result := m.Decode(modbusserver.HoldingRegisters, address, []uint16{20000}); result != want {
			t.Errorf("a write at %d: %v", address, result)
		}
	}
}

// A counter begins again at 0 where a number stays at its limit.
func TestCountersBeginAgain(t *testing.T) {
	t.Parallel()
	if got := pack(1<<32+5, Acc32, "ABCD"); got[0] != 0 || got[1] != 5 {
		t.Error(got)
	}
	if got := pack(1<<32+5, Uint32, "ABCD"); got[0] != 0xFFFF || got[1] != 0xFFFF {
		t.Error(got)
	}
}

func TestSunSpecFaults(t *testing.T) {
	t.Parallel()
	for change, want := range map[[2]string]string{
		{"model: 103", "model: 999"}:                                     `p.yaml:10: key "sunspec.models[1].model": "999" is unknown: use one of 1, 103, 120, `,
		{"point: A,", "point: B,"}:                                       `p.yaml:12: key "sunspec.models[1].points[0].point": model 103 has no point "B" there`,
		{"        - {point: W_SF, value: 1}\n", ""}:                      `key "sunspec.models[1].points[2].point": W needs the value of W_SF, its scale factor`,
		{"bit: 20", "bit: 32"}:                                           `32 is out of range: use 0 to 31`,
		{"factor: 2", "factor: 0"}:                                       `must not be 0: every value would read the same`,
		{"text: Maker", "text: " + strings.Repeat("M", 33)}:              `is longer than the 32 bytes of Mn`,
		{"part: 2", "part: 3"}:                                           `3 is out of range: use 0 to 2`,
		{"point: A, quantity: temperature_c", "point: A, setpoint: run"}: `A can only be read`,
		{"point: St, quantity: running", "point: St"}:                    `St shows either a quantity, a setpoint or a value: name one`,
		{"quantity: fault", "quantity: wind_m"}:                          `the device has no quantity "wind_m"`,
	} {
		text := strings.Replace(sunspecSheet, change[0], change[1], 1)
		if text == sunspecSheet {
			t.Fatalf("no %q", change[0])
		}
		var faults document.Faults
		if profile := ReadProfile("p.yaml", []byte(text), &faults); faults.Count() == 0 {
			Bind(profile, testQuantities, testSetpoints, &faults)
		}
		if err := faults.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v\nwant %s", change[1], err, want)
		}
	}
}

// Models fill the addresses to the last, and not beyond.
func TestSunSpecModelsEndBefore65536(t *testing.T) {
	t.Parallel()
	const length = 26 + 64*32 // of model 803 with 64 strings
	text := "name: Test battery\nsunspec:\n  address: %d\n  models:\n" + strings.Repeat("    - {model: 803, parts: 64, points: [{point: NStr, value: 64}]}\n", 8)
	first := 1<<16 - 2 - 8*(2+length) - 2
	var faults document.Faults
	profile := ReadProfile("p.yaml", fmt.Appendf(nil, text, first), &faults)
	if err := faults.Err(); err != nil {
		t.Fatal(err)
	}
	if last := profile.Registers[len(profile.Registers)-1]; last.Address != 65534 || last.Constant.Words[0] != endModel {
		t.Errorf("the end is at %d", last.Address)
	}
	ReadProfile("p.yaml", fmt.Appendf(nil, text, first+1), &faults)
	want := `p.yaml:12: key "sunspec.models[7].model": model 803 of 2074 registers from 63459 on would run past 65535: use fewer models or parts, or a lower address`
	if err := faults.Err(); err == nil || err.Error() != want {
		t.Error(err)
	}
}

// The table has the lengths of the specification, without a gap or an overlap.
func TestSunSpecTable(t *testing.T) {
	t.Parallel()
	lengths := map[int][2]int{
		1: {66, 0}, 103: {50, 0}, 120: {26, 0}, 121: {30, 0}, 122: {44, 0}, 123: {24, 0}, 124: {24, 0},
		160: {8, 20}, 203: {105, 0}, 302: {0, 5}, 303: {0, 1}, 307: {11, 0}, 802: {62, 0}, 803: {26, 32},
	}
	models := sunspecModels()
	if len(models) != len(lengths) {
		t.Errorf("%d models", len(models))
	}
	for id, want := range lengths {
		for k, points := range [][]sunspecPoint{models[id].fixed, models[id].repeating} {
			next := 0
			for _, p := range points {
				if p.offset != next || p.size < 1 || typeOf(p.kind) != Text && p.kind != "string" && typeOf(p.kind).width() != p.size {
					t.Errorf("model %d: %+v, and the one before ends at %d", id, p, next)
				}
				next = p.offset + p.size
			}
			if next != want[k] {
				t.Errorf("model %d is %d registers long, want %d", id, next, want[k])
			}
		}
	}
}
