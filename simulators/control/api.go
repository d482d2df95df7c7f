package control

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

type api struct {
	plant *plant.Plant
}

// envelope is the shape of every answer: data where it succeeded, else error.
type envelope struct {
	Success bool   `json:"success"`
	Data    any    `json:"data,omitempty"`
	Error   *fault `json:"error,omitempty"`
}

type fault struct {
	Code    ems.Code `json:"code"`
	Message string   `json:"message"`
}

func succeed(c echo.Context, data any) error {
	return c.JSON(http.StatusOK, envelope{Success: true, Data: data})
}

// writeError answers with the envelope whatever went wrong, in a handler or
// before one was found.
func writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, code := http.StatusInternalServerError, ems.CodeOf(err)
	message := err.Error()
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &routing):
		status, code = routing.Code, ems.CodeInvalid
		if status == http.StatusNotFound {
			code = ems.CodeNotFound
		}
		message = c.Request().Method + " " + c.Request().URL.Path + ": " + http.StatusText(status) +
			"; there are GET /health, /truth, /inputs, /metrics and PUT /inputs/{device}/{input}"
	case code == ems.CodeInvalid:
		status = http.StatusBadRequest
	case code == ems.CodeNotFound:
		status = http.StatusNotFound
	case code == ems.CodeUnavailable:
		status = http.StatusServiceUnavailable
	}
	_ = c.JSON(status, envelope{Error: &fault{Code: code, Message: message}}) // the client has gone
}

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
	SimulatedTime time.Time              `json:"simulated_time"`
	WallTime      time.Time              `json:"wall_time"`
	Devices       map[string]deviceTruth `json:"devices"`
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
		Plant: a.plant.Definition().Name, Tick: latest.Tick,
		SimulatedTime: latest.Simulated, WallTime: latest.Wall.UTC(),
		Devices: map[string]deviceTruth{},
	}
	for _, device := range latest.Devices {
		answer.Devices[device.ID] = deviceTruth{
			Type:      device.Type,
			Values:    named(a.plant.Names(device.ID), device.Values),
			Setpoints: named(namesOf(a.plant.Setpoints(device.ID)), device.Setpoints),
			Inputs:    named(namesOf(a.plant.Inputs(device.ID)), device.Inputs),
		}
	}
	return succeed(c, answer)
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
	body := http.MaxBytesReader(c.Response(), c.Request().Body, mostBody)
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	const form = `: send {"value": 12.5}`
	if err := decoder.Decode(&request); err != nil {
		return ems.Errorf(ems.CodeInvalid, "the body cannot be read (%w)"+form, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return ems.Errorf(ems.CodeInvalid, "the body goes on after its object"+form)
	}
	if request.Value == nil {
		return ems.Errorf(ems.CodeInvalid, "the body has no value"+form)
	}
	device, name := c.Param("device"), c.Param("input")
	if err := a.plant.SetInput(device, name, *request.Value, "control"); err != nil {
		return err
	}
	return succeed(c, map[string]any{"device": device, "input": name, "value": *request.Value})
}
