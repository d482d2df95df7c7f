package fault

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/voltageems/voltageems-go/simulators/device"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Fault is one that is injected into a device. What its kind does not take is refused.
type Fault struct {
	ID        uint64  `json:"id"`
	Kind      string  `json:"kind"`
	Device    string  `json:"device"`
	StartS    float64 `json:"start_s,omitempty"`
	DurationS float64 `json:"duration_s,omitempty"` // from its start; 0: until it is cleared

	Input    string   `json:"input,omitempty"`
	Quantity string   `json:"quantity,omitempty"`
	Amount   *float64 `json:"amount,omitempty"`
	RampS    float64  `json:"ramp_s,omitempty"`

	Function     *int     `json:"function,omitempty"`
	FirstAddress *int     `json:"first_address,omitempty"`
	LastAddress  *int     `json:"last_address,omitempty"`
	Probability  *float64 `json:"probability,omitempty"`
	Count        int      `json:"count,omitempty"`
	DelayMS      float64  `json:"delay_ms,omitempty"`
	JitterMS     float64  `json:"jitter_ms,omitempty"`
	Exception    int      `json:"exception,omitempty"`
}

// given lists the parameters that a fault names beside those that every kind takes.
func (f *Fault) given() []string {
	var list []string
	for name, there := range map[string]bool{
		"input": f.Input != "", "quantity": f.Quantity != "", "amount": f.Amount != nil, "ramp_s": f.RampS != 0,
		"function": f.Function != nil, "first_address": f.FirstAddress != nil, "last_address": f.LastAddress != nil,
		"probability": f.Probability != nil, "count": f.Count != 0, "delay_ms": f.DelayMS != 0, "jitter_ms": f.JitterMS != 0, "exception": f.Exception != 0,
	} {
		if there {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// longest is the longest start, ramp or duration, in seconds.
const longest = 1e6

// check returns what is wrong with a fault, and its kind.
func (f *Fault) check() (Kind, error) {
	kind, known := find(f.Kind)
	if !known {
		return kind, ems.Errorf(ems.CodeInvalid, "kind: there is no %q: use one of %s", f.Kind, names())
	}
	for _, name := range f.given() {
		if !slices.Contains(kind.Takes, name) {
			return kind, ems.Errorf(ems.CodeInvalid, "%s: %s takes no such parameter, but %s", name, f.Kind, strings.Join(append([]string{"device", "start_s", "duration_s"}, kind.Takes...), ", "))
		}
	}
	if p := f.Probability; p != nil && !(*p > 0 && *p <= 1) {
		return kind, ems.Errorf(ems.CodeInvalid, "probability: %v is not above 0 and at most 1", *p)
	}
	if kind.Group == Value && slices.Contains(kind.Takes, "quantity") && f.Quantity == "" {
		return kind, ems.Errorf(ems.CodeInvalid, "quantity: name the one that %s distorts", f.Kind)
	}
	for name, seconds := range map[string]float64{"start_s": f.StartS, "duration_s": f.DurationS, "ramp_s": f.RampS} {
		if !(seconds >= 0 && seconds <= longest) {
			return kind, ems.Errorf(ems.CodeInvalid, "%s: %v is not between 0 and %v", name, seconds, longest)
		}
	}
	return kind, nil
}

// Line is the server that a device listens at.
type Line interface {
	SetFaults([]modbusserver.Fault) error
	Faults() []modbusserver.FaultState
}

// Place is where faults of a device strike.
type Place struct {
	Type string
	View *device.View
	// Width returns the most registers that show one value of a quantity, 0 where none does.
	Width func(quantity string) int
	Line  Line
	Unit  int // of the device, at that line
}

// active is a fault that was set.
type active struct {
	Fault
	group  Group
	moves  uint64    // of one in a machine: the disturbance of the plant
	begins time.Time // real of one on the wire, simulated of one of values
	told   bool      // that it began
	wire   []modbusserver.Fault
}

// Registry holds the faults of a plant.
type Registry struct {
	plant  *plant.Plant
	places map[string]Place // by device
	clock  ems.Clock

	mu   sync.Mutex
	last uint64 // id
	set  []active
}

// NewRegistry returns one without a fault.
func NewRegistry(p *plant.Plant, places map[string]Place, clock ems.Clock) *Registry {
	return &Registry{plant: p, places: places, clock: clock}
}

// Inject sets a fault and returns it with its number and what it left out.
func (r *Registry) Inject(f Fault) (Fault, error) {
	kind, err := f.check()
	if err != nil {
		return f, err
	}
	place, known := r.places[f.Device]
	if !known {
		return f, ems.Errorf(ems.CodeInvalid, "device: there is no %q: the plant has %s", f.Device, strings.Join(r.devices(), ", "))
	}
	if len(kind.Devices) > 0 && !slices.Contains(kind.Devices, place.Type) {
		return f, ems.Errorf(ems.CodeInvalid, "kind: a %s has no %s: it is of %s", place.Type, f.Kind, strings.Join(kind.Devices, ", "))
	}
	if f.Amount == nil && slices.Contains(kind.Takes, "amount") && f.Kind != anyInput {
		f.Amount = &kind.Amount
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	r.last++
	f.ID = r.last
	one := active{Fault: f, group: kind.Group, moves: f.ID, begins: r.now(kind.Group).Add(seconds(f.StartS))}
	switch kind.Group {
	case Machine:
		err = r.disturb(f, place)
	case Value:
		err = r.distort(f, place)
	default:
		if f.Kind == cardReboot && f.DurationS == 0 {
			one.DurationS = rebootSeconds
		}
		one.wire = wireFaults(one.Fault, place.Unit)
		err = r.strike(place.Line, append(r.onLine(place.Line), one.wire...))
	}
	if err != nil {
		return f, err
	}
	r.set = append(r.set, one)
	r.tellBegun()
	return one.Fault, nil
}

// now returns the time that faults of a group go by.
func (r *Registry) now(group Group) time.Time {
	if group == Wire {
		return r.clock.Now()
	}
	if latest := r.plant.Latest(); latest != nil {
		return latest.Simulated
	}
	return time.Time{}
}

// tellBegun tells of the faults that have begun by now; the plant tells of those in
// machines.
func (r *Registry) tellBegun() {
	for i := range r.set {
		if one := &r.set[i]; one.group != Machine && !one.told && !r.now(one.group).Before(one.begins) {
			one.told = true
			r.tell(plant.EventFault, one.Fault)
		}
	}
}

// Watch tells of the faults that have begun or ended by themselves since it was last
// called.
func (r *Registry) Watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
}

func (r *Registry) tell(kind plant.EventKind, f Fault) {
	event := plant.Event{Kind: kind, Device: f.Device, Name: f.Kind}
	if latest := r.plant.Latest(); latest != nil {
		event.Tick = latest.Tick
	}
	if f.Amount != nil {
		event.To = *f.Amount
	}
	r.plant.Events().Add(event)
}

func (r *Registry) devices() []string {
	var list []string
	for id := range r.places {
		list = append(list, id)
	}
	slices.Sort(list)
	return list
}

func seconds(count float64) time.Duration { return time.Duration(count * float64(time.Second)) }

// inputOf returns the input that a fault in a machine of a type moves.
func inputOf(f Fault, of string) string {
	for _, kind := range machineKinds() {
		if kind.name == f.Kind {
			return kind.inputs[of]
		}
	}
	return f.Input
}

// disturb moves an input of the plant.
func (r *Registry) disturb(f Fault, place Place) error {
	input := inputOf(f, place.Type)
	if f.Kind == anyInput && (input == "" || f.Amount == nil) {
		return ems.Errorf(ems.CodeInvalid, "input: name the input that is moved, and the amount that it is moved to")
	}
	return r.plant.Disturb(f.ID, f.Device, input, *f.Amount, seconds(f.StartS), seconds(f.RampS), seconds(f.DurationS))
}

// distort changes what registers show.
func (r *Registry) distort(f Fault, place Place) error {
	d := device.Distortion{ID: f.ID, Kind: f.Kind, Quantity: f.Quantity, Ramp: seconds(f.RampS), Begin: r.now(Value).Add(seconds(f.StartS))}
	if f.Amount != nil {
		d.Amount = *f.Amount
	}
	if f.DurationS > 0 {
		d.End = d.Begin.Add(seconds(f.DurationS))
	}
	if d.Kind == device.Skewed {
		d.Quantity = device.ClockS
	}
	switch width := place.Width(d.Quantity); {
	case width == 0 && slices.Contains(place.View.Names(), d.Quantity):
		return ems.Errorf(ems.CodeInvalid, "quantity: no register of %s shows %s, so nobody would see it", f.Device, d.Quantity)
	case width == 1 && d.Kind == device.Swapped:
		return ems.Errorf(ems.CodeInvalid, "quantity: %s shows %s in one register, of which no words can be swapped", f.Device, d.Quantity)
	}
	return place.View.Distort(d)
}

// wireFaults returns what a fault is to a server. Its seed tells it from all others.
func wireFaults(f Fault, unit int) []modbusserver.Fault {
	one := modbusserver.Fault{
		Kind: modbusserver.Kind(f.Kind), Unit: &unit, Function: f.Function, FirstAddress: f.FirstAddress, LastAddress: f.LastAddress,
		Seed: f.ID, Count: f.Count, StartS: f.StartS, DurationS: f.DurationS, DelayMS: f.DelayMS, JitterMS: f.JitterMS, Exception: f.Exception,
	}
	if f.Probability != nil {
		one.Probability = *f.Probability
	}
	switch one.Kind {
	case cardReboot:
		deaf, refuse := one, one
		deaf.Kind, refuse.Kind, refuse.Unit = modbusserver.Deaf, modbusserver.Refuse, nil
		return []modbusserver.Fault{deaf, refuse}
	case modbusserver.Refuse, modbusserver.SingleClient:
		one.Unit = nil // of whoever connects
	}
	return []modbusserver.Fault{one}
}

// onLine returns what strikes a server.
func (r *Registry) onLine(line Line) []modbusserver.Fault {
	var list []modbusserver.Fault
	for _, one := range r.set {
		if one.group == Wire && r.places[one.Device].Line == line {
			list = append(list, one.wire...)
		}
	}
	return list
}

func (r *Registry) strike(line Line, faults []modbusserver.Fault) error {
	for i := range faults { // each by itself, for the words of a fault that stands alone
		if err := faults[i].Check(); err != nil {
			return ems.Errorf(ems.CodeInvalid, "%s", strings.TrimPrefix(err.Error(), "fault "))
		}
	}
	if err := line.SetFaults(faults); err != nil {
		return ems.Errorf(ems.CodeInvalid, "%w", err)
	}
	return nil
}

// Clear ends a fault.
func (r *Registry) Clear(id uint64) (Fault, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	i := slices.IndexFunc(r.set, func(one active) bool { return one.ID == id })
	if i < 0 {
		return Fault{}, ems.Errorf(ems.CodeNotFound, "no fault %d is set: it has ended, or never was", id)
	}
	one := r.set[i]
	r.set = slices.Delete(r.set, i, i+1)
	return one.Fault, r.end(one)
}

// ClearAll ends every fault and returns how many there were.
func (r *Registry) ClearAll() (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	set := r.set
	r.set = nil
	for _, one := range set {
		if err := r.end(one); err != nil {
			return 0, err
		}
	}
	return len(set), nil
}

// end ends a fault that is in the list no more.
func (r *Registry) end(one active) error {
	place := r.places[one.Device]
	switch one.group {
	case Machine:
		r.plant.Undisturb(one.moves)
		return nil // the plant tells of it
	case Value:
		place.View.Clear(one.ID)
	default:
		if err := r.strike(place.Line, r.onLine(place.Line)); err != nil {
			return err
		}
	}
	if one.told {
		r.tell(plant.EventCleared, one.Fault)
	}
	return nil
}

// State is a fault that is set.
type State struct {
	Fault
	Group  Group `json:"group"`
	Struck int   `json:"struck,omitempty"` // requests or connections, on the wire
}

// List returns the faults that are set and have not ended.
func (r *Registry) List() []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget()
	states := []State{}
	for _, one := range r.set {
		states = append(states, State{Fault: one.Fault, Group: one.group, Struck: r.struck(one)})
	}
	return states
}

func (r *Registry) struck(one active) int {
	if one.group != Wire {
		return 0
	}
	count := 0
	for _, state := range r.places[one.Device].Line.Faults() {
		if state.Seed == one.ID {
			count += state.Struck
		}
	}
	return count
}

// moved reports whether a fault in a machine is a disturbance of the plant, and not
// another with its number, which a state that was restored may have.
func (r *Registry) moved(one active, d plant.Disturbance) bool {
	return one.group == Machine && one.moves == d.ID && one.Device == d.Device && inputOf(one.Fault, r.places[one.Device].Type) == d.Input
}

// adopt takes up the disturbances of a state that was restored, which can be cleared as
// any other fault. What kind they were injected as is not known any more.
func (r *Registry) adopt(disturbances []plant.Disturbance) {
	for _, d := range disturbances {
		r.last = max(r.last, d.ID)
	}
	for _, d := range disturbances {
		if slices.ContainsFunc(r.set, func(one active) bool { return r.moved(one, d) }) {
			continue
		}
		f := Fault{ID: d.ID, Kind: anyInput, Device: d.Device, Input: d.Input, Amount: &d.To}
		if slices.ContainsFunc(r.set, func(one active) bool { return one.ID == d.ID }) {
			r.last++
			f.ID = r.last
		}
		r.set = append(r.set, active{Fault: f, group: Machine, moves: d.ID})
	}
}

// forget drops the faults that have ended by themselves.
func (r *Registry) forget() {
	r.tellBegun()
	disturbances := r.plant.Disturbances()
	defer r.adopt(disturbances)
	var over []active
	r.set = slices.DeleteFunc(r.set, func(one active) bool {
		ended := false
		switch one.group {
		case Machine:
			ended = !slices.ContainsFunc(disturbances, func(d plant.Disturbance) bool { return r.moved(one, d) })
		case Value:
			ended = !r.places[one.Device].View.Distorts(one.ID)
		default:
			ended = one.DurationS > 0 && !r.clock.Now().Before(one.begins.Add(seconds(one.DurationS))) || one.Count > 0 && r.struck(one) >= one.Count
		}
		if ended {
			over = append(over, one)
		}
		return ended
	})
	for _, one := range over {
		if one.group != Machine {
			_ = r.end(one) // what was set can be left out
		}
	}
}
