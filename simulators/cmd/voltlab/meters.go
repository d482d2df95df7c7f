package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/bench"
	"github.com/voltageems/voltageems-go/system/ems"
)

func newMetersCommand() *cobra.Command {
	devices := bench.Devices{Clock: ems.SystemClock{}}
	command := &cobra.Command{
		Use:   "meters",
		Short: "Serve plain devices that say how many registers are read from them",
		Long: `Serve Modbus TCP devices on free ports until interrupted, and say again and again
how many registers were read from all of them each second. What polls them is up to
you: a site folder for comsrv and the inputs for Telegraf are written beforehand. Ten
registers of each change between two polls. bench/telegraf.sh compares the two.`,
		Example: "  voltlab meters --count 64 --points 1500 --site /tmp/devices --telegraf /tmp/telegraf.conf",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			devices.Out = command.OutOrStdout()
			return bench.ServeDevices(command.Context(), devices)
		},
	}
	flags := command.Flags()
	flags.IntVar(&devices.Count, "count", 64, "how many devices")
	flags.IntVar(&devices.Points, "points", 1500, "points of each, of 16, 32 and 64 bits in turn")
	flags.DurationVar(&devices.Period, "period", 50*time.Millisecond, "poll period in both files")
	flags.StringVar(&devices.Site, "site", "", "folder to write a site to")
	flags.StringVar(&devices.Telegraf, "telegraf", "", "file to write the inputs for Telegraf to")
	flags.DurationVar(&devices.Every, "every", 5*time.Second, "time between two lines")
	for _, name := range []string{"site", "telegraf"} {
		_ = command.MarkFlagRequired(name) // the flag is there
	}
	return command
}
