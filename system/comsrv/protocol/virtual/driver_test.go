package virtual_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/conformance"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/virtual"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	conformance.Run(t, func(*testing.T) conformance.Subject {
		points := []config.MappedPoint{
			point(ems.Telemetry, 1, "power"), point(ems.Telemetry, 2, "energy"), point(ems.Signal, 1, "door"),
			point(ems.Control, 1, "run"), point(ems.Adjustment, 1, "limit"),
		}
		points[1].Group = "slow"
		return conformance.Subject{Factory: virtual.New, Channel: config.Channel{ID: 1, Protocol: virtual.Name, Points: points}}
	})
}

func point(kind ems.PointType, id ems.PointID, name string) config.MappedPoint {
	return config.MappedPoint{Point: ems.Point{ID: id, Type: kind, Name: name, Scale: 1, Group: ems.DefaultGroup}}
}

// midnight is 2026-03-01 00:00 UTC, where every period of the tests begins.
var midnight = time.Unix(1772323200, 0)

type plant struct {
	t      testing.TB
	clock  *ems.ManualClock
	driver protocol.Driver
	points []config.MappedPoint
}

func newPlant(t testing.TB, settings config.Virtual, points ...config.MappedPoint) *plant {
	t.Helper()
	p := &plant{t: t, clock: ems.NewManualClock(midnight), points: points}
	driver, err := virtual.New(protocol.Setting{
		Channel: config.Channel{ID: 7, Protocol: virtual.Name, Points: points, Virtual: settings}, Clock: p.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.driver = driver
	return p
}

// read returns the value of each point in its unit, or why it is bad.
func (p *plant) read() map[string]any {
	p.t.Helper()
	readings, err := p.driver.ReadBatch(p.t.Context(), ems.DefaultGroup)
	if err != nil {
		p.t.Fatal(err)
	}
	shown := map[string]any{}
	for _, reading := range readings {
		at := &p.points[reading.Point]
		if reading.Quality == ems.Good && reading.Reason == "" {
			shown[at.Name] = at.FromRaw(reading.Raw)
		} else {
			shown[at.Name] = reading.Reason
		}
	}
	return shown
}

func (p *plant) expect(want map[string]any) {
	p.t.Helper()
	if difference := cmp.Diff(want, p.read()); difference != "" {
		p.t.Error(difference)
	}
}

func (p *plant) set(index int, value float64) {
	p.t.Helper()
	if err := p.driver.(protocol.Settable).SetPoint(index, p.points[index].ToRaw(value)); err != nil {
		p.t.Fatal(err)
	}
}

func TestWavesAreFunctionsOfTheTime(t *testing.T) {
	t.Parallel()
	wave := func(source config.VirtualPoint) config.VirtualPoint {
		source.Period = 24 * time.Hour
		return source
	}
	p := newPlant(t, config.Virtual{Points: map[string]config.VirtualPoint{
		"constant": {Wave: config.Constant, Offset: 4.5},
		"sine":     wave(config.VirtualPoint{Wave: config.Sine, Offset: 12, Amplitude: 8}),
		"late":     wave(config.VirtualPoint{Wave: config.Sine, Offset: 12, Amplitude: 8, Phase: 18 * time.Hour}),
		"ramp":     wave(config.VirtualPoint{Wave: config.Ramp, Offset: 100, Amplitude: -50}),
		"square":   wave(config.VirtualPoint{Wave: config.Square, Amplitude: 1}),
		"steps": wave(config.VirtualPoint{Wave: config.Steps, Steps: []config.Step{
			{At: 0, Value: 0.21}, {At: 6 * time.Hour, Value: 0.34}, {At: 22 * time.Hour, Value: 0.21},
		}}),
	}}, point(ems.Telemetry, 1, "constant"), point(ems.Telemetry, 2, "sine"), point(ems.Telemetry, 3, "late"),
		point(ems.Telemetry, 4, "ramp"), point(ems.Signal, 1, "square"), point(ems.Telemetry, 5, "steps"))
	for _, at := range []struct {
		advance                         time.Duration
		sine, late, ramp, square, steps float64
	}{
		{0, 12, 4, 100, 1, 0.21},
		{6*time.Hour - 1, 20, 12, 87.5, 1, 0.21},
		{1, 20, 12, 87.5, 1, 0.34},
		{6 * time.Hour, 12, 20, 75, 0, 0.34},
		{6 * time.Hour, 4, 12, 62.5, 0, 0.34},
		{4 * time.Hour, 12 - 8*math.Sin(math.Pi/6), 12 - 8*math.Cos(math.Pi/6), 100 - 50*22.0/24, 0, 0.21},
		{2 * time.Hour, 12, 4, 100, 1, 0.21},
	} {
		p.clock.Advance(at.advance)
		want := map[string]any{"constant": 4.5, "sine": at.sine, "late": at.late, "ramp": at.ramp, "square": at.square, "steps": at.steps}
		if difference := cmp.Diff(want, p.read(), cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })); difference != "" {
			t.Errorf("%v: %s", p.clock.Now().UTC(), difference)
		}
	}
}

// TestAWalkDependsOnSeedAndTimeAlone, and not on how often anybody looked.
func TestAWalkDependsOnSeedAndTimeAlone(t *testing.T) {
	t.Parallel()
	walker := func(settings config.Virtual) *plant {
		return newPlant(t, settings, point(ems.Telemetry, 1, "walk"), point(ems.Telemetry, 2, "other"))
	}
	rapid.Check(t, func(t *rapid.T) {
		source := config.VirtualPoint{
			Wave: config.Walk, Period: time.Second, Offset: rapid.Float64Range(-100, 100).Draw(t, "offset"),
			Amplitude: rapid.Float64Range(0.1, 50).Draw(t, "amplitude"),
		}
		source.Step = source.Amplitude * rapid.Float64Range(0.01, 2).Draw(t, "step")
		settings := config.Virtual{Seed: rapid.Uint64().Draw(t, "seed"), Points: map[string]config.VirtualPoint{"walk": source, "other": source}}
		seen, unseen := walker(settings), walker(settings)
		last := source.Offset
		for range rapid.IntRange(1, 200).Draw(t, "seconds") {
			seen.clock.Advance(time.Second)
			value := seen.read()["walk"].(float64)
			if math.Abs(value-last) > source.Step+1e-9 || math.Abs(value-source.Offset) > source.Amplitude+1e-9 {
				t.Fatalf("%v after %v: steps of %v, %v ± %v", value, last, source.Step, source.Offset, source.Amplitude)
			}
			last = value
		}
		unseen.clock.Advance(seen.clock.Now().Sub(midnight))
		if difference := cmp.Diff(seen.read(), unseen.read()); difference != "" {
			t.Fatal(difference)
		}
		if shown := seen.read(); shown["walk"] == shown["other"] {
			t.Fatal("two points walk the same way")
		}
	})
}

func TestAWalkAfterALongPauseIsBounded(t *testing.T) {
	t.Parallel()
	p := newPlant(t, config.Virtual{Points: map[string]config.VirtualPoint{
		"walk": {Wave: config.Walk, Period: 10 * time.Millisecond, Amplitude: 1, Step: 0.5},
	}}, point(ems.Telemetry, 1, "walk"))
	began := time.Now()
	p.clock.Advance(100 * 365 * 24 * time.Hour) // 3e11 steps
	first := p.read()["walk"].(float64)
	p.clock.Advance(-time.Hour)
	if again := p.read()["walk"]; again != first {
		t.Errorf("the clock was set back, and %v became %v", first, again)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestPointsAreComputedInTheirUnits(t *testing.T) {
	t.Parallel()
	points := []config.MappedPoint{
		point(ems.Telemetry, 1, "total"), point(ems.Telemetry, 2, "pv"), point(ems.Telemetry, 3, "load"),
		point(ems.Signal, 1, "open"), point(ems.Signal, 2, "closed"), point(ems.Telemetry, 4, "ratio"), point(ems.Telemetry, 5, "double"),
	}
	points[0].Scale, points[0].Offset = 0.5, -10
	points[1].Scale, points[1].Offset = 0.25, 8
	points[3].Reverse = true
	p := newPlant(t, config.Virtual{Points: map[string]config.VirtualPoint{
		"total": {Expression: "pv - load"}, "closed": {Expression: "1 - open"},
		"ratio": {Expression: "pv / load"}, "double": {Expression: "2 * total + total"},
	}}, points...)
	const unset = "it was not set yet"
	p.expect(map[string]any{
		"total": "pv: " + unset, "pv": unset, "load": unset, "open": unset, "closed": "open: " + unset, "ratio": "pv: " + unset,
		"double": "total: pv: " + unset,
	})
	p.set(1, 40)
	p.set(2, 16)
	p.set(3, 1)
	p.expect(map[string]any{"total": 24.0, "pv": 40.0, "load": 16.0, "open": 1.0, "closed": 0.0, "ratio": 2.5, "double": 72.0})
	p.set(2, 0)
	p.set(3, 0)
	p.expect(map[string]any{
		"total": 40.0, "pv": 40.0, "load": 0.0, "open": 0.0, "closed": 1.0, "ratio": "there is no finite result", "double": 120.0,
	})
}

// TestWhatIsComputedFromADoubtIsDoubted: it has a value, and says whose doubt it is.
func TestWhatIsComputedFromADoubtIsDoubted(t *testing.T) {
	t.Parallel()
	points := []config.MappedPoint{
		point(ems.Telemetry, 1, "pv"), point(ems.Telemetry, 2, "load"), point(ems.Telemetry, 3, "net"), point(ems.Telemetry, 4, "share"),
	}
	least, most := 0.0, 100.0
	points[0].Min, points[0].Max, points[0].Unit, points[0].Scale = &least, &most, "kW", 0.5
	points[3].Max = &most
	p := newPlant(t, config.Virtual{Points: map[string]config.VirtualPoint{
		"net": {Expression: "pv - load"}, "share": {Expression: "10 * net"},
	}}, points...)
	for _, test := range []struct {
		pv, load float64
		want     map[string]string
	}{
		{100, 90, map[string]string{}},
		{101, 95, map[string]string{
			"pv": "above the plausible range of 0 to 100 kW", "net": "pv: above the plausible range of 0 to 100 kW",
			"share": "net: pv: above the plausible range of 0 to 100 kW",
		}},
		{80, 60, map[string]string{"share": "above the greatest plausible value of 100"}},
	} {
		p.set(0, test.pv)
		p.set(1, test.load)
		readings, err := p.driver.ReadBatch(t.Context(), ems.DefaultGroup)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for i, reading := range readings {
			at, want := &points[reading.Point], []float64{test.pv, test.load, test.pv - test.load, 10 * (test.pv - test.load)}[i]
			if value := at.FromRaw(reading.Raw); value != want || (reading.Quality == ems.Uncertain) != (reading.Reason != "") {
				t.Errorf("%s is %v, want %v: %+v", at.Name, value, want, reading)
			}
			if reading.Quality == ems.Uncertain {
				got[at.Name] = reading.Reason
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("pv %v, load %v: %s", test.pv, test.load, diff)
		}
	}
}

// A point of one poll group may be computed from one of another.
func TestInputsMayBeOfAnotherGroup(t *testing.T) {
	t.Parallel()
	points := []config.MappedPoint{point(ems.Telemetry, 1, "double"), point(ems.Telemetry, 2, "limit")}
	points[1].Group = "slow"
	p := newPlant(t, config.Virtual{Points: map[string]config.VirtualPoint{"double": {Expression: "2 * limit"}}}, points...)
	p.set(1, 21)
	p.expect(map[string]any{"double": 42.0})
	p.set(1, 22)
	p.expect(map[string]any{"double": 44.0})
}

func TestWhatIsWrittenIsShown(t *testing.T) {
	t.Parallel()
	initial := 30.0
	points := []config.MappedPoint{point(ems.Control, 1, "run"), point(ems.Adjustment, 1, "limit"), point(ems.Signal, 1, "running")}
	points[1].Scale = 0.5
	p := newPlant(t, config.Virtual{MaxAge: time.Minute, Points: map[string]config.VirtualPoint{
		"limit": {Initial: &initial}, "running": {Expression: "run"},
	}}, points...)
	p.expect(map[string]any{"run": "it was not written yet", "limit": 30.0, "running": "run: it was not written yet"})
	for index, value := range []float64{1, 12.5} {
		written, err := p.driver.WritePoint(t.Context(), protocol.Write{Point: index, Raw: points[index].ToRaw(value)})
		if err != nil || points[index].FromRaw(written.Sent) != value || *written.ReadBack != written.Sent {
			t.Errorf("%+v, %v", written, err)
		}
	}
	p.clock.Advance(time.Hour) // what is written does not age
	p.expect(map[string]any{"run": 1.0, "limit": 12.5, "running": 1.0})
	if err := p.driver.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.expect(map[string]any{"run": 1.0, "limit": 12.5, "running": 1.0})
}

func TestAValueThatNobodyRenewsGoesBad(t *testing.T) {
	t.Parallel()
	initial := 5.0
	p := newPlant(t, config.Virtual{MaxAge: 5 * time.Minute, Points: map[string]config.VirtualPoint{"price": {Initial: &initial}}},
		point(ems.Telemetry, 1, "price"), point(ems.Telemetry, 2, "meter"))
	p.set(1, 7)
	p.clock.Advance(5 * time.Minute)
	p.expect(map[string]any{"price": 5.0, "meter": 7.0})
	p.clock.Advance(time.Second)
	const old = "it was set last at 2026-03-01T00:00:00Z, more than 5m0s ago"
	p.expect(map[string]any{"price": old, "meter": old})
	p.set(1, 8)
	p.expect(map[string]any{"price": old, "meter": 8.0})
}

func TestOnlyWhatHasNoOtherSourceIsSet(t *testing.T) {
	t.Parallel()
	p := newPlant(t, config.Virtual{Points: map[string]config.VirtualPoint{
		"wave": {Wave: config.Constant, Offset: 4}, "sum": {Expression: "wave + wave"},
	}}, point(ems.Telemetry, 1, "wave"), point(ems.Telemetry, 2, "sum"), point(ems.Telemetry, 3, "free"))
	for _, test := range []struct {
		point int
		raw   float64
		code  ems.Code
		text  string
	}{
		{0, 1, ems.CodeConflict, "wave is a generated signal"},
		{1, 1, ems.CodeConflict, "sum is computed from other points"},
		{2, math.NaN(), ems.CodeInvalid, "NaN is not a finite number"},
		{2, math.Inf(-1), ems.CodeInvalid, "-Inf is not a finite number"},
	} {
		err := p.driver.(protocol.Settable).SetPoint(test.point, test.raw)
		if ems.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.text) {
			t.Errorf("point %d: %v", test.point, err)
		}
	}
	p.expect(map[string]any{"wave": 4.0, "sum": 8.0, "free": "it was not set yet"})
}

// What channels.yaml lets nobody write is refused here too, or at least told of.
func TestExpressionsThatCannotBeComputed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a +":   "channel 7 point T:1 (a): byte 4: expected a number, a name, - or (, found the end",
		"2 * c": `channel 7 point T:1 (a): the channel has no point with the name "c"`,
	} {
		_, err := virtual.New(protocol.Setting{Clock: ems.SystemClock{}, Channel: config.Channel{
			ID: 7, Points: []config.MappedPoint{point(ems.Telemetry, 1, "a")},
			Virtual: config.Virtual{Points: map[string]config.VirtualPoint{"a": {Expression: text}}},
		}})
		if ems.CodeOf(err) != ems.CodeInvalid || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
	p := newPlant(t, config.Virtual{Points: map[string]config.VirtualPoint{"a": {Expression: "b"}, "b": {Expression: "a"}}},
		point(ems.Telemetry, 1, "a"), point(ems.Telemetry, 2, "b"))
	p.expect(map[string]any{"a": "b: a: it is computed from itself", "b": "a: it is computed from itself"})
}
