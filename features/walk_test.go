package features

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"

	"github.com/goburrow/modbus"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The hottest cell of the battery: without current it is exactly as warm as the
// room, 25 °C, and what the operator of the plant adds.
const (
	hottestCell = "comsrv:1002:T:5"
	coolC       = 25.0
	addedC      = 40.25
	hotC        = coolC + addedC // above the limit of 55, exact in binary, below the trip at 70
)

// TestOneRegisterValueIsTheSameEverywhere follows one register value from the
// socket to the hash, the model, the alarm, the history and the gateway, and a
// setpoint the other way, with the services in one process and in seven.
func TestOneRegisterValueIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	for name, separate := range map[string]bool{"one process": false, "seven processes": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			walk := &walk{site: startSite(t, separate)}
			ctx := t.Context()
			for _, step := range []struct {
				name string
				run  func(context.Context) error
			}{
				{"the battery is cool to begin with", walk.coolAtFirst},
				{"the operator heats a cell", walk.heat},
				{"the device holds the value in its registers", walk.register},
				{"Redis holds it with six decimals and its source time", walk.hash},
				{"FCALL model_get answers by hand", walk.modelByHand},
				{"the model shows it", walk.model},
				{"the gateway shows it", walk.channel},
				{"the rule raised the alarm with it", walk.alarm},
				{"InfluxDB holds it at its source time", walk.inHistory},
				{"the alarm clears when the cell cools", walk.cool},
				{"a setpoint reaches the device and moves the meter", walk.setpoint},
			} {
				if err := step.run(ctx); err != nil {
					t.Fatalf("%s: %v", step.name, err)
				}
			}
		})
	}
}

type walk struct {
	*site
	cell   ems.PointRef
	timeMS int64 // source time of the hot value
}

func (w *walk) coolAtFirst(ctx context.Context) error {
	var err error
	if w.cell, err = ems.ParsePointRef(hottestCell); err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error { return w.holds(ctx, "25.000000") })
}

func (w *walk) holds(ctx context.Context, want string) error {
	text, ms, err := w.storedValue(ctx, w.cell)
	if err != nil {
		return err
	}
	if text != want {
		return fmt.Errorf("%s is %s, want %s", w.cell, text, want)
	}
	w.timeMS = ms
	return nil
}

func (w *walk) heat(ctx context.Context) error {
	return w.setInput(ctx, "battery", "cell_temperature_rise_c", addedC)
}

// register reads the device as any Modbus client would: two holding registers,
// low word first.
func (w *walk) register(ctx context.Context) error {
	address, err := w.address(ctx, w.cell.Channel)
	if err != nil {
		return err
	}
	handler := modbus.NewTCPClientHandler(address)
	handler.SlaveId = 1
	defer handler.Close()
	return eventually(ctx, func(context.Context) error {
		bytes, err := modbus.NewClient(handler).ReadHoldingRegisters(8, 2)
		if err != nil {
			return err
		}
		words := uint32(binary.BigEndian.Uint16(bytes[2:]))<<16 | uint32(binary.BigEndian.Uint16(bytes))
		if got := math.Float32frombits(words); got != hotC {
			return fmt.Errorf("registers 8 and 9 hold %v, want %v", got, hotC)
		}
		return nil
	})
}

func (w *walk) hash(ctx context.Context) error {
	return eventually(ctx, func(ctx context.Context) error { return w.holds(ctx, "65.250000") })
}

func (w *walk) modelByHand(ctx context.Context) error {
	text, err := w.redis.FCall(ctx, "model_get", []string{"battery_001"}).Text()
	if err == nil && len(text) == 0 {
		err = fmt.Errorf("empty answer")
	}
	return err
}

// same compares a value from the API with the one in Redis. Within a refresh
// the source time may move on between two looks; then both are looked at again.
func (w *walk) same(ctx context.Context, read func(ctx context.Context) (pointValue, error)) error {
	return eventually(ctx, func(ctx context.Context) error {
		if err := w.holds(ctx, "65.250000"); err != nil {
			return err
		}
		got, err := read(ctx)
		if err != nil {
			return err
		}
		if got.Value == nil || *got.Value != hotC || *got.Time != w.timeMS || got.Quality != ems.Good || got.Unit != "°C" {
			return fmt.Errorf("got %s, want %v °C (good) at %d", got, hotC, w.timeMS)
		}
		return nil
	})
}

func (w *walk) model(ctx context.Context) error {
	return w.same(ctx, func(ctx context.Context) (pointValue, error) {
		return w.modelValue(ctx, "battery_001", "cell_temperature_max")
	})
}

func (w *walk) channel(ctx context.Context) error {
	return w.same(ctx, func(ctx context.Context) (pointValue, error) { return w.channelPoint(ctx, w.cell) })
}

func (w *walk) alarm(ctx context.Context) error {
	alarm, err := w.activeAlarm(ctx, "battery_cell_over_temperature")
	if err != nil {
		return err // it came with the value, so there is nothing to wait for
	}
	if alarm.Value == nil || *alarm.Value != hotC || alarm.Level != ems.Critical || alarm.Source != hottestCell ||
		alarm.State != ems.ActiveUnacknowledged || alarm.Occurrences != 1 || alarm.RaisedAt.UnixMilli() > w.timeMS {
		return fmt.Errorf("the alarm is %+v", alarm)
	}
	w.timeMS = alarm.RaisedAt.UnixMilli() // the time of the value that tripped it
	return nil
}

func (w *walk) inHistory(ctx context.Context) error {
	want := sample{Time: w.timeMS, Value: hotC}
	return eventually(ctx, func(ctx context.Context) error {
		samples, err := w.history(ctx, w.cell)
		if err != nil {
			return err
		}
		if !slices.Contains(samples, want) {
			return fmt.Errorf("history has %v, want %v among them", samples, want)
		}
		return nil
	})
}

func (w *walk) cool(ctx context.Context) error {
	if err := w.setInput(ctx, "battery", "cell_temperature_rise_c", 0); err != nil {
		return err
	}
	if err := eventually(ctx, func(ctx context.Context) error { return w.holds(ctx, "25.000000") }); err != nil {
		return err
	}
	if alarm, err := w.activeAlarm(ctx, "battery_cell_over_temperature"); err == nil {
		return fmt.Errorf("the alarm is still active: %+v", alarm)
	}
	var alarms []ems.Alarm
	if err := w.gateway(ctx, http.MethodGet, "/api/alarms?state=all&source="+hottestCell, nil, &alarms); err != nil {
		return err
	}
	if len(alarms) != 1 || alarms[0].State != ems.ClearedUnacknowledged {
		return fmt.Errorf("the alarms of the cell are %+v", alarms)
	}
	return nil
}

// setpoint charges the battery with 60 kW. The meter must show what the plant
// knows to flow: the coupling is checked against the plant's own truth.
func (w *walk) setpoint(ctx context.Context) error {
	const chargeKW = -60.0
	before, err := w.truth(ctx, "grid", "power_kw")
	if err != nil {
		return err
	}
	var result ems.CommandResult
	if err := w.gateway(ctx, http.MethodPost, "/api/models/battery_001/actions/power_setpoint", map[string]float64{"value": chargeKW}, &result); err != nil {
		return err
	}
	if result.State != ems.CommandDone || result.ReadBack == nil || *result.ReadBack != chargeKW {
		return fmt.Errorf("the command ended as %+v", result)
	}
	return eventually(ctx, func(ctx context.Context) error {
		battery, err := w.modelValue(ctx, "battery_001", "power")
		if err != nil {
			return err
		}
		meter, err := w.modelValue(ctx, "grid_001", "power")
		if err != nil {
			return err
		}
		if battery.Value == nil || *battery.Value != chargeKW || meter.Value == nil || *meter.Value < before+40 {
			return fmt.Errorf("the battery shows %s, the meter %s after %v kW", battery, meter, before)
		}
		return nil
	})
}
