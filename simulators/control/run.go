package control

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

type mode struct {
	Speed  *float64 `json:"speed"`
	Frozen *bool    `json:"frozen"`
}

func shownMode(m plant.Mode) mode { return mode{Speed: &m.Speed, Frozen: &m.Frozen} }

func (a *api) mode(c echo.Context) error { return succeed(c, shownMode(a.runner.Mode())) }

// setMode changes what is named, and leaves the rest.
func (a *api) setMode(c echo.Context) error {
	var request mode
	const form = `{"speed": 10} or {"frozen": true}`
	if err := read(c, &request, mostBody, form); err != nil {
		return err
	}
	if request.Speed == nil && request.Frozen == nil {
		return ems.Errorf(ems.CodeInvalid, "the body names neither speed nor frozen: send %s", form)
	}
	to, err := a.runner.ChangeMode(func(to plant.Mode) plant.Mode {
		if request.Speed != nil {
			to.Speed = *request.Speed
		}
		if request.Frozen != nil {
			to.Frozen = *request.Frozen
		}
		return to
	})
	if err != nil {
		return err
	}
	return succeed(c, shownMode(to))
}

// moved is where the simulation stands after it was moved by hand.
type moved struct {
	Tick          uint64    `json:"tick"`
	SimulatedTime time.Time `json:"simulated_time"`
}

func movedTo(truth *plant.Truth) moved {
	return moved{Tick: truth.Tick, SimulatedTime: truth.Simulated}
}

func (a *api) step(c echo.Context) error {
	request := struct {
		Ticks int `json:"ticks"`
	}{Ticks: 1}
	if err := query(c); err != nil {
		return err
	}
	if c.Request().ContentLength != 0 {
		if err := read(c, &request, mostBody, `{"ticks": 1}`); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	go func() {
		defer cancel()
		select {
		case <-a.closed:
		case <-ctx.Done():
		}
	}()
	truth, err := a.runner.Advance(ctx, request.Ticks)
	if err != nil {
		return err
	}
	return succeed(c, movedTo(truth))
}

// mostBack is the longest that can be asked to go back, more than is kept.
const mostBack = 1e6

func (a *api) back(c echo.Context) error {
	var request struct {
		Seconds *float64 `json:"seconds"`
	}
	const form = `{"seconds": 60}`
	if err := read(c, &request, mostBody, form); err != nil {
		return err
	}
	if request.Seconds == nil || *request.Seconds < 0 || *request.Seconds > mostBack {
		return ems.Errorf(ems.CodeInvalid, "seconds: name the simulated time to go back, from 0 to %v: send %s", mostBack, form)
	}
	truth, err := a.runner.Back(time.Duration(*request.Seconds * float64(time.Second)))
	if err != nil {
		return err
	}
	return succeed(c, movedTo(truth))
}
