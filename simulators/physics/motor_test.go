package physics

import (
	"math"
	"testing"
)

// At rest the current and the power factor are those of the nameplate, less what the
// magnetizing branch adds, and at the rated speed the rated ones.
func TestMotorRunUp(t *testing.T) {
	t.Parallel()
	active, reactive := MotorRunUp(1, 6, 0.3, 0.85)
	within(t, "rated active power", active, 1, 1e-12)
	within(t, "rated power factor", active/math.Hypot(active, reactive), 0.85, 1e-12)
	active, reactive = MotorRunUp(0, 6, 0.3, 0.85)
	within(t, "current at rest", math.Hypot(active, reactive)*0.85, 6, 1)
	within(t, "power factor at rest", active/math.Hypot(active, reactive), 0.3, 0.05)
	before, most := 1e9, 0.0
	for progress := 0.0; progress <= 1; progress += 0.01 {
		active, reactive = MotorRunUp(progress, 6, 0.3, 0.85)
		if current := math.Hypot(active, reactive); current > before {
			t.Errorf("the current rises at %v", progress)
		} else {
			before = current
		}
		most = max(most, active)
	}
	within(t, "power at the breakdown torque", most, 3.1, 0.2) // at most the circle's radius, 6^2 / (2 x) of 6 / sqrt(1 - (x/6)^2)
}
