package device

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/system/ems"
)

// shownAt returns the first quantity that registers show of 100 and then one more with
// each second, for the seconds from 0 on.
func shownAt(v *View, begin time.Time, seconds int) []float64 {
	var values []float64
	for second := range seconds {
		shown := v.Show([]float64{100 + float64(second), 5}, uint64(second), begin.Add(time.Duration(second)*time.Second))
		values = append(values, shown.Quantities[0])
	}
	return values
}

func TestDistortions(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 6, 21, 12, 0, 0, 0, time.UTC)
	nan := math.NaN()
	for _, c := range []struct {
		distortion Distortion
		want       []float64 // from second 0 on; it is there from second 1 to 3
	}{
		{Distortion{Kind: Stuck}, []float64{100, 101, 101, 101, 104}},
		{Distortion{Kind: Drift, Amount: 3600}, []float64{100, 101, 103, 105, 104}},
		{Distortion{Kind: Bias, Amount: 10}, []float64{100, 111, 112, 113, 104}},
		{Distortion{Kind: Bias, Amount: 10, Ramp: 2 * time.Second}, []float64{100, 101, 107, 113, 104}},
		{Distortion{Kind: Scaled, Amount: 10}, []float64{100, 1010, 1020, 1030, 104}},
		{Distortion{Kind: Reversed}, []float64{100, -101, -102, -103, 104}},
		{Distortion{Kind: Sentinel}, []float64{100, nan, nan, nan, 104}},
		{Distortion{Kind: Noise, Amount: 0}, []float64{100, 101, 102, 103, 104}},
	} {
		v := NewView([]string{"power_kw", "voltage_v"}, [2]uint64{1, 1})
		c.distortion.Quantity, c.distortion.Begin, c.distortion.End = "power_kw", begin.Add(time.Second), begin.Add(4*time.Second)
		if err := v.Distort(c.distortion); err != nil {
			t.Fatal(err)
		}
		for i, got := range shownAt(v, begin, len(c.want)) {
			if want := c.want[i]; got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
				t.Errorf("%+v: %v in second %d, want %v", c.distortion, got, i, want)
			}
		}
	}
}

// Noise is that of its seed, with the standard deviation asked for.
func TestNoiseOfADistortion(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 6, 21, 12, 0, 0, 0, time.UTC)
	draw := func(seed uint64) []float64 {
		v := NewView([]string{"power_kw", "voltage_v"}, [2]uint64{seed, 1})
		if err := v.Distort(Distortion{Kind: Noise, Quantity: "power_kw", Amount: 2, Begin: begin}); err != nil {
			t.Fatal(err)
		}
		return shownAt(v, begin, 4000)
	}
	first, again, other := draw(1), draw(1), draw(2)
	square, differ := 0.0, 0
	for i := range first {
		square += (first[i] - 100 - float64(i)) * (first[i] - 100 - float64(i)) / float64(len(first))
		if first[i] != again[i] {
			t.Fatal("the same seed has another noise")
		}
		if first[i] != other[i] {
			differ++
		}
	}
	if deviation := math.Sqrt(square); deviation < 1.9 || deviation > 2.1 || differ < 3999 {
		t.Errorf("a deviation of %v, and %d values of another seed differ", deviation, differ)
	}
}

// A heartbeat goes on while a value is stuck, a clock goes wrong alone, and what is
// cleared is over.
func TestTheRestOfADeviceGoesOn(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_800_000_000, 0).UTC()
	v := NewView([]string{"power_kw"}, [2]uint64{1, 1})
	for id, d := range []Distortion{{Kind: Stuck, Quantity: "power_kw"}, {Kind: Skewed, Quantity: ClockS, Amount: -90}} {
		d.ID, d.Begin = uint64(id), begin
		if err := v.Distort(d); err != nil {
			t.Fatal(err)
		}
	}
	v.Show([]float64{7}, 65535, begin)
	shown := v.Show([]float64{8}, 65536, begin.Add(1500*time.Millisecond)).Quantities
	if shown[0] != 7 || shown[1] != 0 || shown[2] != 1_800_000_001.5-90 {
		t.Error(shown)
	}
	if !v.Clear(0) || v.Clear(0) || v.Clear(9) {
		t.Error("what is there was not cleared, or what is not was")
	}
	if shown := v.Show([]float64{9}, 1, begin).Quantities; shown[0] != 9 || shown[2] != 1_800_000_000-90 {
		t.Error(shown)
	}
}

// Registers show the sentinel of their type, and words in the other order.
func TestRegistersOfADistortedValue(t *testing.T) {
	t.Parallel()
	m := mustBind(t, sheet)
	image := map[[2]int]uint16{}
	set := func(table modbusserver.Table, address uint16, values ...uint16) {
		for i, value := range values {
			image[[2]int{int(table), int(address) + i}] = value
		}
	}
	nan := math.NaN()
	m.Encode(set, Shown{Quantities: []float64{1, nan, nan, 1}}, []float64{1, -12.3, 50})
	in := int(modbusserver.InputRegisters)
	if image[[2]int{in, 2}] != 0x8000 || image[[2]int{in, 1}] != 0x7FC0 { // CDAB
		t.Errorf("%x", image)
	}
	m.Encode(set, Shown{Quantities: []float64{1, 1, 0, 1}, Swapped: []bool{false, true, false, false}}, []float64{1, -12.3, 50})
	if image[[2]int{in, 0}] != 0x3F80 || image[[2]int{in, 1}] != 0 {
		t.Errorf("%x", image)
	}
}

func TestDistortionsThatCannotBe(t *testing.T) {
	t.Parallel()
	v := NewView([]string{"power_kw"}, [2]uint64{1, 1})
	for want, d := range map[string]Distortion{
		`kind: "wrong" distorts nothing: use one of stuck, `:                      {Kind: "wrong", Quantity: "power_kw"},
		`quantity: the device has no "wind": it has power_kw, heartbeat, clock_s`: {Kind: Stuck, Quantity: "wind"},
		`amount: cannot be NaN`: {Kind: Bias, Quantity: "power_kw", Amount: math.NaN()},
		`amount: cannot be -1`:  {Kind: Noise, Quantity: "power_kw", Amount: -1},
	} {
		if err := v.Distort(d); err == nil || !strings.Contains(err.Error(), want) || ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for range mostDistortions {
		if err := v.Distort(Distortion{Kind: Stuck, Quantity: "power_kw"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.Distort(Distortion{Kind: Stuck, Quantity: "power_kw"}); ems.CodeOf(err) != ems.CodeConflict {
		t.Error(err)
	}
}

// What registers show is the same for the same tick, whichever of them were shown
// before, and after an earlier state was restored.
func TestADistortionRepeats(t *testing.T) {
	t.Parallel()
	begin := time.Unix(1_800_000_000, 0)
	build := func() *View {
		v := NewView([]string{"power_kw", "voltage_v"}, [2]uint64{1, 1})
		for id, d := range []Distortion{{Kind: Noise, Quantity: "power_kw", Amount: 1}, {Kind: Stuck, Quantity: "voltage_v"}} {
			d.ID, d.Begin = uint64(id), begin
			if err := v.Distort(d); err != nil {
				t.Fatal(err)
			}
		}
		return v
	}
	show := func(v *View, second int) []float64 {
		return v.Show([]float64{0, 100 + float64(second)}, uint64(1000+second), begin.Add(time.Duration(second)*time.Second)).Quantities[:2]
	}
	slow, fast := build(), build()
	for second := range 10 {
		show(slow, second)
	}
	show(fast, 0)
	if a, b := show(slow, 10), show(fast, 10); !slices.Equal(a, b) {
		t.Errorf("%v and %v", a, b)
	}
	show(slow, -5)
	if got := show(slow, 3)[1]; got != 103 {
		t.Errorf("stuck at %v, which it had before it was restored", got)
	}
}
