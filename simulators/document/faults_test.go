package document

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What was noted more than once, here of a profile that many devices use, is told once.
func TestAFaultIsToldOnce(t *testing.T) {
	t.Parallel()
	var faults Faults
	for range 300 {
		faults.Add("p.yaml", 7, "no quantity %q", "wind_m")
		faults.Add("p.yaml", 7, "no quantity %q", "rain_m")
		faults.Add("p.yaml", 2, "no name")
	}
	want := []string{`p.yaml:2: no name`, `p.yaml:7: no quantity "wind_m"`, `p.yaml:7: no quantity "rain_m"`}
	if diff := cmp.Diff(want, strings.Split(faults.Err().Error(), "\n")); diff != "" || faults.Count() != 900 {
		t.Error(diff)
	}
}
