package features

import (
	"context"
	"fmt"
	"net/http"

	"github.com/voltageems/voltageems-go/system/ems"
)

// inject makes a device of the plant fail until the faults are cleared.
func (s *steps) inject(ctx context.Context, kind, device string) error {
	return call(ctx, http.MethodPost, s.stack.ControlURL()+"/faults", map[string]any{"kind": kind, "device": device}, nil)
}

// distort lets the registers of a device lie about a quantity.
func (s *steps) distort(ctx context.Context, kind string, amount float64, device, quantity string) error {
	fault := map[string]any{"kind": kind, "device": device, "quantity": quantity, "amount": amount}
	return call(ctx, http.MethodPost, s.stack.ControlURL()+"/faults", fault, nil)
}

func (s *steps) clearFaults(ctx context.Context) error {
	return call(ctx, http.MethodDelete, s.stack.ControlURL()+"/faults", nil, nil)
}

func (s *steps) channelIs(ctx context.Context, id int, want string) error {
	return eventually(ctx, func(ctx context.Context) error {
		channels, err := s.stack.ChannelStates(ctx)
		if err != nil {
			return err
		}
		for _, channel := range channels {
			if channel.ID == ems.ChannelID(id) && channel.Online == (want == "online") {
				return nil
			}
		}
		return fmt.Errorf("channel %d is not %s: %+v", id, want, channels)
	})
}

func (s *steps) valueIs(ctx context.Context, point, want string) error {
	ref, err := ems.ParsePointRef(point)
	if err != nil {
		return err
	}
	return eventually(ctx, func(ctx context.Context) error {
		value, err := s.channelPoint(ctx, ref)
		if err == nil && value.Quality.String() != want {
			err = fmt.Errorf("%s is %s", point, value)
		}
		return err
	})
}
