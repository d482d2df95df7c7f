package testbed

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/simulators/plant"
)

const (
	depot = "../../scenarios/ev-depot"
	fleet = "../../scenarios/fleet"
)

// troubles are the names of what is set only when something is wrong.
var troubles = regexp.MustCompile(`(^|_)(fault|trip|alarm)($|_)|^(anti_islanding|momentary_cessation|sag|swell|frequency_excursion|shedding|not_in_step)$`)

// watched is where the values of a device stand that the test looks at.
type watched struct {
	troubles []int
	power    int     // what it gives to its bus, or takes
	sign     float64 // 1 where it gives, -1 where it takes, 0 where it does neither
}

func watch(t *testing.T, p *plant.Plant, device plant.DeviceTruth) watched {
	t.Helper()
	names := p.Names(device.ID)
	var w watched
	for i, name := range names {
		if troubles.MatchString(name) {
			w.troubles = append(w.troubles, i)
		}
	}
	switch device.Type {
	case "grid", "pv", "battery", "genset":
		w.power, w.sign = slices.Index(names, "power_kw"), 1
	case "load", "ev_charger":
		w.power, w.sign = slices.Index(names, "power_kw"), -1
	case "transformer":
		w.power, w.sign = slices.Index(names, "losses_kw"), -1
	case "meter", "weather_station", "transfer_switch":
	default:
		t.Fatalf("a %s is not in the balance", device.Type)
	}
	return w
}

// Every plant of the product runs for 1000 ticks of its own and then, but for the fleet,
// through a day in long ones, without a fault, and its power balances to the milliwatt.
func TestPlantsRunQuietly(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		folder string
		ticks  int
		step   time.Duration // 0 for that of the plant
	}{
		{microgrid, 1000, 0}, {solarStorage, 1000, 0}, {depot, 1000, 0}, {fleet, 1000, 0},
		{microgrid, 8640, 10 * time.Second}, {solarStorage, 8640, 10 * time.Second}, {depot, 8640, 10 * time.Second},
	} {
		t.Run(fmt.Sprintf("%s for %d ticks", filepath.Base(one.folder), one.ticks), func(t *testing.T) {
			t.Parallel()
			source, err := load(one.folder, plant.Addresses{})
			if err != nil {
				t.Fatal(err)
			}
			if one.step > 0 {
				source.definition.Step = one.step
			}
			if source.definition.Description == "" {
				t.Error("nothing says what it is")
			}
			p := plant.New(source.definition)
			var list []watched
			for tick := range one.ticks {
				truth := p.Step(time.Time{})
				sum := 0.0
				for i, device := range truth.Devices {
					if tick == 0 {
						list = append(list, watch(t, p, device))
					}
					sum += list[i].sign * math.Round(1e6*device.Values[list[i].power])
					for _, k := range list[i].troubles {
						if device.Values[k] != 0 {
							t.Fatalf("tick %d: %s of %s is %v", tick+1, p.Names(device.ID)[k], device.ID, device.Values[k])
						}
					}
				}
				if sum != 0 {
					t.Fatalf("tick %d: %v mW are left over", tick+1, sum)
				}
			}
			for i, w := range list {
				if kind := p.Latest().Devices[i].Type; len(w.troubles) == 0 && kind != "meter" && kind != "weather_station" && kind != "breaker" {
					t.Errorf("nothing tells of trouble in a %s", kind)
				}
			}
		})
	}
}

// vendorRow is a register of a profile, with what a constant has.
type vendorRow struct {
	profileRow `yaml:",inline"`
	Codes      []float64
	Text       string
	Size       uint16
	Value      *float64
}

// asSite returns the row as read takes it, with the raw value where it is a code.
func (r vendorRow) asSite() siteRow {
	order := r.Order
	if order == "" {
		order = map[bool]string{true: "ABCDEFGH"[:2*r.width()]}[r.Type != "bool"]
	}
	scale, offset := 1.0, r.Offset
	if r.Scale != nil {
		scale = *r.Scale
	}
	bit := ""
	if r.Bit != nil {
		bit = strconv.Itoa(*r.Bit)
	}
	kind := r.Type
	if kind == "" {
		kind = "bool"
	}
	function := map[string]string{"coil": "1", "discrete": "2", "holding": "3", "input": "4"}[r.Table]
	number := func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) }
	return siteRow{
		point: map[string]string{"signal_name": r.Quantity + r.Setpoint, "scale": number(scale), "offset": number(offset)},
		places: map[string]string{
			"function_code": function, "register_address": strconv.Itoa(r.Address), "data_type": kind, "byte_order": order, "bit_position": bit,
		},
	}
}

func (r vendorRow) width() int {
	switch {
	case strings.HasSuffix(r.Type, "64"):
		return 4
	case strings.HasSuffix(r.Type, "32"):
		return 2
	default:
		return 1
	}
}

func vendorRows(t *testing.T, folder, profile string) []vendorRow {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, profile))
	if err != nil {
		t.Fatal(err)
	}
	var sheet struct{ Registers []vendorRow }
	if err := yaml.Unmarshal(data, &sheet); err != nil {
		t.Fatal(err)
	}
	return sheet.Registers
}

// expectRow holds what a client reads of a register to the truth.
func expectRow(t *testing.T, bed *Testbed, device string, row vendorRow, client reader) {
	t.Helper()
	if row.Text != "" {
		read := client.ReadHoldingRegisters
		if row.Table == "input" {
			read = client.ReadInputRegisters
		}
		data, err := read(uint16(row.Address), row.Size)
		want := strings.ReplaceAll(row.Text, "{id}", device)
		want = want[:min(len(want), 2*int(row.Size))]
		if got := strings.TrimRight(string(data), "\x00"); got != want || err != nil {
			t.Errorf("%s %s %d reads %q, not %q: %v", device, row.Table, row.Address, got, want, err)
		}
		return
	}
	site := row.asSite()
	got := read(t, client, site)
	if row.Value != nil {
		if got != *row.Value {
			t.Errorf("%s %s %d holds %v, not %v", device, row.Table, row.Address, got, *row.Value)
		}
		return
	}
	want := truthOf(t, bed.Plant(), device, row.profileRow)
	tolerance := 0.5000001 * site.number(t, "scale")
	switch {
	case row.Codes != nil:
		want, tolerance = row.Codes[int(want)], 0
	case strings.HasPrefix(row.Type, "float"):
		tolerance = math.Abs(want) * 1e-6
	case row.Type == "bool" || row.Type == "":
		tolerance = 0
	}
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s %s %s %d reads %v, the truth is %v", device, site.name(), row.Table, row.Address, got, want)
	}
}

// Every register of every vendor-like profile reads the truth, over the wire and as a
// client that nobody here wrote decodes it.
func TestVendorProfilesReadTheTruth(t *testing.T) {
	t.Parallel()
	layouts := map[string]bool{}
	for folder, least := range map[string]int{solarStorage: 280, depot: 250, fleet: 20} {
		bed := startFrozen(t, folder)
		for _, device := range bed.Plant().Definition().Devices { // give each something to do
			for setpoint, value := range map[string]float64{"battery": 20, "genset": 1, "load": 1} {
				if name := map[string]string{"battery": "power_setpoint_kw", "genset": "run", "load": "motor_run"}[setpoint]; setpoint == device.Type {
					if err := bed.Plant().Write(device.ID, name, value, "test"); err != nil {
						t.Fatal(err)
					}
				}
			}
			if device.Type == "ev_charger" {
				if err := bed.Plant().SetInput(device.ID, "arrive", 1, "test"); err != nil {
					t.Fatal(err)
				}
			}
		}
		advance(t, bed, 300)
		rows := 0
		for _, device := range bed.Plant().Definition().Devices {
			if strings.HasSuffix(folder, "fleet") && !strings.HasSuffix(device.ID, "_7") {
				continue
			}
			client := modbusClient(t, bed, device)
			for _, row := range vendorRows(t, folder, device.Profile) {
				if row.Quantity == "heartbeat" || row.Quantity == "clock_s" { // not of the device's truth
					continue
				}
				expectRow(t, bed, device.ID, row, client)
				layouts[row.Table+" "+row.Type+" "+row.Order] = true
				rows++
			}
		}
		if rows < least {
			t.Errorf("%s: only %d registers", folder, rows)
		}
	}
	if len(layouts) < 25 {
		t.Errorf("only %d layouts: %v", len(layouts), layouts)
	}
}
