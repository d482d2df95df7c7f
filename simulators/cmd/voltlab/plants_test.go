package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// run executes voltlab and returns what it writes.
func run(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	command := newCommand()
	command.SetOut(&out)
	command.SetErr(io.Discard)
	command.SetArgs(args)
	err := command.ExecuteContext(ctx)
	return out.String(), err
}

func TestDevicesOfAPlantAreListed(t *testing.T) {
	t.Parallel()
	text, err := run(t.Context(), "devices", microgrid, "--names")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"DEVICE   TYPE     BUS   ADDRESS         UNIT  PROFILE\n",
		"\ngenset   genset   main  127.0.0.1:5023  3     profiles/genset.yaml\n",
		"\ngrid\n  quantities: power_kw, reactive_power_kvar, ",
		"breaker_closed (0 or 1), import_alarm_kw (0 to 500)\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	var out bytes.Buffer
	if err := listPlants(&out, []string{filepath.Join(microgrid, "plant.yaml")}); err != nil || !strings.Contains(out.String(), "\nmicrogrid  5        100ms  127.0.0.1:5020  a small site ") {
		t.Errorf("%s, %v", out.String(), err)
	}
	if _, err := run(t.Context(), "plants"); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("plants where there are none: %v", err)
	}
}

// The parameters of a type are listed as what reads them asks for them.
func TestTypesOfDevicesAreListed(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"types":            "\ngenset           a diesel engine with a generator\n",
		"types genset":     "\nreverse_power_pct              %      1 to 50         10        of the rated power, taken from the bus, above which it trips (ANSI 32); the engine takes up 20\n",
		"types ev_charger": "\nrated_kw                    kW    1 to 2000      150        of each connector (where current: dc)\n",
		"types pv":         "\nweather                                     a text              none           id of the weather_station whose sky the array is under\n",
		"types load":       "\nmaximum_kw                 kW    0.1 to 100000    required   of its connection: ",
	} {
		if text, err := run(t.Context(), strings.Fields(args)...); err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v, no %q in:\n%s", args, err, want, text)
		}
	}
	if _, err := run(t.Context(), "types", "windmill"); err == nil || ems.CodeOf(err) != ems.CodeNotFound || !strings.HasPrefix(err.Error(), `no type of device "windmill": there are battery, breaker, `) {
		t.Error(err)
	}
	for _, kind := range plant.Kinds() {
		for _, one := range kind.Parameters() {
			unitless := one.Allowed == "a text" || strings.Contains(one.Allowed, " or ") || regexp.MustCompile(`factor|exponent$|_current$|albedo|racks?$|module$|connectors|attempts|each_way|digits|cycle_life|x_to_r`).MatchString(one.Key)
			if (unitOf(one.Key) == "") != unitless {
				t.Errorf("%s %s has the unit %q", kind.Name, one.Key, unitOf(one.Key))
			}
		}
	}
}

// served starts a plant on free ports and returns where its control API is.
func served(t *testing.T, args ...string) (control string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var log serveLog
	done := make(chan error, 1)
	go func() { done <- serve(ctx, &log, append([]string{microgrid, "--free"}, args...)...) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	address := regexp.MustCompile(`api=control address=(\S+)`)
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(log.String(), "plant is running"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not running: %s", log.String())
		}
	}
	return address.FindStringSubmatch(log.String())[1]
}

func TestTruthOfARunningPlant(t *testing.T) {
	t.Parallel()
	control := served(t, "--frozen", "--speed", "60")
	for args, want := range map[string]string{
		"genset.fuel_level_pct": "80\n",
		"battery.run":           "1\n",
		"grid.available":        "1\n",
	} {
		if text, err := run(t.Context(), "truth", "--control", control, args); err != nil || text != want {
			t.Errorf("%s: %q, %v", args, text, err)
		}
	}
	text, err := run(t.Context(), "truth", "--control", control, "genset")
	if err != nil || !strings.HasPrefix(text, "microgrid, tick 1, 2026-06-21T11:00:00.1Z, digest ") || !regexp.MustCompile(`\ngenset +fuel_level_pct +80 `).MatchString(text) || strings.Contains(text, "\npv  ") {
		t.Errorf("%s, %v", text, err)
	}
	for args, want := range map[string]string{
		"wind":       `no device "wind": the plant has battery, genset, grid, load, pv`,
		"grid.mood":  `device grid has no value "mood": it has breaker_position, `,
		"grid.power": `device grid has no value "power"`,
	} {
		if _, err := run(t.Context(), "truth", "--control", control, args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if _, err := run(t.Context(), "truth", "--control", "127.0.0.1:1"); ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "voltlab serve PLANT") {
		t.Error(err)
	}
}

// A plant begins with a state that was saved, as it was then.
func TestAPlantBeginsWithAState(t *testing.T) {
	t.Parallel()
	control := served(t, "--frozen")
	ask := func(control, method, path, body string) string {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, "http://"+control+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %d %s, %v", method, path, response.StatusCode, text, err)
		}
		return string(text)
	}
	ask(control, "PUT", "/inputs/battery/self_discharge_kw", `{"value": 3600}`)
	ask(control, "POST", "/steps", `{"ticks": 300}`)
	ask(control, "PUT", "/snapshots/low", "")
	file := filepath.Join(t.TempDir(), "low.json")
	if err := os.WriteFile(file, []byte(ask(control, "GET", "/snapshots/low", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := run(t.Context(), "truth", "--control", control)
	if err != nil || !strings.Contains(want, "tick 301") {
		t.Fatal(want, err)
	}
	again := served(t, "--frozen", "--from", file)
	if got, err := run(t.Context(), "truth", "--control", again); err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	within, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for args, want := range map[string]string{
		"nowhere":                 "conditions/nowhere.json: no such file",
		microgrid + "/plant.yaml": "is no snapshot of a plant",
	} {
		if err := serve(within, io.Discard, microgrid, "--free", "--from", args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--from %s: %v", args, err)
		}
	}
	if err := serve(within, io.Discard, microgrid, "--free", "--speed", "0"); ems.CodeOf(err) != ems.CodeInvalid {
		t.Errorf("--speed 0: %v", err)
	}
}

// A fault is injected, seen and cleared from the command line, and what is wrong with
// one is told.
func TestFaultsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	control := served(t)
	do := func(args ...string) (string, error) {
		return run(t.Context(), append([]string{"faults", "--control", control}, args...)...)
	}
	text, err := do()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"KIND ", "\ncell_overheating ", "  machine  battery ", "  amount (40) ramp_s\n", "\nstuck  ", "\nsilence ", "  wire     all ", "\ncard_reboot ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if text, err := do("inject", "battery", "cell_overheating", "amount=45"); err != nil || text != "fault 1 is set: voltlab faults clear 1 ends it\n" {
		t.Error(text, err)
	}
	if text, err := do("inject", "pv", "silence", "function=3"); err != nil || !strings.HasPrefix(text, "fault 2 is set") {
		t.Error(text, err)
	}
	if text, err := do("active"); err != nil || !strings.Contains(text, "\n1   battery  cell_overheating  machine  0\n2   pv       silence           wire     0\n") {
		t.Error(text, err)
	}
	if text, err := do("clear", "2"); err != nil || text != "cleared\n" {
		t.Error(text, err)
	}
	if _, err := do("clear"); err != nil {
		t.Error(err)
	}
	if text, err := do("active"); err != nil || strings.Contains(text, "pv") {
		t.Error(text, err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"inject", "wind", "silence"}, `device: there is no "wind": the plant has battery, `},
		{[]string{"inject", "pv", "silence", "function"}, `"function": write a parameter as NAME=VALUE`},
		{[]string{"inject", "pv", "silence", "colour=red"}, `"colour=red": no fault takes a parameter colour: there are amount, count, `},
		{[]string{"inject", "pv", "silence", "function=3.5"}, `"function=3.5": function is a whole number`},
		{[]string{"inject", "pv", "derate", "amount=half"}, `"amount=half": amount is a number`},
		{[]string{"inject", "pv", "derate", "amount=nan"}, `"amount=nan": amount is a number`},
		{[]string{"inject", "pv", "stuck", "quantity=5"}, `"quantity=5": quantity is a name: voltlab devices PLANT --names lists them`},
		{[]string{"inject", "battery", "stuck", "quantity=cycles"}, `quantity: no register of battery shows cycles, so nobody would see it`},
		{[]string{"inject", "battery", "skewed"}, `quantity: no register of battery shows clock_s`},
		{[]string{"inject", "battery", "swapped", "quantity=frequency_hz"}, `quantity: battery shows frequency_hz in one register, of which no words can be swapped`},
		{[]string{"clear", "99"}, `no fault 99 is set`},
	} {
		if _, err := do(c.args...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.args, err, c.want)
		}
	}
}
