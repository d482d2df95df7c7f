package ems_test

import (
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestCheckStep(t *testing.T) {
	t.Parallel()
	step, safe := 10.0, 0.0
	point := ems.Point{Name: "power", Unit: "kW", Safety: ems.Safety{MaxStep: &step, SafeValue: &safe}}
	at := func(number float64) ems.Value { return ems.Value{Number: number} }
	for _, test := range []struct {
		value float64
		last  ems.Value
		want  string
	}{
		{60, at(50), ""},
		{40, at(50), ""},
		{60.1, at(50), "60.1 is 10.1 kW from the 50 that power has: its greatest step is 10"},
		{39.9, at(50), "39.9 is 10.1 kW from the 50 that power has: its greatest step is 10"},
		{0, at(50), ""}, // the safe value
		{0.3, at(10.3), ""},
		{50, ems.Value{Number: 50, Quality: ems.Bad}, "the value of power is not known now, and 50 may be more than its greatest step, 10 kW, away"},
		{0, ems.Value{Quality: ems.Bad}, ""},
	} {
		err := point.CheckStep(test.value, test.last)
		if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != test.want || ems.CodeOf(err) != ems.CodeConflict) {
			t.Errorf("%v after %+v: %v, want %q", test.value, test.last, err, test.want)
		}
	}
	if free := (&ems.Point{}); free.CheckStep(1e9, ems.Value{Quality: ems.Bad}) != nil || free.IsSafe(0) {
		t.Error("a point without limits has limits")
	}
}

func TestIsSafeComparesWhatIsStored(t *testing.T) {
	t.Parallel()
	safe := 1.0 / 3
	point := ems.Safety{SafeValue: &safe}
	text, err := ems.FormatNumber(safe)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := ems.ParseNumber(text)
	if err != nil || !point.IsSafe(stored) || point.IsSafe(0.333332) {
		t.Errorf("%v, %v", stored, err)
	}
}
