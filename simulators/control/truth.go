package control

import (
	"fmt"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// latest returns the values of the last tick.
func (a *api) latest() (*plant.Truth, error) {
	latest := a.plant.Latest()
	if latest == nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "the plant has not made its first tick yet: ask again")
	}
	return latest, nil
}

type health struct {
	Status string `json:"status"`
	Plant  string `json:"plant"`
	Tick   uint64 `json:"tick"`
}

func (a *api) health(c echo.Context) error {
	latest, err := a.latest()
	if err != nil {
		return err
	}
	return succeed(c, health{Status: "healthy", Plant: a.plant.Definition().Name, Tick: latest.Tick})
}

type truth struct {
	Plant         string                 `json:"plant"`
	Tick          uint64                 `json:"tick"`
	Digest        string                 `json:"digest"` // of the state, in hexadecimal
	SimulatedTime time.Time              `json:"simulated_time"`
	WallTime      time.Time              `json:"wall_time"`
	Buses         map[string]busTruth    `json:"buses"`
	Devices       map[string]deviceTruth `json:"devices"`
}

type busTruth struct {
	Live        bool    `json:"live"`
	VoltageV    float64 `json:"voltage_v"` // between two conductors, 0 where it is dead
	FrequencyHz float64 `json:"frequency_hz"`
}

// deviceTruth is all values of a device at the end of a tick, setpoints and
// inputs as the tick used them. A signal is 0 or 1.
type deviceTruth struct {
	Type      string             `json:"type"`
	Values    map[string]float64 `json:"values"`
	Setpoints map[string]float64 `json:"setpoints"`
	Inputs    map[string]float64 `json:"inputs"`
}

func (a *api) truth(c echo.Context) error {
	latest, err := a.latest()
	if err != nil {
		return err
	}
	answer := truth{
		Plant: a.plant.Definition().Name, Tick: latest.Tick, Digest: fmt.Sprintf("%016x", latest.Digest),
		SimulatedTime: latest.Simulated, WallTime: latest.Wall.UTC(),
		Buses: map[string]busTruth{}, Devices: map[string]deviceTruth{},
	}
	for _, bus := range latest.Buses {
		answer.Buses[bus.ID] = busTruth{Live: bus.Live, VoltageV: bus.VoltageV, FrequencyHz: bus.FrequencyHz}
	}
	for _, device := range latest.Devices {
		answer.Devices[device.ID] = a.truthOf(device)
	}
	return succeed(c, answer)
}

func (a *api) deviceTruth(c echo.Context) error {
	latest, err := a.latest()
	if err != nil {
		return err
	}
	device, known := latest.Device(c.Param("device"))
	if !known {
		var ids []string
		for _, one := range latest.Devices {
			ids = append(ids, one.ID)
		}
		return ems.Errorf(ems.CodeNotFound, "no device %q: the plant has %s", c.Param("device"), strings.Join(ids, ", "))
	}
	return succeed(c, a.truthOf(device))
}

func (a *api) truthOf(device plant.DeviceTruth) deviceTruth {
	return deviceTruth{
		Type:      device.Type,
		Values:    named(a.plant.Names(device.ID), device.Values),
		Setpoints: named(namesOf(a.plant.Setpoints(device.ID)), device.Setpoints),
		Inputs:    named(namesOf(a.plant.Inputs(device.ID)), device.Inputs),
	}
}

func named(names []string, values []float64) map[string]float64 {
	byName := make(map[string]float64, len(names))
	for i, name := range names {
		byName[name] = values[i]
	}
	return byName
}

func namesOf(settings []plant.Setting) []string {
	names := make([]string, len(settings))
	for i, one := range settings {
		names[i] = one.Name
	}
	return names
}

// input is one input as it was last set, which the next tick will use.
type input struct {
	Value float64 `json:"value"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Truth bool    `json:"truth,omitempty"` // 0 or 1 alone
}

func (a *api) inputs(c echo.Context) error {
	devices := map[string]map[string]input{}
	for _, device := range a.plant.Definition().Devices {
		devices[device.ID] = map[string]input{}
		values := a.plant.RequestedInputs(device.ID)
		for i, one := range a.plant.Inputs(device.ID) {
			devices[device.ID][one.Name] = input{Value: values[i], Min: one.Least, Max: one.Most, Truth: one.Boolean}
		}
	}
	return succeed(c, devices)
}

func (a *api) setInput(c echo.Context) error {
	var request struct {
		Value *float64 `json:"value"`
	}
	const form = `{"value": 12.5}`
	if err := read(c, &request, mostBody, form); err != nil {
		return err
	}
	if request.Value == nil {
		return ems.Errorf(ems.CodeInvalid, "the body has no value: send %s", form)
	}
	device, name := c.Param("device"), c.Param("input")
	if err := a.plant.SetInput(device, name, *request.Value, by); err != nil {
		return err
	}
	return succeed(c, map[string]any{"device": device, "input": name, "value": *request.Value})
}
