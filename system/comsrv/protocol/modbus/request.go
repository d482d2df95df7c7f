package modbus

import (
	"context"
	"errors"

	"github.com/goburrow/modbus"
)

// read reads registers or bits of a unit. What it returns is valid until the next
// request of the driver. Its errors are those of ask, and a *restError. What gets no answer is asked again, as often as the channel has it, unless
// the unit is known to be silent. Each attempt has a turn of its own, so that others
// wait for one timeout and not for all; between, where it is not nil, is called before
// each but the first.
func (d *Driver) read(ctx context.Context, unit, function uint8, start, size int, between func(context.Context)) (data []byte, err error) {
	for tries := 1 + d.channel.Modbus.Retries; ; {
		if taken := d.take(ctx, unit, reading); taken != nil {
			if err == nil {
				err = taken
			}
			return nil, err
		}
		if tries--; d.link.health.failing(unit) {
			tries = 0
		}
		data, err = d.attempt(ctx, unit, function, start, size)
		last := err == nil || tries == 0 || !worthRetry(err) || ctx.Err() != nil
		if last {
			d.judge(ctx, unit, err)
		}
		d.link.give()
		if last {
			return data, err
		}
		if between != nil {
			between(ctx)
		}
	}
}

// readHeld is read for a caller who has the turn, and keeps it.
func (d *Driver) readHeld(ctx context.Context, unit, function uint8, start, size int) (data []byte, err error) {
	tries := 1 + d.channel.Modbus.Retries
	if d.link.health.failing(unit) {
		tries = 1
	}
	for {
		data, err = d.attempt(ctx, unit, function, start, size)
		if tries--; err == nil || tries == 0 || !worthRetry(err) || ctx.Err() != nil {
			d.judge(ctx, unit, err)
			return data, err
		}
	}
}

// attempt asks a unit once for registers or bits.
func (d *Driver) attempt(ctx context.Context, unit, function uint8, start, size int) ([]byte, error) {
	return d.ask(ctx, unit, nil, func(client modbus.Client) ([]byte, error) {
		address, quantity := uint16(start), uint16(size)
		switch function {
		case readCoils:
			return client.ReadCoils(address, quantity)
		case readDiscreteInputs:
			return client.ReadDiscreteInputs(address, quantity)
		case readHolding:
			return client.ReadHoldingRegisters(address, quantity)
		default:
			return client.ReadInputRegisters(address, quantity)
		}
	})
}

// worthRetry reports whether the same request may find an answer now.
func worthRetry(err error) bool {
	var broken *brokenError
	return errors.As(err, &broken) && !broken.dialling
}

// take waits for a turn to talk to a unit, which ends with d.link.give.
func (d *Driver) take(ctx context.Context, unit uint8, of purpose) error {
	d.waiting = d.links.clock.Now()
	err := d.held().take(ctx, unit, of)
	if err != nil {
		var resting *restError
		if errors.As(err, &resting) {
			d.countersOf(unit).leftOut.Inc()
		}
		d.tracer().failure(d.links.clock.Now(), unit, err)
	}
	return err
}

// ask makes one exchange with a unit. Its errors are those of link.exchange.
func (d *Driver) ask(ctx context.Context, unit uint8, before func() error, call func(modbus.Client) ([]byte, error)) ([]byte, error) {
	trace := d.tracer()
	reply, err := d.link.exchange(ctx, &ask{
		unit: unit, timeout: d.channel.Timeout, since: d.waiting, before: before, call: call, counters: d.countersOf(unit), trace: trace,
		frame: d.frame[:],
	})
	if err != nil {
		trace.failure(d.links.clock.Now(), unit, err)
	}
	return reply, err
}

// countersOf returns the metrics of a unit.
func (d *Driver) countersOf(unit uint8) *unitMetrics {
	if known := d.counters[unit]; known != nil {
		return known
	}
	if d.other.Load() == nil {
		d.other.Store(d.links.metrics.ofUnit(&d.channel, otherUnit))
	}
	return d.other.Load()
}

// judge takes down that a unit of the channel did not answer, or that it did with an
// exception, while the caller still has the turn. That no connection could be made
// says nothing of it.
func (d *Driver) judge(ctx context.Context, unit uint8, err error) {
	var broken *brokenError
	var exception *modbus.ModbusError
	silent := errors.As(err, &broken) && !broken.dialling
	if of := targetSilent(err); of != nil {
		silent, err = true, exceptionError(of)
	} else if errors.As(err, &exception) {
		d.praise(unit)
	}
	if silent && ctx.Err() == nil && d.counters[unit] != nil {
		d.link.health.fail(unit, d.channel.Timeout, err.Error())
	}
}

// targetSilent returns the exception with which a gateway says that it cannot
// reach a unit.
func targetSilent(err error) *modbus.ModbusError {
	var exception *modbus.ModbusError
	if !errors.As(err, &exception) {
		return nil
	}
	switch exception.ExceptionCode {
	case modbus.ExceptionCodeGatewayPathUnavailable, modbus.ExceptionCodeGatewayTargetDeviceFailedToRespond:
		return exception
	default:
		return nil
	}
}
