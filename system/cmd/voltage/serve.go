package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/suite"
)

func newServeCommand() *cobra.Command {
	var site, target string
	command := &cobra.Command{
		Use:   "serve",
		Short: "Run services until interrupted",
		Long: `Run services of a site until Ctrl-C or SIGTERM.

Settings come from site.yaml and, above it, from the environment: VOLTAGE_NAME
for every service, COMSRV_NAME for one. The names: REDIS_URL, LOG_LEVEL,
INFLUX_URL, INFLUX_TOKEN, INFLUX_ORG, INFLUX_BUCKET, COLLECTION_PERIOD, CORS_ORIGINS,
and for one service alone LISTEN: COMSRV_LISTEN=0.0.0.0:6000.
COMSRV_URL and its like tell the gateway where a service answers, and
COMSRV_CHANNEL_1001_ADDRESS overrides the address of a channel. For a target
"duty" of notifications NETSRV_NOTIFY_DUTY_URL is where it is, and
NETSRV_NOTIFY_DUTY_AUTHORIZATION the header of that name that is sent to it.

The function library must be in Redis: see "voltage functions load".`,
		Example: "  voltage serve --site scenarios/microgrid --target=all\n  voltage serve --site /etc/voltage/site --target=comsrv,hissrv",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			targets, err := suite.ParseTargets(target)
			if err != nil {
				return err
			}
			return suite.Run(command.Context(), suite.Options{
				SiteDir: site, Targets: targets, Environment: os.Environ(), Clock: ems.SystemClock{}, Log: os.Stderr,
			})
		},
	}
	command.Flags().StringVar(&site, "site", ".", "site folder")
	command.Flags().StringVar(&target, "target", "all", "all, or service names with commas between")
	return command
}

func newCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "check SITE",
		Short:   "Validate a site folder without starting anything",
		Example: "  voltage check scenarios/microgrid",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			site, err := suite.Check(args[0], os.Environ())
			if err != nil {
				return err
			}
			points := 0
			for _, channel := range site.Channels {
				points += len(channel.Points)
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s: sound: %d channels, %d points, %d templates, %d models, %d rules, %d history mappings\n",
				site.Name, len(site.Channels), points, len(site.Templates), len(site.Models), len(site.Rules), len(site.History))
			return err
		},
	}
}
