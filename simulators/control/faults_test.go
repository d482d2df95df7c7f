package control

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
)

// Faults of all three groups are injected, listed and cleared over HTTP.
func TestFaultsOverHTTP(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.plant.Step(time.Now())
	f.want("GET", "/faults", "", 200, `{"success":true,"data":[]}`)
	f.want("POST", "/faults", `{"device":"grid","kind":"outage","duration_s":0.3}`, 200, `{"success":true,"data":{"id":1,"kind":"outage","device":"grid","duration_s":0.3,"amount":0}}`)
	f.want("POST", "/faults", `{"device":"load","kind":"bias","quantity":"power_kw","amount":5}`, 200, `{"success":true,"data":{"id":2,"kind":"bias","device":"load","quantity":"power_kw","amount":5}}`)
	f.want("POST", "/faults", `{"device":"load","kind":"exception","exception":4,"function":3}`, 200, `{"success":true,"data":{"id":3,"kind":"exception","device":"load","function":3,"exception":4}}`)
	f.want("POST", "/faults", `{"device":"grid","kind":"card_reboot"}`, 200, `{"success":true,"data":{"id":4,"kind":"card_reboot","device":"grid","duration_s":30}}`)
	unit3, unit4, function := 3, 4, 3
	want := []modbusserver.Fault{
		{Kind: "exception", Unit: &unit3, Function: &function, Exception: 4, Seed: 3},
		{Kind: "deaf", Unit: &unit4, DurationS: 30, Seed: 4},
		{Kind: "refuse", DurationS: 30, Seed: 4},
	}
	if diff := cmp.Diff(want, f.line.set); diff != "" {
		t.Error(diff)
	}
	f.plant.Step(time.Now())
	if truth, _ := f.plant.Latest().Device("grid"); truth.Inputs[0] != 0 {
		t.Error("the grid is there")
	}
	f.want("DELETE", "/faults/2", "", 200, `{"success":true,"data":{"id":2,"kind":"bias","device":"load","quantity":"power_kw","amount":5}}`)
	f.want("DELETE", "/faults/2", "", 404, `{"success":false,"error":{"code":"NOT_FOUND","message":"no fault 2 is set: it has ended, or never was"}}`)
	for range 3 {
		f.plant.Step(time.Now())
	}
	f.want("GET", "/faults", "", 200, `{"success":true,"data":[{"id":3,"kind":"exception","device":"load","function":3,"exception":4,"group":"wire"},{"id":4,"kind":"card_reboot","device":"grid","duration_s":30,"group":"wire"}]}`)
	f.want("DELETE", "/faults", "", 200, `{"success":true,"data":{"cleared":2}}`)
	if len(f.line.set) != 0 {
		t.Errorf("%+v", f.line.set)
	}
	var told []string
	events, _, _ := f.plant.Events().After(0)
	for _, one := range events {
		if one.Kind == "fault" || one.Kind == "cleared" {
			told = append(told, string(one.Kind)+" "+one.Device+" "+one.Name)
		}
	}
	if diff := cmp.Diff([]string{
		"fault load bias", "fault load exception", "fault grid card_reboot", "fault grid available", "cleared load bias",
		"cleared grid available", "cleared load exception", "cleared grid card_reboot",
	}, told); diff != "" {
		t.Error(diff)
	}
	if status, text := f.ask("GET", "/faults/kinds", ""); status != 200 || !strings.Contains(text, `{"kind":"stuck","group":"value","does":"shows the value of when it began, while the heartbeat goes on","takes":["quantity"]}`) {
		t.Errorf("%d %s", status, text)
	}
}

func TestFaultsThatCannotBeAreExplained(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.plant.Step(time.Now())
	for body, want := range map[string]string{
		`{"device":"grid","kind":"flood"}`:                           `kind: there is no \"flood\": use one of trip, `,
		`{"device":"wind","kind":"outage"}`:                          `device: there is no \"wind\": the plant has grid, load`,
		`{"device":"load","kind":"outage"}`:                          `kind: a load has no outage: it is of grid`,
		`{"device":"grid","kind":"outage","quantity":"power_kw"}`:    `quantity: outage takes no such parameter, but device, start_s, duration_s, amount, ramp_s`,
		`{"device":"grid","kind":"outage","duration_s":-1}`:          `duration_s: -1 is not between 0 and 1e+06`,
		`{"device":"grid","kind":"voltage","amount":7}`:              `input voltage_pct of grid cannot be 7: use 50 to 150`,
		`{"device":"grid","kind":"input","amount":1}`:                `input: name the input that is moved`,
		`{"device":"grid","kind":"input","input":"wind","amount":1}`: `device grid has no input \"wind\"`,
		`{"device":"grid","kind":"stuck","quantity":"wind"}`:         `quantity: the device has no \"wind\"`,
		`{"device":"grid","kind":"exception"}`:                       `exception`,
		`{"device":"grid","kind":"silence","function":300}`:          `function`,
		`{"device":"grid","kind":"outage","id":7}`:                   `id: it is given by the plant, leave it out`,
		`{"device":"grid","kind":"silence","function":3.5}`:          `the body cannot be read (function is not a whole number)`,
		`{"device":"grid","kind":1}`:                                 `the body cannot be read (kind is not a text)`,
		`{"device":"grid","kind":"outage","colour":"red"}`:           `unknown field \"colour\"`,
	} {
		if status, text := f.ask("POST", "/faults", body); status < 400 || status > 409 || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s\nwant %s", body, status, text, want)
		}
	}
	f.want("GET", "/faults", "", 200, `{"success":true,"data":[]}`)
	f.want("DELETE", "/faults/x", "", 400, `{"success":false,"error":{"code":"INVALID","message":"\"x\" is no number of a fault"}}`)
}

// A fault in a machine that is part of a state is there again after that is restored,
// and is not taken for another that has its number.
func TestFaultsOfARestoredStateAreCleared(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.plant.Step(time.Now())
	f.ask("POST", "/faults", `{"device":"grid","kind":"outage"}`)
	f.plant.Step(time.Now())
	f.ask("PUT", "/snapshots/dark", "")
	f.ask("DELETE", "/faults/1", "")
	f.want("GET", "/faults", "", 200, `{"success":true,"data":[]}`) // though no tick has come since
	f.plant.Step(time.Now())

	// Another plant, with another fault of that number.
	other := start(t)
	other.plant.Step(time.Now())
	_, dark := f.ask("GET", "/snapshots/dark", "")
	other.ask("POST", "/faults", `{"device":"load","kind":"load_step","amount":7}`)
	other.ask("PUT", "/snapshots/dark", dark)
	other.ask("POST", "/snapshots/dark/restore", "")
	other.want("GET", "/faults", "", 200, `{"success":true,"data":[{"id":1,"kind":"input","device":"grid","input":"available","amount":0,"group":"machine"}]}`)
	other.want("POST", "/faults", `{"device":"load","kind":"silence"}`, 200, `{"success":true,"data":{"id":2,"kind":"silence","device":"load"}}`)
	other.want("PUT", "/inputs/grid/available", `{"value":1}`, 409, `{"success":false,"error":{"code":"CONFLICT","message":"input available of grid is moved by a fault: clear that first"}}`)
	other.ask("DELETE", "/faults/1", "")
	other.plant.Step(time.Now())
	if truth, _ := other.plant.Latest().Device("grid"); truth.Inputs[0] != 1 {
		t.Error("the grid is not back")
	}
}

// What registers show is told to be wrong when it is, and not before.
func TestAFaultThatBeginsLaterIsToldThen(t *testing.T) {
	t.Parallel()
	f := start(t) // in steps of 100 ms
	f.plant.Step(time.Now())
	f.ask("POST", "/faults", `{"device":"load","kind":"bias","quantity":"power_kw","start_s":0.2}`)
	f.ask("POST", "/faults", `{"device":"load","kind":"silence","start_s":1000}`)
	f.ask("DELETE", "/faults/2", "")
	var ticks []uint64
	for range 4 {
		f.plant.Step(time.Now())
		f.faults.Watch()
	}
	events, _, _ := f.plant.Events().After(0)
	for _, one := range events {
		ticks = append(ticks, one.Tick)
	}
	if diff := cmp.Diff([]uint64{3}, ticks); diff != "" {
		t.Error(diff, events)
	}
}
