package modbus

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/config"
)

// answers takes down that a unit of the channel does.
func (d *Driver) answers(unit uint8) {
	delete(d.silent, unit)
	d.link.health.answer(unit)
}

// missed remembers a unit without an answer for the rest of a connect. One that was
// left alone was not asked.
func (d *Driver) missed(unit uint8, err error) {
	var resting *restError
	if !errors.As(err, &resting) {
		d.silent[unit] = err
	}
}

// isThere reports whether any unit of the channel answers beside those that did not in
// a poll of a group. What a unit answered longer ago than the period of that group
// proves nothing, because one that is polled rarely would keep a channel online for as
// long after it has gone: it is asked.
func (d *Driver) isThere(ctx context.Context, group *group, failed []uint8, connecting bool) bool {
	now := d.links.clock.Now()
	var doubted []uint8
	for _, unit := range slices.Sorted(maps.Keys(d.counters)) {
		if slices.Contains(failed, unit) || config.Broadcasts(d.channel.Protocol, unit) {
			continue
		}
		answers, at := d.link.health.answered(unit)
		if answers && now.Sub(at) <= group.period {
			return true
		}
		silent := d.link.health.failing(unit)
		if connecting { // then only what happened since it began counts
			silent = d.silent[unit] != nil
		}
		if !silent {
			doubted = append(doubted, unit)
		}
	}
	for _, unit := range doubted {
		answers, err := d.askForPresence(ctx, unit)
		var broken *brokenError
		if answers || errors.As(err, &broken) && broken.dialling { // the other units are behind the same door
			return answers
		}
	}
	return false
}

// askForPresence reads anything of a unit that a poll would read. An exception is an
// answer, too.
func (d *Driver) askForPresence(ctx context.Context, unit uint8) (answers bool, err error) {
	block := d.anyBlock(unit)
	if block == nil || ctx.Err() != nil {
		return false, ctx.Err()
	}
	if d.yield != nil {
		d.yield(ctx)
	}
	_, err = d.read(ctx, unit, block.function, block.start, block.end-block.start, d.yield)
	var exception *modbus.ModbusError
	if err != nil && (!errors.As(err, &exception) || targetSilent(err) != nil) {
		if ctx.Err() == nil {
			d.missed(unit, err)
		}
		return false, err
	}
	d.answers(unit)
	return true, nil
}

// anyBlock returns a block of a unit, nil where nothing of it is read.
func (d *Driver) anyBlock(unit uint8) *block {
	for _, name := range slices.Sorted(maps.Keys(d.groups)) {
		for _, of := range d.groups[name].units {
			if of.id == unit && len(of.blocks) > 0 {
				return of.blocks[0]
			}
		}
	}
	return nil
}
