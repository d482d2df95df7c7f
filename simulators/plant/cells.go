package plant

import (
	"math"

	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/physics"
)

// cells is how the cells of a battery are connected, and what they are like: racks in
// parallel, each of modules in series, each of cells in series.
type cells struct {
	racks, modules, perModule float64
	curve                     physics.CellCurve
	emptyAh                   float64 // taken from a cell of the data sheet when the battery counts as empty
	energyWh                  float64 // that it has given then
	resistanceOhm             float64 // of the whole battery
}

// usedPart is the part of its charge after which a cell counts as empty: the voltage
// falls steeply beyond.
const usedPart = 0.95

// readCells reads the curve of a cell and how many there are, as many as make the nominal
// voltage where that is not told.
func readCells(m *document.Mapping, capacityKWh float64) cells {
	nominalV := m.About("of the direct current, which the number of cells follows from").Number("nominal_voltage_v", 24, 1500, 750)
	c := cells{
		racks:         float64(m.About("in parallel").Integer("racks", 1, 1000, 1)),
		resistanceOhm: m.About("inside the whole battery").Number("resistance_ohm", 0, 1, 0.05),
	}
	sheet := physics.Cell{
		FullV:        m.About("of a full cell").Number("cell_voltage_full_v", 1, 5, 4.1),
		ExponentialV: m.About("of a cell where its steep beginning ends").Number("cell_voltage_exponential_v", 1, 5, 4.05),
		NominalV:     m.About("of a cell where its plateau ends").Number("cell_voltage_nominal_v", 1, 5, 3.4),
		CapacityAh:   2.25, ExponentialAh: 0.04, NominalAh: 2, RatePerHour: 0.2,
	}
	if sheet.ExponentialV > sheet.FullV {
		m.Fault("cell_voltage_exponential_v", "%v is above cell_voltage_full_v (%v)", sheet.ExponentialV, sheet.FullV)
	}
	if sheet.NominalV > sheet.ExponentialV {
		m.Fault("cell_voltage_nominal_v", "%v is above cell_voltage_exponential_v (%v)", sheet.NominalV, sheet.ExponentialV)
	}
	wanted := max(1, math.Round(nominalV/max(1, sheet.ExponentialV)))
	c.perModule = float64(m.About("in series").Integer("cells_per_module", 1, 1000, int64(min(16, wanted))))
	c.modules = float64(m.About("in series: as many as make nominal_voltage_v, where it is not told").Integer("modules_per_rack", 1, 1000, int64(max(1, math.Round(wanted/max(1, c.perModule))))))
	// The data sheet has its curve at a fifth of the capacity an hour.
	dropV := sheet.RatePerHour * capacityKWh * 1000 / nominalV * c.resistanceOhm / (c.modules * c.perModule)
	sheet.ResistanceOhm = dropV / (sheet.RatePerHour * sheet.CapacityAh)
	c.curve, c.emptyAh = sheet.Curve(), usedPart*sheet.CapacityAh
	c.energyWh = c.curve.Energy(c.emptyAh)
	return c
}

// series is how many cells are in series.
func (c cells) series() float64 { return c.modules * c.perModule }

// openCircuit returns the voltage of a cell without current at a state of charge from 0
// to 1.
func (c cells) openCircuit(charge float64) float64 {
	return c.curve.OpenCircuit((1 - charge) * c.emptyAh)
}

// chargeOf returns the state of charge of cells that hold a part of the energy of full
// ones, both from 0 to 1. It is near another.
//
// The current that takes energy out of cells is that energy over their voltage, so this
// is what counting it leads to.
func (c cells) chargeOf(energy, near float64) float64 {
	return 1 - c.curve.Taken((1-energy)*c.energyWh, (1-near)*c.emptyAh)/c.emptyAh
}

// capacityAh returns the charge of a battery of so many kWh.
func (c cells) capacityAh(capacityKWh float64) float64 {
	return capacityKWh * 1000 * c.emptyAh / (c.energyWh * c.series())
}
