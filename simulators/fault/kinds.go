// Package fault injects what goes wrong in a simulated plant: on the wire, in what
// registers show, and in the machines. The truth of the plant knows machine faults
// alone; the others lie about it, or keep silent.
package fault

import (
	"sort"
	"strings"

	"github.com/voltageems/voltageems-go/simulators/device"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
)

// Group says where a kind of fault strikes.
type Group string

// The groups.
const (
	Machine Group = "machine" // an input of the device is moved, in simulated time
	Value   Group = "value"   // registers do not show what is true, in simulated time
	Wire    Group = "wire"    // answers do not come, or not as they should, in real time
)

// Kind is something that can go wrong.
type Kind struct {
	Name    string   `json:"kind"`
	Group   Group    `json:"group"`
	Does    string   `json:"does"`
	Devices []string `json:"devices,omitempty"` // types that have it; all if empty
	Takes   []string `json:"takes,omitempty"`   // parameters beside device, start_s and duration_s
	Amount  float64  `json:"amount,omitempty"`  // unless told otherwise
}

// anyInput is the kind that moves whatever input is named.
const anyInput = "input"

// cardReboot is the kind that keeps a communication card from answering for a while.
const cardReboot = "card_reboot"

// rebootSeconds is how long a communication card is away unless told otherwise.
const rebootSeconds = 30

// machineKind is a kind that moves an input, which every type of device has by a name
// of its own.
type machineKind struct {
	name, does string
	inputs     map[string]string // by type of device
	amount     float64
}

// machineKinds lists the faults of machines and of what surrounds them.
func machineKinds() []machineKind {
	one := func(kind, input string) map[string]string { return map[string]string{kind: input} }
	return []machineKind{
		{"trip", "its inverter trips, and comes back some minutes after it is cleared", map[string]string{"pv": "forced_trip", "battery": "forced_trip"}, 1},
		{"derate", "its inverter gives so much less than it is rated for, in percent", map[string]string{"pv": "derate_pct", "battery": "derate_pct"}, 50},
		{"contactor_welded", "the contactor of its battery does not open any more", one("battery", "contactor_welded"), 1},
		{"cell_overheating", "the hottest cell is so many degrees hotter: it derates, and trips", one("battery", "cell_temperature_rise_c"), 40},
		{"self_discharge", "loses so many kW out of its cells", one("battery", "self_discharge_kw"), 10},
		{"contacts_welded", "does not open any more", one("breaker", "contacts_welded"), 1},
		{"mechanism_jammed", "stays as it is, whatever it is told", map[string]string{
			"breaker": "mechanism_locked", "transfer_switch": "mechanism_jammed", "transformer": "tap_changer_jammed",
		}, 1},
		{"fans_failed", "is cooled by itself alone", one("transformer", "fans_failed"), 1},
		{"fuel_leak", "loses so many litres an hour", one("genset", "fuel_leak_l_per_h"), 100},
		{"fuel_empty", "has no fuel within seconds", one("genset", "fuel_leak_l_per_h"), 1e6},
		{"failed_start", "cranks and does not fire", one("genset", "start_blocked"), 1},
		{"coolant_hot", "its coolant is so many degrees hotter: it trips", one("genset", "coolant_rise_c"), 40},
		{"oil_pressure_lost", "loses so much of its oil pressure, in percent: it trips", one("genset", "oil_pressure_loss_pct"), 90},
		{"overspeed", "runs so much too fast, in percent: it trips", one("genset", "overspeed_pct"), 15},
		{"emergency_stop", "is stopped by hand", one("genset", "emergency_stop"), 1},
		{"synchronizer_failed", "cannot be joined to a live bus", one("genset", "synchronizer_failed"), 1},
		{"ct_turned", "its current transformers are turned round", one("meter", "ct_reversed"), 1},
		{"outage", "the public grid is gone", one("grid", "available"), 0},
		{"voltage", "the public grid has so much of its voltage, in percent", one("grid", "voltage_pct"), 80},
		{"frequency", "the public grid has this frequency, in Hz", one("grid", "frequency_hz"), 49},
		{"load_step", "draws so many kW more", one("load", "step_kw"), 20},
		{"clouds", "so much of the sky is covered, in percent; arrays that name a weather station have it there", map[string]string{"pv": "cloud_cover_pct", "weather_station": "cloud_cover_pct"}, 100},
	}
}

// valueKind tells what a distortion does.
func valueKinds() []Kind {
	does := map[string]string{
		device.Stuck:    "shows the value of when it began, while the heartbeat goes on",
		device.Drift:    "shows so much more each hour",
		device.Noise:    "shows a value that is noisy, with this standard deviation",
		device.Bias:     "shows so much more",
		device.Scaled:   "shows so many times the value, as where a scale factor jumps",
		device.Reversed: "shows the other sign, as where a current transformer is turned round",
		device.Swapped:  "sends the words of the value in the other order",
		device.Sentinel: "sends what stands for a value that there is not",
		device.Skewed:   "its clock is so many seconds ahead",
	}
	var kinds []Kind
	for _, name := range device.Distortions {
		kind := Kind{Name: name, Group: Value, Does: does[name], Takes: []string{"quantity"}}
		switch name {
		case device.Drift, device.Noise:
			kind.Takes, kind.Amount = append(kind.Takes, "amount"), 1
		case device.Bias, device.Scaled:
			kind.Takes, kind.Amount = append(kind.Takes, "amount", "ramp_s"), 10
		case device.Skewed:
			kind.Takes, kind.Amount = []string{"amount", "ramp_s"}, 60
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// Kinds lists everything that can go wrong: machines, values, wire.
func Kinds() []Kind {
	var kinds []Kind
	for _, one := range machineKinds() {
		kind := Kind{Name: one.name, Group: Machine, Does: one.does, Takes: []string{"amount", "ramp_s"}, Amount: one.amount}
		for of := range one.inputs {
			kind.Devices = append(kind.Devices, of)
		}
		sort.Strings(kind.Devices)
		kinds = append(kinds, kind)
	}
	kinds = append(kinds, Kind{Name: anyInput, Group: Machine, Does: "moves any input of a device", Takes: []string{"input", "amount", "ramp_s"}})
	kinds = append(kinds, valueKinds()...)
	requests := []string{"function", "first_address", "last_address", "probability", "count"}
	kinds = append(kinds, Kind{Name: cardReboot, Group: Wire, Does: "its communication card restarts: nobody can connect, nothing is answered; for 30 s unless told otherwise"})
	for _, one := range modbusserver.FaultKinds() {
		kind := Kind{Name: string(one.Kind), Group: Wire, Does: one.Does, Takes: requests}
		switch one.Kind {
		case modbusserver.Delay:
			kind.Takes = append(append([]string{}, requests...), "delay_ms", "jitter_ms")
		case modbusserver.Exception:
			kind.Takes = append(append([]string{}, requests...), "exception")
		case modbusserver.Refuse, modbusserver.SingleClient:
			kind.Takes = []string{"probability", "count"}
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

// find returns a kind by its name.
func find(name string) (Kind, bool) {
	for _, kind := range Kinds() {
		if kind.Name == name {
			return kind, true
		}
	}
	return Kind{}, false
}

func names() string {
	var list []string
	for _, kind := range Kinds() {
		list = append(list, kind.Name)
	}
	return strings.Join(list, ", ")
}
