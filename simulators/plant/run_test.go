package plant

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// overloaded is a clock on which a second passes with each look at it: a machine that
// never catches up with a plant.
type overloaded struct{ *ems.ManualClock }

func (c overloaded) Now() time.Time {
	c.Advance(time.Second)
	return c.ManualClock.Now()
}

// A simulation that is asked for more than the machine can do can be steered all the
// same, and tells what it drops.
func TestASimulationThatNeverCatchesUpIsFrozen(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	done, lost := make(chan struct{}), make(chan time.Duration, 1)
	p := New(mustRead(t, strings.Replace(plantText(steadyLoad), "step: 1s", "step: 1ms", 1)))
	clock := overloaded{ems.NewManualClock(time.Unix(1_900_000_000, 0))}
	r := NewRunner(p, clock, func(*Truth) {}, func(d time.Duration) {
		select {
		case lost <- d:
		default: // noted already
		}
	})
	go func() {
		defer close(done)
		r.Run(ctx)
	}()
	defer func() {
		cancel()
		<-done
	}()
	clock.AwaitTimers(1)
	clock.Advance(time.Second)
	frozen := make(chan error, 1)
	select {
	case <-lost:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody is told that it falls behind")
	}
	go func() { frozen <- r.SetMode(Mode{Speed: 1, Frozen: true}) }()
	select {
	case err := <-frozen:
		if err != nil || !r.Mode().Frozen {
			t.Error(err, r.Mode())
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it cannot be frozen")
	}
}

// A mode that is asked for again and again does not keep the next tick away.
func TestTheSameModeLeavesThePaceAlone(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.clock.AwaitTimers(1)
	r.clock.Advance(60 * time.Millisecond)
	if err := r.SetMode(Mode{Speed: 1}); err != nil {
		t.Fatal(err)
	}
	if due, _ := r.next(); due.Sub(r.clock.Now()) != 40*time.Millisecond {
		t.Errorf("the next tick is due in %v", due.Sub(r.clock.Now()))
	}
}

// Who asks for the mode need not wait until a million ticks are made.
func TestTheModeIsKnownWhileTicksAreMade(t *testing.T) {
	t.Parallel()
	r := newRunner(t)
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := make(chan Mode, 1)
	go func() { asked <- r.Mode() }()
	select {
	case mode := <-asked:
		if mode != (Mode{Speed: 1}) {
			t.Errorf("%+v", mode)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the mode is not known")
	}
}

// What is written in one piece takes effect in one tick.
func TestAWriteOfSeveralSetpointsIsNotTorn(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 200, rated_kw: 100}")
	limits := p.Setpoints("battery")
	least := slices.IndexFunc(limits, func(s Setting) bool { return s.Name == "state_of_charge_min_pct" })
	reactive := slices.IndexFunc(limits, func(s Setting) bool { return s.Name == "reactive_power_pct" })
	write(t, p, "battery", "state_of_charge_min_pct", 0) // as the other is
	done, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			value := float64(i % 50)
			if err := p.WriteAll("battery", []Write{{"state_of_charge_min_pct", value}, {"reactive_power_pct", value}}, "test"); err != nil {
				t.Error(err)
			}
		}
	}()
	for tick := range 5000 {
		battery, _ := p.Step(time.Time{}).Device("battery")
		if battery.Setpoints[least] != battery.Setpoints[reactive] {
			t.Errorf("tick %d: %v and %v", tick, battery.Setpoints[least], battery.Setpoints[reactive])
			break
		}
	}
	close(stop)
	<-done
	err := p.WriteAll("battery", []Write{{"state_of_charge_min_pct", 7}, {"reactive_power_pct", 700}}, "test")
	if ems.CodeOf(err) != ems.CodeInvalid || p.Requested("battery")[least] == 7 {
		t.Error(err, p.Requested("battery"))
	}
}

// The way to a state that lies ahead is not known, and nobody goes back by another one.
func TestNobodyGoesBackToAnotherHistory(t *testing.T) {
	t.Parallel()
	other := newMicrogrid(t, 1)
	set(t, other, "load", "base_kw", 50)
	steps(other, 3000)
	r := newRunner(t)
	if err := r.SetMode(Mode{Speed: 1, Frozen: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Advance(t.Context(), 1500); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Restore("ahead", saved(t, other)); err != nil {
		t.Fatal(err)
	}
	if truth, err := r.Back(time.Minute); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("%v, %v", truth, err)
	}
}
