package ems_test

import (
	"testing"
	"time"

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

func TestCheckRate(t *testing.T) {
	t.Parallel()
	rate, safe := 10.0, 0.0
	point := ems.Point{Name: "power", Unit: "kW", Safety: ems.Safety{MaxRate: &rate, SafeValue: &safe}}
	for _, test := range []struct {
		value float64
		ago   time.Duration
		want  string
	}{
		{55, 500 * time.Millisecond, ""},
		{45, 500 * time.Millisecond, ""},
		{50, 0, ""},
		{50.3, 30 * time.Millisecond, ""}, // 0.29999999999999716
		{55.1, 500 * time.Millisecond, "55.1 is 5.1 kW from the 50 that power had 0.5 s ago: its greatest rate is 10 a second, so send it 0.01 s later"},
		{44, 500 * time.Millisecond, "44 is 6 kW from the 50 that power had 0.5 s ago: its greatest rate is 10 a second, so send it 0.1 s later"},
		{0, 0, ""}, // the safe value
	} {
		err := point.CheckRate(test.value, 50, test.ago)
		if test.want == "" && err != nil || test.want != "" && (err == nil || err.Error() != test.want || ems.CodeOf(err) != ems.CodeConflict) {
			t.Errorf("%v after %v: %v, want %q", test.value, test.ago, err, test.want)
		}
	}
	if err := (&ems.Point{}).CheckRate(1e9, 0, 0); err != nil {
		t.Error(err)
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
