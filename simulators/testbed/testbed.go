// Package testbed runs a simulated plant as real devices: the physics at its
// pace, a Modbus TCP server for each device, and the truth and control API.
package testbed

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/tbrandon/mbserver"

	"github.com/voltageems/voltageems-go/simulators/control"
	"github.com/voltageems/voltageems-go/simulators/device"
	"github.com/voltageems/voltageems-go/simulators/fault"
	"github.com/voltageems/voltageems-go/simulators/modbusserver"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Options say which plant to run and where.
type Options struct {
	Folder    string          // holds plant.yaml and what it names
	Addresses plant.Addresses // replace those of plant.yaml
	Mode      *plant.Mode     // nil for real time
	From      string          // the state to begin with: a file, or a name of conditions in the folder; "" for the beginning
	Clock     ems.Clock
	Logger    *slog.Logger
}

// Testbed is a running plant.
type Testbed struct {
	plant     *plant.Plant
	runner    *plant.Runner
	units     []unit
	servers   []*modbusserver.Server
	control   *control.Server
	faults    *fault.Registry
	addresses map[string]string // by device id
	stop      context.CancelFunc
	running   sync.WaitGroup
}

// unit is the registers of one device.
type unit struct {
	id        string
	registers *modbusserver.Unit
	table     *device.Map
	view      *device.View
}

// Start reads a plant, opens all its addresses and lets it run until Close. The
// first tick is made before anybody can ask. If anything is wrong nothing is
// left open and the error says all of it.
func Start(options Options) (*Testbed, error) {
	source, err := load(options.Folder, options.Addresses)
	if err != nil {
		return nil, err
	}
	if options.Mode != nil {
		if err := options.Mode.Check(); err != nil {
			return nil, err
		}
	}
	begin, err := beginning(options)
	if err != nil {
		return nil, err
	}
	endpoints := endpointsOf(source.definition)
	if err := listen(endpoints, options.Folder); err != nil {
		return nil, err
	}
	t := &Testbed{plant: plant.New(source.definition), addresses: map[string]string{}, stop: func() {}}
	if err := t.serve(endpoints, source, begin, options); err != nil {
		_ = t.Close() // the error that ended the start matters
		for _, e := range endpoints {
			_ = e.listener.Close()
		}
		return nil, err
	}
	return t, nil
}

func (t *Testbed) serve(endpoints []*endpoint, source *loaded, begin *plant.Snapshot, options Options) error {
	metrics := prometheus.NewRegistry()
	dropped := prometheus.NewCounter(prometheus.CounterOpts{Name: "simulator_dropped_seconds_total", Help: "Time that the simulation did not catch up with."})
	ticks := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "simulator_ticks_total", Help: "Steps of the simulation."}, func() float64 {
		return float64(t.plant.Latest().Tick)
	})
	if err := errors.Join(metrics.Register(dropped), metrics.Register(ticks)); err != nil {
		return ems.Errorf(ems.CodeInternal, "metrics of the plant: %w", err)
	}
	units := make([]map[byte]*modbusserver.Unit, len(endpoints))
	for i, e := range endpoints {
		units[i] = map[byte]*modbusserver.Unit{}
		for _, one := range e.devices {
			u := t.newUnit(one.ID, source.maps[one.ID], source.views[one.ID])
			t.units = append(t.units, u)
			units[i][one.Unit] = u.registers
			t.addresses[one.ID] = e.listener.Addr().String()
		}
	}
	t.show(t.plant.Step(options.Clock.Now()))
	t.runner = plant.NewRunner(t.plant, options.Clock, t.show, func(lost time.Duration) {
		dropped.Add(lost.Seconds())
		options.Logger.Warn("the simulation fell behind and goes on from where it was", "lost", lost)
	})
	places := map[string]fault.Place{}
	for i, e := range endpoints {
		if e.devices == nil {
			continue
		}
		server, err := e.serve(units[i], options, metrics)
		if err != nil {
			return err
		}
		t.servers = append(t.servers, server)
		for _, one := range e.devices {
			places[one.ID] = fault.Place{Type: one.Type, View: source.views[one.ID], Width: source.maps[one.ID].Width, Line: server, Unit: int(one.Unit)}
			options.Logger.Info("listening", "device", one.ID, "address", t.addresses[one.ID], "unit", one.Unit)
		}
	}
	if err := t.begin(begin, options); err != nil {
		return err
	}
	t.faults = fault.NewRegistry(t.plant, places, options.Clock)
	t.control = control.Serve(endpoints[0].listener, control.Options{
		Plant: t.plant, Runner: t.runner, Faults: t.faults, Conditions: filepath.Join(options.Folder, "conditions"), Metrics: metrics, Logger: options.Logger,
	})
	options.Logger.Info("listening", "api", "control", "address", t.Control())
	ctx, stop := context.WithCancel(context.Background())
	t.stop = stop
	t.running.Go(func() { t.runner.Run(ctx) })
	return nil
}

// begin puts the plant into the state and the mode that it begins with.
func (t *Testbed) begin(snapshot *plant.Snapshot, options Options) error {
	if snapshot != nil {
		if _, err := t.runner.Restore(options.From, snapshot); err != nil {
			return err
		}
	}
	if options.Mode == nil {
		return nil
	}
	return t.runner.SetMode(*options.Mode)
}

// beginning reads the state that a plant begins with, nil where it names none.
func beginning(options Options) (*plant.Snapshot, error) {
	if options.From == "" {
		return nil, nil
	}
	file := options.From
	if filepath.Base(file) == file && filepath.Ext(file) == "" {
		file = filepath.Join(options.Folder, "conditions", file+".json")
	}
	return control.ReadSnapshot(file)
}

func (t *Testbed) newUnit(id string, table *device.Map, view *device.View) unit {
	write := func(in modbusserver.Table, address uint16, values []uint16) mbserver.Exception {
		writes, result := table.Decode(in, address, values)
		if result != mbserver.Success {
			return result
		}
		asked := make([]plant.Write, len(writes))
		for i, one := range writes {
			asked[i] = plant.Write(one)
		}
		if err := t.plant.WriteAll(id, asked, "modbus"); err != nil {
			return mbserver.SlaveDeviceFailure
		}
		return mbserver.Success
	}
	registers := modbusserver.NewUnit(table.Ranges(), write)
	registers.Update(func(image *modbusserver.Image) { table.EncodeConstants(id, image.Set) })
	return unit{id: id, registers: registers, table: table, view: view}
}

// show brings the values of one tick into the registers. The setpoints are read
// while the unit is locked, as they are written: a write that came after the tick
// was computed is not undone by it.
func (t *Testbed) show(truth *plant.Truth) {
	if t.faults != nil { // else nobody can have injected one
		defer t.faults.Watch()
	}
	for _, u := range t.units {
		values, _ := truth.Device(u.id)
		u.registers.Update(func(image *modbusserver.Image) {
			u.table.Encode(image.Set, u.view.Show(values.Values, truth.Tick, truth.Simulated), t.plant.Requested(u.id))
		})
	}
}

// Faults returns what injects faults into the plant.
func (t *Testbed) Faults() *fault.Registry { return t.faults }

// Plant returns the simulation.
func (t *Testbed) Plant() *plant.Plant { return t.plant }

// Address returns host:port of a device, "" if there is none of that id.
func (t *Testbed) Address(deviceID string) string { return t.addresses[deviceID] }

// Control returns host:port of the truth and control API.
func (t *Testbed) Control() string { return t.control.Addr().String() }

// Close ends the simulation, every server and every connection.
func (t *Testbed) Close() error {
	var failed []error
	if t.control != nil { // first, for it may be making a million ticks
		failed = append(failed, t.control.Close())
	}
	t.stop()
	t.running.Wait()
	for _, server := range t.servers {
		failed = append(failed, server.Close())
	}
	return errors.Join(failed...)
}
