package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/bench"
	"github.com/voltageems/voltageems-go/system/ems"
)

const benchHelp = `Measure the functions of the hot path over one connection each, polling over eight
connections, and a PING while they are at it; what 1,000 rules cost that watch the
points of a batch, and 10,000 that do not; and beside them, as native_…, what Redis
does without the library, and as decoding_…, what rules cost that are decoded in
each call. All cases take turns, in rounds, so that a machine that slows down for a
while slows down all of them.

Then the plants solar-storage-1mw and microgrid are stepped, without their devices'
registers (plant_tick…): one tick each call, of which the microgrid needs 10,000 a
second to be at 1000 times real time.

Then 100,000 alarms are raised and alarmsrv is run, a process of the program voltage:
how long it takes to list the newest 100, and until the alarm of one value is listed;
and, once, until each is listed of 10,000 alarms that come within 5 s. These ask as
fast as is answered, and have no time in Redis.

A simulated device and a bare server of mbserver are asked in turn, over 16 connections
and over 64: how many registers each of them serves (serve_…).

At last comsrv is run, a process of the program voltage too, for simulated devices of
this one: how many registers 16 and 64 of them are read each second beside bare reads
by a third process (acquire_…), and, from the first byte of a poll until Redis has told of it, 64 polled
ten times a second (cycle_…) and 400 of 500 polled once a second, of which the other
100 get into trouble (isolation); and, of 1,000 with 100 points each, how old values
get in Redis, how many polls are missing, and what comsrv needs (thousand_…).

At the end stand a table, what the machine was like, and the thresholds.

Without --redis a Redis is started for the run and removed after it. The Redis
of --redis must have hash-max-listpack-entries 64, as every Redis of the system; it
gets keys of sites named bench and bench_… only, which are removed at the end, the
function library if it has none, and a script that stays until it restarts; its slow
log begins at 1 ms for the time of the run. What others do there meanwhile shows in
the figures.

With --cases some cases run alone, and the default thresholds are those of them.

Without --rate each call is sent when the one before is answered. With --rate
calls are due at fixed times and their latency counts from then, so that a pause
shows in every call that it delays.

--threshold 'CASE METRIC<VALUE', also with <= and >=, stands in place of the default
thresholds. METRIC is p50, p99, p99.9, max, server (time in Redis per call) or slowest
(longest command in Redis) with a duration, calls or points (each per second; of what
is polled registers), missed (polls that did not come), cores or MB (of what reads
devices) with a number, METRIC/CASE with a number: the multiple of what the other case
has, or METRIC-CASE with what METRIC takes: by how much it is more than that has.

Exit status: 0 every threshold held, 1 the bench could not run, 2 a threshold was
crossed.`

const benchExamples = `  voltlab bench
  voltlab bench --duration 30s --rate 2000 --metrics 127.0.0.1:9464
  voltlab bench --threshold 'comsrv_ingest_100 p99<500us' --threshold 'rule_evaluate p99/ping<=3'
  voltlab bench --cases ingest_10_no_rules,ingest_10_rules_bound
  voltlab bench --threshold 'comsrv_ingest_100 server-comsrv_ingest_10<=80us'`

func newBenchCommand() *cobra.Command {
	options := bench.Options{}
	var thresholds []string
	var jsonFile string
	command := &cobra.Command{
		Use:   "bench",
		Short: "Measure the calls of the hot path against a real Redis, and judge them",
		Long:  benchHelp, Example: benchExamples,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			for _, text := range thresholds {
				threshold, err := bench.ParseThreshold(text)
				if err != nil {
					return err
				}
				options.Thresholds = append(options.Thresholds, threshold)
			}
			self, err := os.Executable()
			if err != nil {
				return ems.Errorf(ems.CodeUnavailable, "path of this program: %w", err)
			}
			if options.Voltlab = self; options.Voltage == "" {
				options.Voltage = filepath.Join(filepath.Dir(self), "voltage")
			}
			options.Registry, options.Clock = prometheus.NewRegistry(), ems.SystemClock{}
			options.Progress = command.ErrOrStderr()
			report, err := bench.Run(command.Context(), options)
			if err != nil {
				return err
			}
			if err := report.WriteText(command.OutOrStdout()); err != nil {
				return err
			}
			if jsonFile != "" {
				if err := writeFile(jsonFile, report.WriteJSON); err != nil {
					return err
				}
			}
			return exitIfCrossed(command, report)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.RedisURL, "redis", "", "redis://[user:password@]host:port of a Redis to measure")
	flags.DurationVar(&options.Duration, "duration", 5*time.Second, "measured time of each case, over all rounds")
	flags.DurationVar(&options.WarmUp, "warm-up", 200*time.Millisecond, "time of each case before the first round")
	flags.StringSliceVar(&options.Cases, "cases", nil, "names of cases with commas between them, to run these alone")
	flags.StringVar(&options.Voltage, "voltage", "", "path of the program voltage (default: beside this one)")
	flags.StringVar(&options.Plants, "plants", "scenarios", "folder of the plants that are stepped")
	flags.Float64Var(&options.Rate, "rate", 0, "calls per second on one connection; 0 sends each call when the one before is answered")
	flags.StringArrayVar(&thresholds, "threshold", nil, "'CASE METRIC<VALUE'; may be given more than once")
	flags.StringVar(&options.Metrics, "metrics", "127.0.0.1:0", "host:port of /metrics while it runs")
	flags.StringVar(&jsonFile, "json", "", "file to write the results to")
	return command
}

// exitIfCrossed ends the process with the status of a crossed threshold. By now
// all that the bench started is gone.
func exitIfCrossed(command *cobra.Command, report *bench.Report) error {
	err := report.Err()
	var crossed *bench.CrossedError
	if errors.As(err, &crossed) {
		command.PrintErrln("voltlab:", crossed)
		os.Exit(crossed.ExitCode())
	}
	return err
}

// writeFile writes a whole file, and tells of a full disk too.
func writeFile(path string, write func(to io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "results cannot be written: %w", err)
	}
	err = write(file)
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "results cannot be written to %s: %w", path, err)
	}
	return nil
}

// newBareCommand is for the bench alone, which runs it as a process of its own.
func newBareCommand() *cobra.Command {
	return &cobra.Command{
		Use:    bench.BareCommand + " REGISTERS ADDRESS…",
		Short:  "Read devices with bare clients until interrupted",
		Args:   cobra.MinimumNArgs(2),
		Hidden: true,
		RunE: func(command *cobra.Command, args []string) error {
			registers, err := strconv.Atoi(args[0])
			if err != nil {
				return ems.Errorf(ems.CodeInvalid, "%q registers: use a number", args[0])
			}
			return bench.ReadBare(command.Context(), args[1:], registers)
		},
	}
}
