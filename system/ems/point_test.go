package ems_test

import (
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestImplausible(t *testing.T) {
	t.Parallel()
	least, most := -40.0, 120.5
	both := ems.Point{Type: ems.Telemetry, Unit: "°C", Min: &least, Max: &most}
	low, high := ems.Point{Type: ems.Signal, Min: &least}, ems.Point{Type: ems.Telemetry, Unit: "V", Max: &most}
	written := both
	written.Type = ems.Adjustment
	for _, test := range []struct {
		point ems.Point
		value float64
		want  string
	}{
		{both, -40, ""}, {both, 120.5, ""},
		{both, -40.01, "below the plausible range of -40 to 120.5 °C"},
		{both, 121, "above the plausible range of -40 to 120.5 °C"},
		{low, 1e9, ""}, {low, -41, "below the least plausible value of -40"},
		{high, -1e9, ""}, {high, 121, "above the greatest plausible value of 120.5 V"},
		{written, 1e9, ""}, {ems.Point{Type: ems.Telemetry}, 1e9, ""},
	} {
		if got := test.point.Implausible(test.value); got != test.want {
			t.Errorf("%v of %+v: %q, want %q", test.value, test.point, got, test.want)
		}
	}
}
