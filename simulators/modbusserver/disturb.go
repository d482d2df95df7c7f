package modbusserver

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// dripPause is how long a drip takes for each byte.
const dripPause = time.Second

// activeFault is a fault that is set.
type activeFault struct {
	Fault
	kind    int           // in faultKinds
	begins  time.Time     // when it may strike
	ends    time.Time     // zero: when it is cleared
	cleared chan struct{} // closed then

	mu     sync.Mutex
	random *rand.Rand
	struck int
}

// faultSet is all faults of a server. It is never changed, but for what they count.
type faultSet []*activeFault

// SetFaults replaces the faults of a server. One that was set before, the same in
// every field, goes on as it is: its start, count and chance are not renewed. Waits of
// those that are cleared end at once. INVALID names the fault and the field, and
// then nothing is changed.
func (s *Server) SetFaults(faults []Fault) error {
	if len(faults) > mostFaults {
		return ems.Errorf(ems.CodeInvalid, "faults: %d are more than the %d that one server may have", len(faults), mostFaults)
	}
	for i := range faults {
		err := faults[i].Check()
		if err == nil {
			err = faults[i].checkServer(s.options.Framing, s.socket)
		}
		if err != nil {
			return &ems.Error{Code: ems.CodeInvalid, Message: fmt.Sprintf("faults[%d]: %s", i, err)}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var before, after faultSet
	if set := s.faults.Load(); set != nil {
		before = slices.Clone(*set)
	}
	for i, fault := range faults {
		kept := slices.IndexFunc(before, func(one *activeFault) bool { return reflect.DeepEqual(one.Fault, fault) })
		if kept >= 0 {
			after = append(after, before[kept])
			before = slices.Delete(before, kept, kept+1)
			continue
		}
		after = append(after, s.newFault(fault, i))
	}
	if s.faults.Store(&after); len(after) == 0 {
		s.faults.Store(nil)
	}
	for _, one := range before {
		close(one.cleared)
	}
	return nil
}

// Faults returns what is set, and how often each has struck.
func (s *Server) Faults() []FaultState {
	var states []FaultState
	if set := s.faults.Load(); set != nil {
		for _, one := range *set {
			one.mu.Lock()
			states = append(states, FaultState{one.Fault, one.struck})
			one.mu.Unlock()
		}
	}
	return states
}

// FaultState is a fault that is set.
type FaultState struct {
	Fault
	Struck int `json:"struck"` // requests or connections
}

func (s *Server) newFault(fault Fault, place int) *activeFault {
	name := fnv.New64a()
	_, _ = fmt.Fprintf(name, "%s/%d/%s", s.options.Name, place, fault.Kind) // a hash takes everything
	one := &activeFault{
		Fault: fault, kind: fault.kind(), begins: s.options.Clock.Now().Add(seconds(fault.StartS)), cleared: make(chan struct{}),
		random: rand.New(rand.NewPCG(fault.Seed, name.Sum64())),
	}
	if fault.DurationS > 0 {
		one.ends = one.begins.Add(seconds(fault.DurationS))
	}
	return one
}

func seconds(count float64) time.Duration { return time.Duration(count * float64(time.Second)) }

// trouble is what the faults make of one request. A nil one is none.
type trouble struct {
	kinds     [len(faultKinds)]bool
	exception byte
	waits     []wait          // before the answer
	drip      <-chan struct{} // closed when a drip is cleared
}

// wait is a delay, and what ends it before.
type wait struct {
	duration time.Duration
	cleared  <-chan struct{}
}

// strike returns what the faults make of a request, nil if nothing.
func (s *Server) strike(asked request) *trouble {
	set := s.faults.Load()
	if set == nil {
		return nil
	}
	var made *trouble
	now := s.options.Clock.Now()
	for _, one := range *set {
		if faultKinds[one.kind].connection || !one.fits(asked) {
			continue
		}
		delay, struck := one.strike(now)
		if !struck {
			continue
		}
		s.counters.disturbed[one.kind].Add(1)
		if made == nil {
			made = &trouble{}
		}
		made.kinds[one.kind] = true
		switch one.Kind {
		case Exception:
			made.exception = byte(one.Exception)
		case Delay:
			made.waits = append(made.waits, wait{delay, one.cleared})
		case Drip:
			made.drip = one.cleared
		}
	}
	return made
}

// refuses reports whether a fault sends a new connection away, while so many are
// there.
func (s *Server) refuses(connections int) bool {
	set := s.faults.Load()
	if set == nil {
		return false
	}
	now := s.options.Clock.Now()
	for _, one := range *set {
		if one.Kind != Refuse && (one.Kind != SingleClient || connections == 0) {
			continue
		}
		if _, struck := one.strike(now); struck {
			s.counters.disturbed[one.kind].Add(1)
			return true
		}
	}
	return false
}

// strike decides whether the fault is on and its chance falls so, and how long it
// delays an answer.
func (f *activeFault) strike(now time.Time) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case now.Before(f.begins), !f.ends.IsZero() && !now.Before(f.ends), f.Count > 0 && f.struck >= f.Count:
		return 0, false
	case f.Probability > 0 && f.random.Float64() >= f.Probability:
		return 0, false
	}
	f.struck++
	return time.Duration((f.DelayMS + f.JitterMS*f.random.Float64()) * float64(time.Millisecond)), true
}

// fits reports whether a fault is about a request.
func (f *Fault) fits(asked request) bool {
	if f.Unit != nil && *f.Unit != int(asked.unit) || f.Function != nil && *f.Function != int(asked.pdu[0]) {
		return false
	}
	if f.FirstAddress == nil {
		return true
	}
	last := *f.FirstAddress
	if f.LastAddress != nil {
		last = *f.LastAddress
	}
	within := func(first, count int) bool { return first <= last && first+count > *f.FirstAddress }
	data := asked.pdu[1:]
	number := func(at int) int { return int(binary.BigEndian.Uint16(data[at:])) }
	switch code := asked.pdu[0]; {
	case code == 23 && len(data) >= 8:
		return within(number(0), number(2)) || within(number(4), number(6))
	case (code >= 1 && code <= 4 || code == 15 || code == 16) && len(data) >= 4:
		return within(number(0), number(2))
	case (code == 5 || code == 6 || code == 22) && len(data) >= 2:
		return within(number(0), 1)
	}
	return false
}

func (t *trouble) has(kind Kind) bool {
	return t != nil && t.kinds[(&Fault{Kind: kind}).kind()]
}

// forge changes where an answer says that it comes from, and of which function it is.
func (t *trouble) forge(to *request, reply []byte) {
	if t.has(WrongUnit) {
		to.unit++
	}
	if t.has(WrongTransaction) {
		to.transaction++
	}
	if t.has(WrongFunction) {
		reply[0] = reply[0]&0x80 | (reply[0]+1)&0x7F
	}
}

// damage returns what goes on the wire instead of a frame: before is the one before,
// empty if there is none.
func (t *trouble) damage(frame, before []byte) []byte {
	if t.has(Replay) && len(before) > 0 {
		frame = before
	}
	wire := slices.Clone(frame)
	if t.has(BrokenCRC) {
		wire[len(wire)-1] ^= 0xFF
	}
	if t.has(ExtraBytes) {
		wire = append(wire, 0x55, 0xAA, 0x55)
	}
	if t.has(Truncated) || t.has(Reset) {
		wire = wire[:len(wire)/2]
	}
	return wire
}
