package device

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The kinds of distortions: what registers show is not what is true.
const (
	Stuck    = "stuck"    // the value of when it began
	Drift    = "drift"    // Amount more each hour
	Noise    = "noise"    // Amount as standard deviation
	Bias     = "bias"     // Amount more
	Scaled   = "scaled"   // Amount times: 10 or 0.1 for a scale factor that jumps
	Reversed = "reversed" // the other sign, as with a current transformer turned round
	Swapped  = "swapped"  // the words of the value in the other order
	Sentinel = "sentinel" // what stands for a value that there is not
	Skewed   = "skewed"   // the clock of the device is Amount seconds ahead
)

// Distortions are their names.
var Distortions = []string{Stuck, Drift, Noise, Bias, Scaled, Reversed, Swapped, Sentinel, Skewed}

// Names of quantities that every device has beside its own: a counter of ticks that
// begins again after 65535, and its clock in seconds since 1970.
const (
	Heartbeat = "heartbeat"
	ClockS    = "clock_s"
)

// mostDistortions is how many a device may have at once.
const mostDistortions = 100

// Distortion is one value of a device that its registers do not show as it is.
type Distortion struct {
	ID       uint64
	Kind     string
	Quantity string
	Amount   float64
	Begin    time.Time     // simulated
	Ramp     time.Duration // over which bias, scaled and skewed come in
	End      time.Time     // simulated, zero for never
	held     float64       // of a stuck one
	begun    bool
}

// View is what registers show of a device: its quantities with those that every device
// has, and what distorts them.
type View struct {
	mu          sync.Mutex
	names       []string
	seed        [2]uint64
	distortions []Distortion
}

// NewView returns the undistorted view of a device with these quantities. seed is that
// of its noise, which is the same for the same tick, however many were shown before.
func NewView(quantities []string, seed [2]uint64) *View {
	return &View{names: append(slices.Clone(quantities), Heartbeat, ClockS), seed: seed}
}

// Names returns the quantities that registers may show.
func (v *View) Names() []string { return v.names }

// Distort adds a distortion; that of the clock names it as its quantity.
func (v *View) Distort(d Distortion) error {
	if !slices.Contains(Distortions, d.Kind) {
		return ems.Errorf(ems.CodeInvalid, "kind: %q distorts nothing: use one of %s", d.Kind, strings.Join(Distortions, ", "))
	}
	if !slices.Contains(v.names, d.Quantity) {
		return ems.Errorf(ems.CodeInvalid, "quantity: the device has no %q: it has %s", d.Quantity, strings.Join(v.names, ", "))
	}
	if math.IsNaN(d.Amount) || math.IsInf(d.Amount, 0) || d.Kind == Noise && d.Amount < 0 {
		return ems.Errorf(ems.CodeInvalid, "amount: cannot be %v", d.Amount)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.distortions) >= mostDistortions {
		return ems.Errorf(ems.CodeConflict, "%d values of the device are distorted, which is the limit: clear some", mostDistortions)
	}
	v.distortions = append(v.distortions, d)
	return nil
}

// Clear ends a distortion, and reports whether there was one of that number.
func (v *View) Clear(id uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	before := len(v.distortions)
	v.distortions = slices.DeleteFunc(v.distortions, func(d Distortion) bool { return d.ID == id })
	return len(v.distortions) < before
}

// Shown is the values that registers show.
type Shown struct {
	Quantities []float64 // in the order of View.Names, NaN for a sentinel
	Swapped    []bool    // nil where none is
}

// Show returns what registers show of true values at a tick and a simulated time.
func (v *View) Show(truth []float64, tick uint64, at time.Time) Shown {
	v.mu.Lock()
	defer v.mu.Unlock()
	shown := Shown{Quantities: append(append(make([]float64, 0, len(truth)+2), truth...), float64(tick%(1<<16)), float64(at.UnixMilli())/1000)}
	kept := v.distortions[:0]
	for _, d := range v.distortions {
		if !d.End.IsZero() && !at.Before(d.End) {
			continue
		}
		if at.Before(d.Begin) {
			d.begun = false // an earlier state was restored
		} else {
			v.apply(&d, &shown, tick, at)
		}
		kept = append(kept, d)
	}
	v.distortions = kept
	return shown
}

func (v *View) apply(d *Distortion, shown *Shown, tick uint64, at time.Time) {
	i := slices.Index(v.names, d.Quantity)
	value := &shown.Quantities[i]
	since := at.Sub(d.Begin)
	part := 1.0
	if d.Ramp > 0 {
		part = math.Min(1, since.Seconds()/d.Ramp.Seconds())
	}
	if !d.begun {
		d.held, d.begun = *value, true
	}
	switch d.Kind {
	case Stuck:
		*value = d.held
	case Drift:
		*value += d.Amount * since.Hours()
	case Noise:
		*value += d.Amount * v.noise(d.ID, tick)
	case Bias, Skewed:
		*value += d.Amount * part
	case Scaled:
		*value *= 1 + (d.Amount-1)*part
	case Reversed:
		*value = -*value
	case Sentinel:
		*value = math.NaN()
	case Swapped:
		if shown.Swapped == nil {
			shown.Swapped = make([]bool, len(v.names))
		}
		shown.Swapped[i] = true
	}
}

// noise returns that of a distortion in a tick, of standard deviation 1.
func (v *View) noise(id, tick uint64) float64 {
	const golden = 0x9e3779b97f4a7c15 // 2^64 over the golden ratio: it sets neighbours apart
	return rand.New(rand.NewPCG(v.seed[0]^id*golden, v.seed[1]^tick*golden)).NormFloat64()
}

// Distorts reports whether a distortion is there, or will be.
func (v *View) Distorts(id uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.ContainsFunc(v.distortions, func(d Distortion) bool { return d.ID == id })
}
