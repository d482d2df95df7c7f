package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

func newSetupCommand() *cobra.Command {
	var peers bool
	command := &cobra.Command{
		Use:   "setup",
		Short: "Put Redis and InfluxDB on this machine, unless they are there",
		Long: `Make sure that this machine has a Redis of version 7 or newer and an InfluxDB 1.8.

A missing Redis is installed with apt-get where this process is root or sudo asks
for no password; elsewhere the message says what to type. A missing InfluxDB is
built once from its Go module into .bin of the checkout, which takes about a
minute. With --peers also mbpoll and pymodbus, which tests speak with, are
installed with apt-get; without apt-get those tests are skipped.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			checkout, err := managed.FindCheckout(".")
			if err != nil {
				return err
			}
			installer := managed.NewInstaller(ems.SystemClock{}, os.Stdout, term.IsTerminal(int(os.Stdout.Fd())))
			redis, err := installer.EnsureRedis(command.Context())
			if err != nil {
				return err
			}
			influx, err := installer.EnsureInflux(command.Context(), checkout)
			if err != nil {
				return err
			}
			if peers {
				if err := installer.EnsurePeers(command.Context()); err != nil {
					return err
				}
			}
			fmt.Printf("Redis %s: %s\nInfluxDB: %s\n", redis.Version, redis.Path, influx)
			return nil
		},
	}
	command.Flags().BoolVar(&peers, "peers", false, "also the Modbus programs of other people that tests speak with")
	return command
}
