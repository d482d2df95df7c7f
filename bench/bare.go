package bench

import (
	"context"
	"strconv"

	"github.com/goburrow/modbus"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// bareRead is how many registers one read of the bare clients asks for.
const bareRead = 125

// ReadBare reads with one client of goburrow for each address, through so many
// registers in turn, as fast as they are answered, until ctx ends or one fails.
func ReadBare(ctx context.Context, addresses []string, registers int) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, address := range addresses {
		group.Go(func() error {
			handler := modbus.NewTCPClientHandler(address)
			handler.SlaveId, handler.Timeout = 1, askWithin
			defer handler.Close()
			client := modbus.NewClient(handler)
			for first := 0; ctx.Err() == nil; {
				if _, err := client.ReadHoldingRegisters(uint16(first), bareRead); err != nil {
					return ems.Errorf(ems.CodeUnavailable, "a simulated device: %w", err)
				}
				if first += bareRead; first+bareRead > registers {
					first = 0
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// BareCommand is what the program voltlab calls ReadBare: the registers and the
// addresses follow it.
const BareCommand = "bare"

// readBare measures a round of bare clients. They are a process of their own, as
// comsrv is: within the process of the devices a request would cost no switch from
// one program to the other, which no program that reads real devices is spared.
func (s *server) readBare(ctx context.Context, meters []*meter, of *recording) error {
	args := []string{BareCommand, strconv.Itoa(meters[0].layout.registers())}
	for _, one := range meters {
		args = append(args, one.address)
	}
	clients, err := managed.StartProcess(managed.Command{Name: "bare clients", Path: s.voltlab, Args: args})
	if err != nil {
		return err
	}
	err = s.awaitPolled(ctx, meters)
	if err == nil {
		err = s.listenAt(ctx, meters, clients.PID(), of)
	}
	select {
	case <-clients.Exited():
		err = firstOf(err, ems.Errorf(ems.CodeUnavailable, "the bare clients have ended: %v", clients.Err()))
	default:
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	return firstOf(err, clients.Stop(ending))
}
