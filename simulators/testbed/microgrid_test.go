package testbed

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goburrow/modbus"
	"go.uber.org/goleak"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs the microgrid on free ports. Its clock stands still until the test
// moves it: the first tick is all there is.
func start(t *testing.T) (*Testbed, *ems.ManualClock) {
	t.Helper()
	clock := ems.NewManualClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
	bed, err := Start(Options{Folder: microgrid, Addresses: plant.Addresses{Free: true}, Clock: clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bed.Close(); err != nil {
			t.Error(err)
		}
	})
	return bed, clock
}

func connect(t *testing.T, bed *Testbed, device string, unit int) modbus.Client {
	t.Helper()
	handler := modbus.NewTCPClientHandler(bed.Address(device))
	handler.SlaveId, handler.Timeout = byte(unit), 20*time.Second
	t.Cleanup(func() { _ = handler.Close() })
	return modbus.NewClient(handler)
}

// tick lets the plant make n steps of 100 ms and waits until they are shown.
func tick(t *testing.T, bed *Testbed, clock *ems.ManualClock, n int) {
	t.Helper()
	clock.AwaitTimers(1)
	before := bed.Plant().Latest().Tick
	clock.Advance(time.Duration(n) * 100 * time.Millisecond)
	clock.AwaitTimers(1) // the plant waits again: all that was due is done
	if got := bed.Plant().Latest().Tick - before; got != uint64(n) {
		t.Fatalf("%d ticks, want %d", got, n)
	}
}

// ask returns the answer of the control API.
func ask(t *testing.T, bed *Testbed, method, path, body string) string {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+bed.Control()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", path, response.StatusCode, text, err)
	}
	return string(text)
}

// reader is a Modbus client as goburrow's.
type reader interface {
	ReadCoils(address, count uint16) ([]byte, error)
	ReadDiscreteInputs(address, count uint16) ([]byte, error)
	ReadHoldingRegisters(address, count uint16) ([]byte, error)
	ReadInputRegisters(address, count uint16) ([]byte, error)
}

// read reads a point as its row says, with a decoder of the test's own.
func read(t *testing.T, client reader, row siteRow) float64 {
	t.Helper()
	address, kind := uint16(row.integer(t, "register_address")), row.places["data_type"]
	count := uint16(1)
	if strings.HasSuffix(kind, "32") {
		count = 2
	} else if strings.HasSuffix(kind, "64") {
		count = 4
	}
	var data []byte
	var err error
	switch tableOfFunction[row.integer(t, "function_code")] {
	case "coil":
		data, err = client.ReadCoils(address, 1)
	case "discrete":
		data, err = client.ReadDiscreteInputs(address, 1)
	case "holding":
		data, err = client.ReadHoldingRegisters(address, count)
	default:
		data, err = client.ReadInputRegisters(address, count)
	}
	if err != nil {
		t.Fatalf("%s: %v", row.name(), err)
	}
	if kind == "bool" {
		raw := uint16(data[0])
		if row.places["bit_position"] != "" {
			raw = binary.BigEndian.Uint16(data) >> row.integer(t, "bit_position")
		}
		return float64(raw & 1)
	}
	inOrder := make([]byte, len(data))
	for i, letter := range row.places["byte_order"] {
		inOrder[letter-'A'] = data[i]
	}
	var raw float64
	switch kind {
	case "int16":
		raw = float64(int16(binary.BigEndian.Uint16(inOrder)))
	case "uint16":
		raw = float64(binary.BigEndian.Uint16(inOrder))
	case "int32":
		raw = float64(int32(binary.BigEndian.Uint32(inOrder)))
	case "uint32":
		raw = float64(binary.BigEndian.Uint32(inOrder))
	case "float32":
		raw = float64(math.Float32frombits(binary.BigEndian.Uint32(inOrder)))
	case "int64":
		raw = float64(int64(binary.BigEndian.Uint64(inOrder)))
	case "uint64":
		raw = float64(binary.BigEndian.Uint64(inOrder))
	case "float64":
		raw = math.Float64frombits(binary.BigEndian.Uint64(inOrder))
	default:
		t.Fatalf("%s: type %s", row.name(), kind)
	}
	return raw*row.number(t, "scale") + row.number(t, "offset")
}

// truthOf returns the true value behind a point.
func truthOf(t *testing.T, p *plant.Plant, device string, r profileRow) float64 {
	t.Helper()
	snapshot, _ := p.Latest().Device(device)
	if r.Setpoint != "" {
		i := slices.IndexFunc(p.Setpoints(device), func(s plant.Setting) bool { return s.Name == r.Setpoint })
		return snapshot.Setpoints[i]
	}
	return snapshot.Values[slices.Index(p.Names(device), r.Quantity)]
}

// expectTruth holds what a client reads of a point against what is behind it.
func expectTruth(t *testing.T, bed *Testbed, device, key string, row siteRow, profile []profileRow, client reader) {
	t.Helper()
	r, _ := find(t, row, profile)
	want := truthOf(t, bed.Plant(), device, r)
	tolerance := 0.5000001 * row.number(t, "scale") // of a whole number
	if strings.HasPrefix(r.Type, "float") {
		tolerance = math.Abs(want) * 1e-7
	}
	if got := read(t, client, row); math.Abs(got-want) > tolerance {
		t.Errorf("%s %s %s reads %v, the truth is %v", device, key, row.name(), got, want)
	}
}

// TestEveryPointReadsTheTruth reads every point of the site over real sockets,
// while the plant stands at a tick at which all devices are at work.
func TestEveryPointReadsTheTruth(t *testing.T) {
	t.Parallel()
	bed, clock := start(t)
	for _, w := range []struct {
		device, setpoint string
		value            float64
	}{
		{"battery", "power_setpoint_kw", -37.5}, {"genset", "run", 1}, {"genset", "power_setpoint_kw", 62.5},
		{"pv", "power_limit_pct", 41.5}, {"load", "demand_limit_kw", 66.25}, {"load", "non_critical_connected", 0}, {"grid", "import_alarm_kw", 12.345},
	} {
		if err := bed.Plant().Write(w.device, w.setpoint, w.value, "test"); err != nil {
			t.Fatal(err)
		}
	}
	if err := bed.Plant().SetInput("battery", "cell_temperature_rise_c", 31, "test"); err != nil {
		t.Fatal(err)
	}
	for range 3 { // the clock may run ahead of the plant by 10 s at most
		tick(t, bed, clock, 90)
	}
	points := 0
	for _, channel := range readChannels(t) {
		one := deviceOf(t, channel)
		profile := readProfileRows(t, one.Profile)
		client := connect(t, bed, one.ID, one.Unit)
		for key, row := range readRows(t, channel) {
			expectTruth(t, bed, one.ID, key, row, profile, client)
			points++
		}
	}
	if points != 80 {
		t.Errorf("%d points", points)
	}
}

// TestChargingMovesTheMeter is the closed loop on real frames: a setpoint written
// to the battery shows at once where it was written, and at the grid meter when
// the plant has followed it.
func TestChargingMovesTheMeter(t *testing.T) {
	t.Parallel()
	bed, clock := start(t)
	battery, grid := connect(t, bed, "battery", 1), connect(t, bed, "grid", 7)
	meter := func() float64 {
		t.Helper()
		data, err := grid.ReadInputRegisters(3000, 2)
		if err != nil {
			t.Fatal(err)
		}
		return float64(int32(binary.BigEndian.Uint32(data))) * 0.001
	}
	truth := func() (power, others float64) {
		for _, device := range bed.Plant().Latest().Devices {
			value := device.Values[slices.Index(bed.Plant().Names(device.ID), "power_kw")]
			switch device.ID {
			case "load":
				others += value
			case "pv", "genset":
				others -= value
			case "battery":
				power = value
			}
		}
		return power, others
	}
	charge := []byte{0x00, 0x00, 0xC2, 0x70} // -60 kW, low word first
	if _, err := battery.WriteMultipleRegisters(100, 2, charge); err != nil {
		t.Fatal(err)
	}
	back := func() {
		t.Helper()
		if data, err := battery.ReadHoldingRegisters(100, 2); err != nil || string(data) != string(charge) {
			t.Errorf("read back % X, %v", data, err)
		}
	}
	back()
	if power, others := truth(); power != 0 || math.Abs(meter()-others) > 0.0006 {
		t.Errorf("before the tick the battery has %v, the meter %v, the others %v", power, meter(), others)
	}
	tick(t, bed, clock, 20)
	back()
	power, others := truth()
	if power != -60 {
		t.Errorf("the battery has %v kW", power)
	}
	if math.Abs(meter()-(others+60)) > 0.0006 {
		t.Errorf("the meter shows %v, load less PV is %v", meter(), others)
	}
	for name, write := range map[string]func() ([]byte, error){
		"out of range":    func() ([]byte, error) { return battery.WriteMultipleRegisters(100, 2, []byte{0, 0, 0x42, 0xCA}) },
		"half a value":    func() ([]byte, error) { return battery.WriteSingleRegister(100, 0) },
		"a measurement":   func() ([]byte, error) { return battery.WriteSingleRegister(20, 0) },
		"not there":       func() ([]byte, error) { return battery.WriteSingleRegister(5000, 0) },
		"a discrete step": func() ([]byte, error) { return battery.ReadDiscreteInputs(0, 1) },
	} {
		want := "exception '2'"
		if name == "out of range" {
			want = "exception '3'"
		}
		if _, err := write(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	back()
}

// TestOperatorInputShowsAtTheNextTick provokes the alarm of the site the way the
// newcomer does.
func TestOperatorInputShowsAtTheNextTick(t *testing.T) {
	t.Parallel()
	bed, clock := start(t)
	battery := connect(t, bed, "battery", 1)
	temperature := func() float32 {
		t.Helper()
		data, err := battery.ReadHoldingRegisters(8, 2)
		if err != nil {
			t.Fatal(err)
		}
		return math.Float32frombits(uint32(binary.BigEndian.Uint16(data[2:]))<<16 | uint32(binary.BigEndian.Uint16(data)))
	}
	before := temperature()
	ask(t, bed, "PUT", "/inputs/battery/cell_temperature_rise_c", `{"value": 35}`)
	if got := temperature(); got != before {
		t.Errorf("the rise shows before its tick: %v", got)
	}
	tick(t, bed, clock, 1)
	if got := temperature(); got < 59.9 || got > 60.1 {
		t.Errorf("%v C after %v", got, before)
	}
	var truth struct {
		Data struct {
			Tick    uint64
			Devices map[string]struct{ Values map[string]float64 }
		}
	}
	if err := json.Unmarshal([]byte(ask(t, bed, "GET", "/truth", "")), &truth); err != nil {
		t.Fatal(err)
	}
	if got := truth.Data.Devices["battery"].Values["cell_temperature_max_c"]; float32(got) != temperature() || truth.Data.Tick != 2 {
		t.Errorf("truth %v at tick %d, register %v", got, truth.Data.Tick, temperature())
	}
	metrics := ask(t, bed, "GET", "/metrics", "")
	for _, line := range []string{
		`simulator_modbus_requests_total{device="battery",function="3"} 4`,
		`simulator_modbus_registers_served_total{device="battery"} 8`,
		`simulator_ticks_total 2`,
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("metrics lack %s", line)
		}
	}
}

// ruleJudge evaluates the rules of the site against the truth, without delays and
// what else takes time.
type ruleJudge struct {
	rules   []ems.Rule
	sources map[string]ruleSource // by the source of a condition
}

type ruleSource struct {
	device   string
	register profileRow
}

func newRuleJudge(t *testing.T) ruleJudge {
	t.Helper()
	var file struct{ Rules []ems.Rule }
	readYAML(t, "rules.yaml", &file)
	judge := ruleJudge{rules: file.Rules, sources: map[string]ruleSource{}}
	for _, channel := range readChannels(t) {
		one := deviceOf(t, channel)
		profile := readProfileRows(t, one.Profile)
		for key, row := range readRows(t, channel) {
			r, _ := find(t, row, profile)
			judge.sources["comsrv:"+strconv.Itoa(channel.ID)+":"+key] = ruleSource{one.ID, r}
		}
	}
	return judge
}

// firing returns the ids of the rules whose conditions hold.
func (j ruleJudge) firing(t *testing.T, p *plant.Plant) string {
	t.Helper()
	var ids []string
	for _, rule := range j.rules {
		if j.holds(t, p, rule.Logic, rule.Conditions) {
			ids = append(ids, rule.ID)
		}
	}
	return strings.Join(ids, " ")
}

func (j ruleJudge) holds(t *testing.T, p *plant.Plant, logic ems.Logic, conditions []ems.Condition) bool {
	t.Helper()
	held := 0
	for _, c := range conditions {
		if c.Conditions != nil && j.holds(t, p, c.Logic, c.Conditions) || c.Conditions == nil && j.compares(t, p, c) {
			held++
		}
	}
	switch logic {
	case ems.Any:
		return held > 0
	case ems.None:
		return held == 0
	default:
		return held == len(conditions)
	}
}

func (j ruleJudge) compares(t *testing.T, p *plant.Plant, c ems.Condition) bool {
	t.Helper()
	if c.Function != "" {
		return false // an undisturbed value has no slope that matters
	}
	number := func(source string) float64 {
		if source == "" {
			return 0
		}
		from, ok := j.sources[source]
		if !ok && source != "modsrv:battery_001:cell_temperature_max" {
			t.Fatalf("source %s", source)
		} else if !ok {
			from = j.sources["comsrv:1002:T:5"]
		}
		return truthOf(t, p, from.device, from.register)
	}
	left, right := number(c.Source)-number(c.Minus), c.Value.Number
	fires, known := map[string]bool{">": left > right, ">=": left >= right, "<": left < right, "==": left == right}[c.Operator]
	if !known {
		t.Fatalf("%s: operator %s", c.Source, c.Operator)
	}
	return fires
}

// TestUndisturbedPlantRaisesNoAlarm holds every rule of the site against the
// hours until evening, and shows that each can be provoked.
func TestUndisturbedPlantRaisesNoAlarm(t *testing.T) {
	t.Parallel()
	judge := newRuleJudge(t)
	source, err := load(microgrid, plant.Addresses{})
	if err != nil {
		t.Fatal(err)
	}
	source.definition.Step = time.Second
	p := plant.New(source.definition)
	for base, want := range map[float64]string{0: "grid_reverse_power", 80: ""} { // at noon
		if err := p.SetInput("load", "base_kw", base, "test"); err != nil {
			t.Fatal(err)
		}
		p.Step(time.Time{})
		if got := judge.firing(t, p); got != want {
			t.Errorf("a load of %v kW: %q fire, want %q", base, got, want)
		}
	}
	if err := p.SetInput("load", "base_kw", 80, "test"); err != nil {
		t.Fatal(err)
	}
	for second := range 8 * 3600 {
		p.Step(time.Time{})
		if second%10 != 0 { // to judge takes longer than a step
			continue
		}
		if got := judge.firing(t, p); got != "" {
			t.Fatalf("%v: %s fires by itself", p.Latest().Simulated, got)
		}
	}
	for _, c := range []struct {
		device, input string
		value         float64
		seconds       int
		want          string
	}{
		{"battery", "cell_temperature_rise_c", 35, 1, "battery_cell_over_temperature"},
		{"battery", "cell_temperature_rise_c", 0, 1, ""},
		{"grid", "available", 0, 1, "grid_lost"},
		{"grid", "available", 1, 1, ""},
		{"genset", "fuel_leak_l_per_h", 36000, 25, "genset_low_fuel"},
		{"battery", "self_discharge_kw", 36000, 10, "battery_low_state_of_charge genset_low_fuel"},
	} {
		if err := p.SetInput(c.device, c.input, c.value, "test"); err != nil {
			t.Fatal(err)
		}
		for range c.seconds {
			p.Step(time.Time{})
		}
		if got := judge.firing(t, p); got != c.want {
			t.Errorf("%s %s = %v: %q fire, want %q", c.device, c.input, c.value, got, c.want)
		}
	}
}

func TestSunShinesAtDemoTime(t *testing.T) {
	t.Parallel()
	bed, _ := start(t)
	power := truthOf(t, bed.Plant(), "pv", profileRow{Quantity: "power_kw"})
	if power < 20 {
		t.Errorf("PV delivers %v kW at start", power)
	}
	if text := fmt.Sprint(bed.Plant().Latest().Simulated.Format(time.RFC3339Nano)); text != "2026-06-21T11:00:00.1Z" {
		t.Errorf("simulated time %s", text)
	}
}
