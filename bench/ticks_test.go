package bench

import (
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Each call is one tick, and whoever made fewer, or of a plant that does nothing, is found.
func TestPlantsAreStepped(t *testing.T) {
	t.Parallel()
	s := &server{plants: "../scenarios"}
	for _, one := range s.plantWorkloads() {
		if err := one.prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		for n := range 5 {
			if err := one.call(t.Context(), 0, n); err != nil {
				t.Fatal(err)
			}
		}
		if err := one.verify(t.Context(), 0, 4); err != nil {
			t.Error(err)
		}
		expectFault(t, "a tick that is missing", one.verify(t.Context(), 0, 5), "made 5 ticks instead of 6")
	}
	away := &server{plants: t.TempDir()}
	if err := away.plantWorkloads()[0].prepare(t.Context()); ems.CodeOf(err) != ems.CodeNotFound {
		t.Errorf("%v", err)
	}
	options := options(&progress{})
	options.Plants, options.Cases = "gone", []string{parkTickCase}
	expectFault(t, "no folder", options.check(), "name the folder with --plants")
}
