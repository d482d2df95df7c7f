package plant

import (
	"math"
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// What the battery management system (BMS) protects the cells and the converter from.
const (
	cellOverVoltage = iota
	cellUnderVoltage
	cellOverTemperature
	cellUnderTemperature
	overcurrent
	overload // of its converter, which an island can draw more from than it is rated for
	protections
)

// protectionNames are the signals of each, less what they say of it.
var protectionNames = [protections]string{"cell_over_voltage", "cell_under_voltage", "cell_over_temperature", "cell_under_temperature", "overcurrent", "overload"}

// protectionDelays are how long a limit is exceeded before it trips.
var protectionDelays = [protections]time.Duration{time.Second, time.Second, 0, 0, time.Second, 5 * time.Second}

// bmsModel is the limits of the cells. Each has an alarm before it.
type bmsModel struct {
	mostV, alarmMostV   float64
	leastV, alarmLeastV float64
	tripC, alarmC       float64 // above it the PCS blocks, and resumes tripHysteresisC below
	coldTripC           float64
	mostA               float64
	spreadMV            float64 // between the highest and the lowest cell
}

const (
	tripHysteresisC = 5.0
	cellSpreadC     = 1.5  // hottest cell above the mean, and coldest below it, at rated power
	alarmBandC      = 10.0 // between alarm and trip
	coldBandC       = 5.0
	currentAlarm    = 0.9  // of the limit
	overloadAlarm   = 1.05 // of the apparent power that the converter is rated for
	overloadTrip    = 1.1
)

// Bands of the temperature over which the power falls to 0 in a straight line: charging
// towards frost, which plates lithium, everything towards the greatest cold and heat.
const (
	noChargeC, fullChargeC = 0.0, 10.0
	coldDerateC            = 10.0 // above the cold trip
	hotDerateC             = 10.0 // below the hot one
)

func readBMS(m *document.Mapping, c cells, ratedKW float64) bmsModel {
	full, empty := c.openCircuit(1), c.openCircuit(0)
	model := bmsModel{
		mostV:     m.About("of the highest cell, above which it trips").Number("cell_voltage_max_v", 1, 6, 1.05*full),
		leastV:    m.About("of the lowest cell, below which it trips").Number("cell_voltage_min_v", 0.5, 5, 0.95*empty),
		tripC:     m.About("of the hottest cell, above which it trips").Number("cell_temperature_trip_c", 40, 100, 70),
		coldTripC: m.About("of the coldest cell, below which it trips").Number("cell_temperature_low_trip_c", -40, 0, -15),
		mostA:     m.About("direct current above which it trips").Number("current_max_a", 1, 1e6, 2*ratedKW*1000/(c.openCircuit(0.5)*c.series())),
		spreadMV:  m.About("between the highest and the lowest cell, to begin with").Number("cell_voltage_spread_mv", 0, 500, 10),
	}
	model.alarmMostV, model.alarmLeastV = model.mostV-0.4*(model.mostV-full), model.leastV+0.4*(empty-model.leastV)
	model.alarmC = model.tripC - alarmBandC
	if model.mostV < full {
		m.Fault("cell_voltage_max_v", "%v is below the voltage of a full cell (%.3f)", model.mostV, full)
	}
	if model.leastV > empty {
		m.Fault("cell_voltage_min_v", "%v is above the voltage of an empty cell (%.3f)", model.leastV, empty)
	}
	return model
}

type bmsState struct {
	Alarms  [protections]bool
	Trips   [protections]bool
	Beyond  [protections]time.Duration // how long each limit has been exceeded
	Closed  bool                       // the contactor
	Trouble bool                       // the contactor is closed and should be open
}

func (s *bmsState) tripped() bool { return s.Trips != [protections]bool{} }

// bmsPoints are the signals of the protection.
func (b *battery) bmsPoints() points {
	named := points{
		quantities: []quantity{
			signal("contactor_closed", func() bool { return b.BMS.Closed }),
			signal("contactor_fault", func() bool { return b.BMS.Trouble }),
			signal("alarm", func() bool { return b.BMS.Alarms != [protections]bool{} }),
		},
		setpoints: []Setting{control("reset", 0, &b.reset)},
		inputs: []Setting{
			control("contactor_welded", 0, &b.welded),
			{Name: "cell_voltage_spread_mv", Most: 500, Initial: b.model.bms.spreadMV, value: &b.spreadMV},
		},
	}
	for i, name := range protectionNames {
		named.quantities = append(named.quantities,
			signal(name+"_alarm", func() bool { return b.BMS.Alarms[i] }),
			signal(name+"_trip", func() bool { return b.BMS.Trips[i] }))
	}
	return named
}

// exceeds reports whether a limit of the BMS is exceeded, and that of its alarm.
func (b *battery) exceeds(protection int) (alarm, trip bool) {
	limits := b.model.bms
	switch protection {
	case cellOverVoltage:
		highest := b.highestCell()
		return highest > limits.alarmMostV, highest > limits.mostV
	case cellUnderVoltage:
		lowest := b.lowestCell()
		return lowest < limits.alarmLeastV, lowest < limits.leastV
	case cellOverTemperature:
		hottest := b.hottestCell()
		return hottest > limits.alarmC, hottest > limits.tripC
	case cellUnderTemperature:
		coldest := b.coldestCell()
		return coldest < limits.coldTripC+coldBandC, coldest < limits.coldTripC
	case overload:
		load := math.Hypot(b.Power.KW(), b.Reactive.KW()) / b.model.inverter.ratedKVA
		return load > overloadAlarm, load > overloadTrip
	default:
		current := math.Abs(b.CurrentA)
		return current > currentAlarm*limits.mostA, current > limits.mostA
	}
}

// protect trips the battery where a limit is exceeded for long enough. A trip by the
// temperature ends by itself, one by an overload when the battery is stopped, too, and
// any other waits until it is reset. The contactor opens with a trip, and when the
// battery is stopped, unless it is welded.
func (b *battery) protect(now moment) {
	for i := range protections {
		alarm, beyond := b.exceeds(i)
		b.BMS.Alarms[i] = alarm
		if !beyond {
			b.BMS.Beyond[i] = 0
			if b.recovered(i) {
				b.BMS.Trips[i] = false
			}
		} else if b.BMS.Beyond[i] += now.step; b.BMS.Beyond[i] >= protectionDelays[i] {
			b.BMS.Trips[i] = true
		}
	}
	wanted := b.run == 1 && !b.BMS.tripped()
	b.BMS.Closed = wanted || b.BMS.Closed && b.welded == 1
	b.BMS.Trouble = b.BMS.Closed && !wanted
}

// recovered reports whether a trip whose limit is no longer exceeded ends.
func (b *battery) recovered(protection int) bool {
	switch protection {
	case cellOverTemperature:
		return b.hottestCell() < b.model.bms.tripC-tripHysteresisC
	case cellUnderTemperature:
		return b.coldestCell() > b.model.bms.coldTripC+coldBandC
	case overload:
		return b.reset == 1 || b.run == 0
	default:
		return b.reset == 1
	}
}

// hottestCell is the mean cell temperature, the spread between cells under load
// and the rise that the operator adds, in C.
func (b *battery) hottestCell() float64 { return b.CellC + b.spreadC() + b.riseC }

func (b *battery) coldestCell() float64 { return b.CellC - b.spreadC() }

func (b *battery) spreadC() float64 {
	return cellSpreadC * (math.Abs(b.Power.KW()) / b.model.inverter.ratedKW)
}

func (b *battery) meanCell() float64 { return b.VoltageV / b.model.cells.series() }

func (b *battery) highestCell() float64 { return b.meanCell() + b.spreadMV/2000 }

func (b *battery) lowestCell() float64 { return max(0, b.meanCell()-b.spreadMV/2000) }

// byTemperature returns the parts of the rated power that the cells may be charged and
// discharged with.
func (b *battery) byTemperature() (charge, discharge float64) {
	coldest, hot := b.coldestCell(), (b.model.bms.tripC-b.hottestCell())/hotDerateC
	discharge = clamp(min(hot, (coldest-b.model.bms.coldTripC)/coldDerateC), 0, 1)
	return clamp((coldest-noChargeC)/(fullChargeC-noChargeC), 0, discharge), discharge
}
