package bench

import (
	"context"
	"path/filepath"
	"time"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/simulators/testbed"
	"github.com/voltageems/voltageems-go/system/ems"
)

// The cases of this file step simulated plants without their servers and without Redis.
const (
	parkTickCase      = "plant_tick"
	microgridTickCase = "plant_tick_microgrid"
)

// plantCases lists the names of the cases that step a plant.
func plantCases() []string { return []string{parkTickCase, microgridTickCase} }

// plantWorkloads returns plantCases.
func (s *server) plantWorkloads() []workload {
	return []workload{s.stepping(parkTickCase, "solar-storage-1mw"), s.stepping(microgridTickCase, "microgrid")}
}

// stepping returns a case of which each call is a tick of a plant.
func (s *server) stepping(name, folder string) workload {
	var p *plant.Plant
	one := workload{name: name, api: true, perCall: 1, lanes: 1}
	one.prepare = func(context.Context) error {
		definition, err := testbed.Read(filepath.Join(s.plants, folder), plant.Addresses{Free: true})
		if err != nil {
			return err
		}
		p = plant.New(definition)
		return nil
	}
	one.call = func(context.Context, int, int) error {
		p.Step(time.Time{})
		return nil
	}
	one.verify = func(_ context.Context, _, n int) error { return verifyTicks(p, n) }
	return one
}

// verifyTicks proves that each of the calls up to n was a tick, and that the grid is
// there and carries what the others leave.
func verifyTicks(p *plant.Plant, n int) error {
	truth := p.Latest()
	if want := uint64(n) + 1; truth.Tick != want {
		return ems.Errorf(ems.CodeInternal, "%s made %d ticks instead of %d", p.Definition().Name, truth.Tick, want)
	}
	if grid, _ := truth.Device("grid"); len(grid.Values) == 0 || grid.Values[0] == 0 {
		return ems.Errorf(ems.CodeInternal, "nothing flows through the grid of %s", p.Definition().Name)
	}
	return nil
}
