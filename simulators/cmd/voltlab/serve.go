package main

import (
	"context"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/scenarios"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/simulators/testbed"
	"github.com/voltageems/voltageems-go/system/ems"
)

func newServeCommand() *cobra.Command {
	var listen []string
	var control, from string
	var free bool
	mode := plant.Mode{Speed: 1}
	command := &cobra.Command{
		Use:   "serve PLANT",
		Short: "Run the devices of a simulated plant until interrupted",
		Long: `Run a simulated plant in real time: its physics, a Modbus TCP server for each of
its devices, and the control API, until Ctrl-C or SIGTERM.

PLANT is a folder that holds plant.yaml, or the name of one below scenarios. All
addresses are those of plant.yaml unless a flag replaces them; port 0 takes any
free one. The log says where each device listens.

The control API tells the truth about the plant and changes what no device
register can. It is on loopback alone and asks for no password:
  GET /truth, PUT /inputs/battery/cell_temperature_rise_c {"value": 35},
  PUT /mode {"speed": 60}, POST /snapshots/NAME/restore, GET /events, ...
GET /openapi.yaml describes all of it.`,
		Example: `  voltlab serve microgrid
  voltlab serve scenarios/microgrid --listen pv=127.0.0.1:0 --control 127.0.0.1:0
  curl -X PUT 127.0.0.1:5020/inputs/grid/available -d '{"value": 0}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			folder, err := scenarios.FindPlant(args[0], ".")
			if err != nil {
				return err
			}
			addresses, err := readListen(listen)
			if err != nil {
				return err
			}
			return servePlant(command.Context(), testbed.Options{
				Folder: folder, Addresses: plant.Addresses{Listen: addresses, Control: control, Free: free}, Mode: &mode, From: from,
			}, command.ErrOrStderr())
		},
	}
	flags := command.Flags()
	flags.StringArrayVar(&listen, "listen", nil, "DEVICE=HOST:PORT in place of the address in plant.yaml; may be given for each device")
	flags.BoolVar(&free, "free", false, "take free ports wherever no flag gives an address")
	flags.Float64Var(&mode.Speed, "speed", 1, "simulated seconds for each second, from 0.1 to 1000")
	flags.BoolVar(&mode.Frozen, "frozen", false, "begin frozen; the control API lets it go on")
	flags.StringVar(&from, "from", "", "state to begin with: a file, or the name of one in the plant's folder conditions")
	flags.StringVar(&control, "control", "", "HOST:PORT of the control API in place of the address in plant.yaml")
	return command
}

// readListen reads texts like pv=127.0.0.1:5021 into addresses by device.
func readListen(texts []string) (map[string]string, error) {
	addresses := map[string]string{}
	for _, text := range texts {
		device, address, found := strings.Cut(text, "=")
		if !found || device == "" || address == "" {
			return nil, ems.Errorf(ems.CodeInvalid, "--listen %q: write it as DEVICE=HOST:PORT, for example pv=127.0.0.1:5021", text)
		}
		if _, twice := addresses[device]; twice {
			return nil, ems.Errorf(ems.CodeInvalid, "--listen names %s twice: give it one address", device)
		}
		addresses[device] = address
	}
	return addresses, nil
}

// servePlant runs a plant until the context ends.
func servePlant(ctx context.Context, options testbed.Options, log io.Writer) error {
	logger := slog.New(slog.NewTextHandler(log, nil))
	options.Clock, options.Logger = ems.SystemClock{}, logger
	bed, err := testbed.Start(options)
	if err != nil && ems.CodeOf(err) == ems.CodeConflict {
		return ems.Errorf(ems.CodeConflict, "%w; --free takes free ones", err)
	}
	if err != nil {
		return err
	}
	logger.Info("plant is running", "plant", bed.Plant().Definition().Name, "step", bed.Plant().Definition().Step)
	<-ctx.Done()
	logger.Info("stopping the plant", "ticks", bed.Plant().Latest().Tick)
	return bed.Close()
}
