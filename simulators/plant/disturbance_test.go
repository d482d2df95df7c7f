package plant

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
)

// inputs returns an input of a device in each of so many ticks.
func inputs(t *testing.T, p *Plant, id string, ticks int) []float64 {
	t.Helper()
	var values []float64
	for range ticks {
		device, _ := p.Step(time.Time{}).Device(id)
		values = append(values, device.Inputs[0])
	}
	return values
}

// An input is moved after a delay, over a ramp, for a while, and is put back; a state
// that is restored in between goes on with that.
func TestAnInputIsMovedForAWhile(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 200, rated_kw: 100}") // in steps of 1 s
	set(t, p, "battery", "cell_temperature_rise_c", 2)
	steps(p, 1)
	if err := p.Disturb(7, "battery", "cell_temperature_rise_c", 10, 2*time.Second, 3*time.Second, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{2, 2, 4, 6}, inputs(t, p, "battery", 4)); diff != "" {
		t.Error(diff)
	}
	snapshot := saved(t, p)
	want := []float64{8, 10, 10, 2, 2}
	for range 2 {
		if diff := cmp.Diff(want, inputs(t, p, "battery", 5)); diff != "" {
			t.Error(diff)
		}
		if _, err := p.Restore(snapshot, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if !p.Undisturb(7) || p.Undisturb(8) {
		t.Error("what is under way was not found, or what is not was")
	}
	if diff := cmp.Diff([]float64{2, 2}, inputs(t, p, "battery", 2)); diff != "" || len(p.Disturbances()) != 0 {
		t.Error(diff, p.Disturbances())
	}
	var told []string
	events, _, _ := p.Events().After(0)
	for _, one := range events {
		if one.Kind == EventFault || one.Kind == EventCleared {
			told = append(told, string(one.Kind)+" "+one.Name)
		}
	}
	want2 := []string{"fault cell_temperature_rise_c", "cleared cell_temperature_rise_c", "cleared cell_temperature_rise_c", "cleared cell_temperature_rise_c"}
	if diff := cmp.Diff(want2, told); diff != "" {
		t.Error(diff)
	}
}

// What is 0 or 1 knows no ramp, and what was cleared before it began never begins.
func TestABooleanInputIsMovedAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	if err := p.Disturb(1, "grid", "available", 0, 0, time.Minute, 0); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{0, 0}, inputs(t, p, "grid", 2)); diff != "" {
		t.Error(diff)
	}
	if err := p.Disturb(2, "grid", "available", 0, 0, 0, 0); ems.CodeOf(err) != ems.CodeConflict {
		t.Errorf("twice: %v", err)
	}
	p.Undisturb(1)
	steps(p, 1)
	if err := p.Disturb(3, "grid", "available", 0, time.Minute, 0, time.Minute); err != nil {
		t.Fatal(err)
	}
	p.Undisturb(3)
	if diff := cmp.Diff([]float64{1, 1}, inputs(t, p, "grid", 2)); diff != "" || len(p.Disturbances()) != 0 {
		t.Error(diff, p.Disturbances())
	}
	for name, err := range map[string]error{
		"device": p.Disturb(4, "wind", "available", 0, 0, 0, 0), "input": p.Disturb(4, "grid", "wind", 0, 0, 0, 0),
		"value": p.Disturb(4, "grid", "available", 2, 0, 0, 0),
	} {
		if code := ems.CodeOf(err); code != ems.CodeNotFound && code != ems.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An input goes back to what it was when it began to be moved, is the fault's until then,
// and can be moved again as soon as that is cleared.
func TestAnInputThatIsMovedIsNotSet(t *testing.T) {
	t.Parallel()
	p := newPlant(t, "battery {capacity_kwh: 200, rated_kw: 100}")
	steps(p, 1)
	if err := p.Disturb(1, "battery", "cell_temperature_rise_c", 10, 2*time.Second, 0, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	set(t, p, "battery", "cell_temperature_rise_c", 3)
	steps(p, 2)
	err := p.SetInput("battery", "cell_temperature_rise_c", 4, "test")
	if ems.CodeOf(err) != ems.CodeConflict || err.Error() != "input cell_temperature_rise_c of battery is moved by a fault: clear that first" {
		t.Error(err)
	}
	set(t, p, "battery", "room_temperature_c", 20)
	if diff := cmp.Diff([]float64{10, 10, 3}, inputs(t, p, "battery", 3)); diff != "" {
		t.Error(diff)
	}
	for id := uint64(2); id <= 3; id++ {
		if err := p.Disturb(id, "battery", "cell_temperature_rise_c", 10*float64(id), 0, 0, 0); err != nil {
			t.Fatal(err)
		}
		steps(p, 1)
		p.Undisturb(id)
	}
	if err := p.Disturb(4, "battery", "cell_temperature_rise_c", 50, 0, 0, time.Second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]float64{50, 3}, inputs(t, p, "battery", 2)); diff != "" {
		t.Error(diff)
	}
}
