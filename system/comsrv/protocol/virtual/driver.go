// Package virtual is the driver for points without a device: values that are set
// through the API, controls that show what was written to them, generated signals
// and points that are computed from others.
package virtual

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// Name is what a site writes as the protocol of a channel.
const Name = config.ProtocolVirtual

// Driver serves one channel. What was set and written outlives its connections:
// the driver is the device too.
type Driver struct {
	clock  ems.Clock
	maxAge time.Duration
	points []point
	groups map[string][]protocol.Reading
	polled uint64 // counts polls, so that each computes a point once
}

// point is one point with the source of its values.
type point struct {
	*ems.Point
	wave    *wave
	formula *formula
	held    *held // of a point with neither wave nor formula; nil until it is set or written

	polled uint64 // the poll that reading is of
	latest protocol.Reading
}

// formula computes a point from others.
type formula struct {
	ems.Formula
	inputs map[string]int // by the names of the formula
}

// held is a value that was set or written.
type held struct {
	raw float64
	at  time.Time
}

// New is the protocol.Factory of this driver.
func New(setting protocol.Setting) (protocol.Driver, error) {
	channel, now := setting.Channel, setting.Clock.Now()
	driver := &Driver{
		clock: setting.Clock, maxAge: channel.Virtual.MaxAge,
		points: make([]point, len(channel.Points)), groups: map[string][]protocol.Reading{},
	}
	names := map[string]int{}
	for i := range channel.Points {
		names[channel.Points[i].Name] = i
	}
	for i := range channel.Points {
		made := &driver.points[i]
		made.Point = &channel.Points[i].Point
		driver.groups[made.Group] = append(driver.groups[made.Group], protocol.Reading{Point: i})
		source := channel.Virtual.Points[made.Name]
		switch {
		case source.Expression != "":
			computed, err := newFormula(source.Expression, names)
			if err != nil {
				return nil, ems.Errorf(ems.CodeInvalid, "channel %d point %s:%d (%s): %w", channel.ID, made.Type, made.ID, made.Name, err)
			}
			made.formula = computed
		case source.Wave != "":
			made.wave = newWave(source, channel.Virtual.Seed, made.Point, now)
		case source.Initial != nil:
			made.held = &held{raw: made.ToRaw(*source.Initial), at: now}
		}
	}
	return driver, nil
}

func newFormula(text string, names map[string]int) (*formula, error) {
	parsed, err := ems.ParseFormula(text)
	if err != nil {
		return nil, err
	}
	made := &formula{Formula: parsed, inputs: map[string]int{}}
	for _, name := range parsed.Names() {
		index, known := names[name]
		if !known {
			return nil, ems.Errorf(ems.CodeInvalid, "the channel has no point with the name %q", name)
		}
		made.inputs[name] = index
	}
	return made, nil
}

// Connect implements protocol.Driver.
func (d *Driver) Connect(ctx context.Context) error { return ctx.Err() }

// Close implements protocol.Driver.
func (d *Driver) Close() error { return nil }

// ReadBatch implements protocol.Driver.
func (d *Driver) ReadBatch(ctx context.Context, group string) ([]protocol.Reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.polled++
	now := d.clock.Now()
	readings := d.groups[group]
	for i := range readings {
		readings[i] = d.read(readings[i].Point, now)
	}
	return readings, nil
}

// read returns what a point shows in this poll.
func (d *Driver) read(index int, now time.Time) protocol.Reading {
	at := &d.points[index]
	if at.polled == d.polled {
		return at.latest
	}
	// Whoever asks for the point while it is computed is one of its own inputs.
	at.polled, at.latest = d.polled, bad(index, "it is computed from itself")
	raw, doubt, err := d.compute(at, now)
	if doubt == "" {
		doubt = at.Implausible(at.FromRaw(raw))
	}
	switch {
	case err != nil:
		at.latest = bad(index, err.Error())
	case math.IsNaN(raw) || math.IsInf(raw, 0):
		at.latest = bad(index, "there is no finite result")
	case doubt != "":
		at.latest = protocol.Reading{Point: index, Raw: raw, Quality: ems.Uncertain, Reason: doubt}
	default:
		at.latest = protocol.Reading{Point: index, Raw: raw}
	}
	return at.latest
}

func bad(index int, reason string) protocol.Reading {
	return protocol.Reading{Point: index, Quality: ems.Bad, Reason: reason}
}

// compute returns the value of a point and why it is doubted. An error says why
// there is none.
func (d *Driver) compute(at *point, now time.Time) (raw float64, doubt string, err error) {
	switch {
	case at.formula != nil:
		return d.evaluate(at, now)
	case at.wave != nil:
		return at.ToRaw(at.wave.at(now)), "", nil
	case at.held == nil && at.Type.Writable():
		return 0, "", errors.New("it was not written yet")
	case at.held == nil:
		return 0, "", errors.New("it was not set yet")
	case d.maxAge > 0 && !at.Type.Writable() && now.Sub(at.held.at) > d.maxAge:
		return 0, "", fmt.Errorf("it was set last at %s, more than %v ago", at.held.at.UTC().Format(time.RFC3339), d.maxAge)
	default:
		return at.held.raw, "", nil
	}
}

// evaluate computes in the units of the points, as a person reads them. A result
// is as doubtful as its worst input.
func (d *Driver) evaluate(at *point, now time.Time) (raw float64, doubt string, err error) {
	for _, name := range at.formula.Names() {
		switch input := d.read(at.formula.inputs[name], now); {
		case input.Quality == ems.Bad:
			return 0, "", fmt.Errorf("%s: %s", name, input.Reason)
		case input.Quality != ems.Good && doubt == "":
			doubt = name + ": " + input.Reason
		}
	}
	value := at.formula.Eval(func(name string) float64 {
		input := &d.points[at.formula.inputs[name]]
		return input.FromRaw(input.latest.Raw)
	})
	return at.ToRaw(value), doubt, nil
}

// WritePoint implements protocol.Driver: the point shows what was written.
func (d *Driver) WritePoint(ctx context.Context, write protocol.Write) (protocol.Written, error) {
	err := ctx.Err()
	if err == nil && write.Before != nil {
		err = write.Before()
	}
	if err == nil {
		err = d.SetPoint(write.Point, write.Raw)
	}
	if err != nil {
		return protocol.Written{}, &protocol.WriteError{Fault: protocol.NotSent, Cause: err}
	}
	return protocol.Written{Sent: write.Raw, ReadBack: &write.Raw}, nil
}

// SetPoint implements protocol.Settable.
func (d *Driver) SetPoint(index int, raw float64) error {
	at := &d.points[index]
	switch {
	case at.formula != nil:
		return ems.Errorf(ems.CodeConflict, "%s is computed from other points: its expression says how", at.Name)
	case at.wave != nil:
		return ems.Errorf(ems.CodeConflict, "%s is a generated signal: its wave says which", at.Name)
	case math.IsNaN(raw) || math.IsInf(raw, 0):
		return ems.Errorf(ems.CodeInvalid, "%v is not a finite number", raw)
	}
	at.held = &held{raw: raw, at: d.clock.Now()}
	return nil
}
