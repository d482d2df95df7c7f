// Command voltlab is the testbed: simulated plants, and the local supervisor
// that runs one with Redis, InfluxDB and all services of the system. It is not
// for production.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// The exit statuses.
const (
	statusFailed = 1
	statusKilled = 130 // a second interrupt cut the orderly stop short
)

// errKilled says that a person did not wait for the orderly stop.
var errKilled = errors.New("stopped by force")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := newCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "voltlab:", err)
	if errors.Is(err, errKilled) {
		os.Exit(statusKilled)
	}
	os.Exit(statusFailed)
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "voltlab",
		Short:         "Simulated plants, and the whole system around one on this machine",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newUpCommand(),
		newServeCommand(),
		newSetupCommand(),
		newBenchCommand(),
		newPlantsCommand(),
		newBareCommand(),
		newDevicesCommand(),
		newTypesCommand(),
		newTruthCommand(),
		newFaultsCommand(),
		newMetersCommand(),
	)
	return root
}
