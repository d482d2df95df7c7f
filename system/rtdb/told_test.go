package rtdb_test

import (
	"math"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

func TestToldKnowsWhatChanged(t *testing.T) {
	t.Parallel()
	var told rtdb.Told
	expect := func(what string, number float64, quality ems.Quality, deadband float64, want bool) {
		t.Helper()
		if got := told.Changed(number, quality, deadband); got != want {
			t.Errorf("%s: changed is %v", what, got)
		}
	}
	expect("zero, of which nothing was told", 0, ems.Good, 0, true)
	expect("bad, of which nothing was told", 0, ems.Bad, 9, true)
	told.Note(2.5, ems.Good)
	expect("the same", 2.5, ems.Good, 0, false)
	expect("the next number there is", math.Nextafter(2.5, 3), ems.Good, 0, true)
	expect("at the deadband above", 3, ems.Good, 0.5, false)
	expect("at the deadband below", 2, ems.Good, 0.5, false)
	expect("beyond the deadband above", 3.001, ems.Good, 0.5, true)
	expect("beyond the deadband below", 1.999, ems.Good, 0.5, true)
	expect("the same, but uncertain", 2.5, ems.Uncertain, 9, true)
	told.Note(2.5, ems.Bad)
	expect("bad with another number", 7, ems.Bad, 0, false)
	expect("good again", 2.5, ems.Good, 9, true)
	told.Note(0, ems.Good)
	expect("minus zero, which has other bits", math.Copysign(0, -1), ems.Good, 0, true)
}
