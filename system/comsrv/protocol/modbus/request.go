package modbus

import (
	"context"
	"errors"

	"github.com/goburrow/modbus"
)

// read reads registers or bits of a unit in one turn. What it returns is valid until
// the next request of the driver. Its errors are those of ask, and a *restError.
func (d *Driver) read(ctx context.Context, unit, function uint8, start, size int) ([]byte, error) {
	if err := d.take(ctx, unit, false); err != nil {
		return nil, err
	}
	defer d.link.give()
	return d.readHeld(ctx, unit, function, start, size)
}

// readHeld is read for a caller who has the turn. What gets no answer is asked
// again, as often as the channel has it, unless the unit is known to be silent.
func (d *Driver) readHeld(ctx context.Context, unit, function uint8, start, size int) ([]byte, error) {
	tries := 1 + d.channel.Modbus.Retries
	if d.link.health.failing(unit) {
		tries = 1
	}
	for {
		data, err := d.ask(ctx, unit, nil, func(client modbus.Client) ([]byte, error) {
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
		if err == nil {
			return data, nil
		}
		tries--
		if tries == 0 || !worthRetry(err) || ctx.Err() != nil {
			d.judge(ctx, unit, err)
			return nil, err
		}
	}
}

// worthRetry reports whether the same request may find an answer now.
func worthRetry(err error) bool {
	var broken *brokenError
	return errors.As(err, &broken) && !broken.dialling
}

// take waits for a turn to talk to a unit, which ends with d.link.give.
func (d *Driver) take(ctx context.Context, unit uint8, write bool) error {
	d.waiting = d.links.clock.Now()
	err := d.held().take(ctx, unit, write)
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

// judge takes down that a unit of the channel did not answer, while the caller
// still has the turn. That no connection could be made says nothing of it.
func (d *Driver) judge(ctx context.Context, unit uint8, err error) {
	var broken *brokenError
	silent := errors.As(err, &broken) && !broken.dialling
	if exception := targetSilent(err); exception != nil {
		silent, err = true, exceptionError(exception)
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
