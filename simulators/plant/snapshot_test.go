package plant

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
)

// saved returns the state of a plant as it is kept in a file.
func saved(t *testing.T, p *Plant) *Snapshot {
	t.Helper()
	snapshot, err := p.Save()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(snapshot)
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	return &back
}

// A plant that is restored goes on as the one that was saved did, tick for tick,
// wherever it was saved and whatever it did since.
func TestDigestsRepeatAfterARestore(t *testing.T) {
	t.Parallel()
	for name, build := range map[string]func() *Plant{
		"microgrid": func() *Plant { return newMicrogrid(t, 5) },
		"feeder":    func() *Plant { return New(mustRead(t, feederYAML)) },
		"campus":    func() *Plant { return New(mustRead(t, campusYAML)) },
		"park":      func() *Plant { return New(mustRead(t, parkYAML)) },
		"inverters": func() *Plant { return newIsland(t, followerPV, followingBattery, steadyLoad) },
	} {
		p := build()
		random := rand.New(rand.NewPCG(11, 11))
		rounds := 20
		if name == "campus" { // islands in steps of 10 s are slow to compute
			rounds = 5
		}
		for round := range rounds {
			for range 1 + random.IntN(200) {
				if random.IntN(5) == 0 {
					operate(t, p, random)
				}
				p.Step(time.Time{})
			}
			operate(t, p, random) // asked for, and not yet in force
			snapshot, before := saved(t, p), p.Latest()
			operations := rand.New(rand.NewPCG(uint64(round), 1))
			want := goOn(t, p, operations)
			for _, other := range []*Plant{p, build()} {
				restored, err := other.Restore(snapshot, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				if restored.Digest != before.Digest || restored.Tick != before.Tick || !restored.Simulated.Equal(before.Simulated) {
					t.Fatalf("%s, round %d: another truth after it was restored", name, round)
				}
				if diff := cmp.Diff(want, goOn(t, other, rand.New(rand.NewPCG(uint64(round), 1)))); diff != "" {
					t.Fatalf("%s, round %d: it went another way after it was restored", name, round)
				}
			}
		}
	}
}

func goOn(t *testing.T, p *Plant, random *rand.Rand) []uint64 {
	t.Helper()
	var digests []uint64
	for tick := range 100 {
		if tick%10 == 5 {
			operate(t, p, random)
		}
		digests = append(digests, p.Step(time.Time{}).Digest)
	}
	return digests
}

// A snapshot that does not fit is refused, and nothing changes.
func TestASnapshotThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	p := newMicrogrid(t, 1)
	steps(p, 10)
	text, err := json.Marshal(saved(t, p))
	if err != nil {
		t.Fatal(err)
	}
	steps(p, 10)
	before := p.Latest().Digest
	for change, want := range map[[2]string]string{
		{`"plant":"test"`, `"plant":"other"`}:              `this is a snapshot of plant "other", and not of "test"`,
		{`"genset":{"type":"genset"`, `"set":{"type":"x"`}: `the snapshot has no genset genset: it is of another plant.yaml`,
		{`"main":`, `"attic":`}:                            `the snapshot has no bus main: it is of another plant.yaml`,
		{`"StoredKWh":`, `"Stored":`}:                      `the state of battery in the snapshot cannot be read: json: unknown field "Stored"`,
		{`"StoredKWh":`, `"StoredKWh":1`}:                  `the plant is not as it was when the snapshot was saved`,
		{`"used":100,`, `"used":-100,`}:                    `the snapshot has no fit `,
		{`"random":"`, `"random":"AAAA`}:                   `in the snapshot cannot be read`,
	} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Fatalf("no %s in %s", change[0], text)
		}
		var snapshot Snapshot
		if err := json.Unmarshal([]byte(changed), &snapshot); err != nil {
			t.Fatal(err)
		}
		_, err := p.Restore(&snapshot, time.Time{})
		if err == nil || !strings.Contains(err.Error(), want) || ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%s: %v, want %s", change[1], err, want)
		}
		if p.Latest().Digest != before {
			t.Fatalf("%s: it was refused and changed the plant", change[1])
		}
	}
	reference := newMicrogrid(t, 1)
	steps(reference, 21)
	steps(p, 1)
	if p.Latest().Digest != reference.Latest().Digest {
		t.Error("what was refused has changed the state")
	}
}

// runner runs a microgrid by a clock that is moved by hand.
type runner struct {
	*Runner
	clock *ems.ManualClock
	shown chan *Truth
	lost  chan time.Duration
}

func newRunner(t *testing.T) *runner {
	t.Helper()
	r := &runner{clock: ems.NewManualClock(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)), shown: make(chan *Truth, 10_000), lost: make(chan time.Duration, 10)}
	r.Runner = NewRunner(newMicrogrid(t, 1), r.clock, func(truth *Truth) { r.shown <- truth }, func(d time.Duration) { r.lost <- d })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

// await returns when a tick is shown.
func (r *runner) await(t *testing.T, tick uint64) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case truth := <-r.shown:
			if truth.Tick == tick {
				return
			}
			if truth.Tick > tick {
				t.Fatalf("tick %d is shown, want %d", truth.Tick, tick)
			}
		case <-deadline:
			t.Fatalf("tick %d is not shown", tick)
		}
	}
}

func TestSpeedsFreezingAndSingleSteps(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.clock.AwaitTimers(1)
	r.clock.Advance(time.Second)
	r.await(t, 10)
	if err := r.SetMode(Mode{Speed: 1000}); err != nil {
		t.Fatal(err)
	}
	r.clock.AwaitTimers(1)
	r.clock.Advance(time.Second / 4)
	r.await(t, 10+2500)
	if err := r.SetMode(Mode{Speed: 0.1}); err != nil {
		t.Fatal(err)
	}
	r.clock.AwaitTimers(1)
	r.clock.Advance(2 * time.Second)
	r.await(t, 2512)
	if _, err := r.Advance(t.Context(), 1); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("a step by hand while it runs: %v", err)
	}
	if err := r.SetMode(Mode{Speed: 1, Frozen: true}); err != nil {
		t.Fatal(err)
	}
	r.clock.Advance(time.Hour)
	if truth, err := r.Advance(t.Context(), 3); err != nil || truth.Tick != 2515 {
		t.Errorf("%+v, %v", truth, err)
	}
	r.await(t, 2515)
	if err := r.SetMode(Mode{Speed: 1}); err != nil {
		t.Fatal(err)
	}
	r.clock.AwaitTimers(1)
	r.clock.Advance(100 * time.Millisecond)
	r.await(t, 2516) // the hour is not caught up with
	if len(r.lost) != 0 {
		t.Errorf("lost %v", <-r.lost)
	}
	for _, speed := range []float64{0, 0.09, 1001, -1} {
		if err := r.SetMode(Mode{Speed: speed}); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("speed %v: %v", speed, err)
		}
	}
	if err := r.SetMode(Mode{Speed: 1, Frozen: true}); err != nil {
		t.Fatal(err)
	}
	for _, ticks := range []int{0, -1, MostSteps + 1} {
		if _, err := r.Advance(t.Context(), ticks); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%d ticks: %v", ticks, err)
		}
	}
	var modes []string
	events, _, _ := r.plant.Events().After(0)
	for _, one := range events {
		if one.Kind == EventMode {
			modes = append(modes, one.Name)
		}
	}
	if diff := cmp.Diff([]string{"running", "running", "frozen", "running", "frozen"}, modes); diff != "" {
		t.Error(diff)
	}
}

// Going back leads to the same digests as the first time.
func TestGoingBack(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	if err := r.SetMode(Mode{Speed: 1, Frozen: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Back(time.Minute); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("back before the first tick: %v", err)
	}
	digests := map[uint64]uint64{}
	for range 3000 { // 5 minutes
		truth, err := r.Advance(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		digests[truth.Tick] = truth.Digest
	}
	truth, err := r.Back(2 * time.Minute)
	if err != nil || truth.Tick != 1201 {
		t.Fatalf("%+v, %v", truth, err)
	}
	for range 1700 {
		truth, err := r.Advance(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if truth.Digest != digests[truth.Tick] {
			t.Fatalf("tick %d has another digest the second time", truth.Tick)
		}
	}
	if _, err := r.Back(time.Hour); ems.CodeOf(err) != ems.CodeNotFound || !strings.Contains(err.Error(), "its oldest state is that of 4m50s ago") {
		t.Errorf("%v", err)
	}
}

// A write is an event with its effect, a signal that changes is one too, and what is
// forgotten is counted.
func TestEvents(t *testing.T) {
	t.Parallel()
	p := newPlant(t, steadyLoad, "battery {capacity_kwh: 200, rated_kw: 100, ramp_kw_per_s: 1000}")
	steps(p, 1)
	_, _, more := p.Events().After(0)
	if err := p.Write("battery", "power_setpoint_kw", 20, "127.0.0.1:999 unit 1"); err != nil {
		t.Fatal(err)
	}
	steps(p, 1)
	<-more
	events, lost, _ := p.Events().After(0)
	want := []Event{
		{Number: 1, Tick: 2, Kind: EventWrite, Device: "battery", Name: "power_setpoint_kw", To: 20, By: "127.0.0.1:999 unit 1"},
		{Number: 2, Tick: 2, Kind: EventSignal, Device: "battery", Name: "discharging", To: 1},
	}
	if len(events) == 0 || len(events[0].Effect) < 5 || events[0].Effect[0] != (Change{Name: "power_kw", To: 20}) {
		t.Fatalf("%+v", events)
	}
	events[0].Effect = nil
	if diff := cmp.Diff(want, events); diff != "" || lost != 0 {
		t.Errorf("%s, %d lost", diff, lost)
	}
	for range 3 * mostEvents {
		p.Events().Add(Event{Kind: EventInput})
	}
	events, lost, _ = p.Events().After(1)
	if len(events) != mostEvents || lost != 2*mostEvents+1 || events[0].Number != lost+2 {
		t.Errorf("%d events, %d lost, the first is %d", len(events), lost, events[0].Number)
	}
	if events, lost, _ := p.Events().After(math.MaxUint64); len(events) != 0 || lost != 0 {
		t.Errorf("after the last that can be: %d events, %d lost", len(events), lost)
	}
}
