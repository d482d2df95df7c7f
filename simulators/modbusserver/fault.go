package modbusserver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Kind is what goes wrong on the wire.
type Kind string

// The kinds.
const (
	Silence          Kind = "silence"
	Deaf             Kind = "deaf"
	Delay            Kind = "delay"
	Exception        Kind = "exception"
	WrongUnit        Kind = "wrong_unit"
	WrongFunction    Kind = "wrong_function"
	WrongTransaction Kind = "wrong_transaction"
	Truncated        Kind = "truncated"
	ExtraBytes       Kind = "extra_bytes"
	BrokenCRC        Kind = "broken_crc"
	Drip             Kind = "drip"
	Replay           Kind = "replay"
	Reset            Kind = "reset"
	Refuse           Kind = "refuse"
	SingleClient     Kind = "single_client"
)

// FaultKind tells what a kind does.
type FaultKind struct {
	Kind Kind   `json:"kind"`
	Does string `json:"does"` // one line

	framing    []Framing // those that have it; any if empty
	connection bool      // it is about connections, and not about requests
	socket     bool      // a serial line does not have it
}

var faultKinds = [...]FaultKind{
	{Kind: Silence, Does: "carries requests out and never answers"},
	{Kind: Deaf, Does: "does not hear requests: nothing is carried out, nothing answered"},
	{Kind: Delay, Does: "answers after delay_ms, and up to jitter_ms later"},
	{Kind: Exception, Does: "refuses requests with an exception instead of carrying them out"},
	{Kind: WrongUnit, Does: "answers as the next unit"},
	{Kind: WrongFunction, Does: "answers as another function"},
	{Kind: WrongTransaction, Does: "answers with the next transaction id", framing: []Framing{TCP}},
	{Kind: Truncated, Does: "sends the first half of an answer"},
	{Kind: ExtraBytes, Does: "sends three bytes more than an answer has"},
	{Kind: BrokenCRC, Does: "sends a wrong CRC", framing: []Framing{RTU}},
	{Kind: Drip, Does: "sends one byte a second"},
	{Kind: Replay, Does: "sends the answer before instead of the one that is due"},
	{Kind: Reset, Does: "sends the first half of an answer and resets the connection", socket: true},
	{Kind: Refuse, Does: "resets whoever connects; who is connected stays", connection: true, socket: true},
	{Kind: SingleClient, Does: "resets whoever connects while another is connected", connection: true, socket: true},
}

// FaultKinds lists what can go wrong.
func FaultKinds() []FaultKind { return slices.Clone(faultKinds[:]) }

// Fault is something that goes wrong on the wire of a server. Where nothing is said
// it is about every request, from now on, until it is cleared.
type Fault struct {
	Kind Kind `json:"kind"`

	// Which requests: all of these must fit.
	Unit         *int `json:"unit,omitempty"`          // 0 to 255
	Function     *int `json:"function,omitempty"`      // 1 to 127
	FirstAddress *int `json:"first_address,omitempty"` // one of the addresses of a request lies here
	LastAddress  *int `json:"last_address,omitempty"`  // that of FirstAddress if left out

	// How many of them, and when.
	Probability float64 `json:"probability,omitempty"` // above 0, at most 1; 0 stands for 1
	Seed        uint64  `json:"seed,omitempty"`        // of the chance
	Count       int     `json:"count,omitempty"`       // after so many it is over; 0: it is not
	StartS      float64 `json:"start_s,omitempty"`     // from when it was set
	DurationS   float64 `json:"duration_s,omitempty"`  // from its start; 0: until it is cleared

	DelayMS   float64 `json:"delay_ms,omitempty"`
	JitterMS  float64 `json:"jitter_ms,omitempty"`
	Exception int     `json:"exception,omitempty"` // 1 to 11
}

// Bounds of a fault.
const (
	mostFaults  = 64 // of one server
	mostDelayMS = 600_000
	mostS       = 1e6
	mostCount   = 1e9
)

// kind returns the place in faultKinds, -1 if there is no such kind.
func (f *Fault) kind() int {
	return slices.IndexFunc(faultKinds[:], func(one FaultKind) bool { return one.Kind == f.Kind })
}

// Check says in one INVALID what is wrong with a fault: each line names a field.
func (f *Fault) Check() error {
	var wrong []string
	note := func(field, format string, args ...any) {
		wrong = append(wrong, field+": "+fmt.Sprintf(format, args...))
	}
	within := func(field string, value *int, least, most int) {
		if value != nil && (*value < least || *value > most) {
			note(field, "%d is not between %d and %d", *value, least, most)
		}
	}
	number := func(field string, value, most float64) {
		if !(value >= 0 && value <= most) { // NaN is neither
			note(field, "%v is not between 0 and %v", value, most)
		}
	}
	kind := f.kind()
	if kind < 0 {
		names := make([]string, len(faultKinds))
		for i, one := range faultKinds {
			names[i] = string(one.Kind)
		}
		note("kind", "there is no %q: use one of %s", f.Kind, strings.Join(names, ", "))
	}
	within("unit", f.Unit, 0, 255)
	within("function", f.Function, 1, 127)
	within("first_address", f.FirstAddress, 0, 65535)
	within("last_address", f.LastAddress, 0, 65535)
	within("count", &f.Count, 0, mostCount)
	number("probability", f.Probability, 1)
	number("start_s", f.StartS, mostS)
	number("duration_s", f.DurationS, mostS)
	number("delay_ms", f.DelayMS, mostDelayMS)
	number("jitter_ms", f.JitterMS, mostDelayMS)
	switch {
	case f.LastAddress != nil && f.FirstAddress == nil:
		note("last_address", "it needs first_address")
	case f.LastAddress != nil && *f.LastAddress < *f.FirstAddress:
		note("last_address", "%d lies before first_address", *f.LastAddress)
	}
	if kind >= 0 {
		f.checkKind(&faultKinds[kind], note)
	}
	if len(wrong) == 0 {
		return nil
	}
	return &ems.Error{Code: ems.CodeInvalid, Message: "fault " + strings.Join(wrong, "; "), Details: wrong}
}

// checkKind notes what a kind needs and has not, and what it cannot use.
func (f *Fault) checkKind(kind *FaultKind, note func(field, format string, args ...any)) {
	if kind.Kind == Delay {
		if f.DelayMS == 0 && f.JitterMS == 0 {
			note("delay_ms", "how long is an answer to be late?")
		}
	} else if f.DelayMS != 0 || f.JitterMS != 0 {
		note("delay_ms", "%s has none", kind.Kind)
	}
	if kind.Kind == Exception {
		if f.Exception < 1 || f.Exception > mostException {
			note("exception", "%d is not between 1 and %d", f.Exception, mostException)
		}
	} else if f.Exception != 0 {
		note("exception", "%s has none", kind.Kind)
	}
	if kind.connection {
		for _, filter := range []struct {
			field string
			value *int
		}{{"unit", f.Unit}, {"function", f.Function}, {"first_address", f.FirstAddress}} {
			if filter.value != nil {
				note(filter.field, "%s is about connections, which have none", kind.Kind)
			}
		}
	}
}

// checkServer says in an INVALID why a fault, that is right in itself, makes no
// sense on a server.
func (f *Fault) checkServer(framing Framing, socket bool) error {
	kind := &faultKinds[f.kind()]
	switch {
	case len(kind.framing) > 0 && !slices.Contains(kind.framing, framing):
		return ems.Errorf(ems.CodeInvalid, "fault kind: %s needs frames of %s, and this server has those of %s", f.Kind, kind.framing[0], framing)
	case kind.socket && !socket:
		return ems.Errorf(ems.CodeInvalid, "fault kind: %s needs connections, and a serial line has none", f.Kind)
	}
	return nil
}
