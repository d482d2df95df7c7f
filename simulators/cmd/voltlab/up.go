package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/voltageems/voltageems-go/scenarios"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// healthyWithin bounds the time from the start until all is healthy.
const healthyWithin = 2 * time.Minute

// upOptions are the flags of "voltlab up".
type upOptions struct {
	voltage   string // path; beside this program if empty
	data      string // folder; .data/PLANT if empty
	separate  bool
	freePorts bool
}

func newUpCommand() *cobra.Command {
	var options upOptions
	command := &cobra.Command{
		Use:   "up PLANT",
		Short: "Run a plant with Redis, InfluxDB and all services until interrupted",
		Long: `Run a simulated plant, Redis, InfluxDB and all services of the system, and keep
them running: one that dies is started again. Ctrl-C stops everything in order, a
second Ctrl-C at once.

PLANT is a folder that holds plant.yaml beside the files of a site, or the name of
one below scenarios. Data and logs are kept in .data/PLANT.`,
		Example: "  voltlab up microgrid\n  voltlab up microgrid --free-ports --separate",
		Args:    cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			return options.run(command.Context(), args[0])
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.voltage, "voltage", "", "path of the program voltage (default: beside this one)")
	flags.StringVar(&options.data, "data", "", "folder of data and logs (default: .data/PLANT)")
	flags.BoolVar(&options.separate, "separate", false, "run each service in a process of its own")
	flags.BoolVar(&options.freePorts, "free-ports", false, "listen on any free ports instead of the usual ones")
	return command
}

func (o upOptions) run(ctx context.Context, plant string) (err error) {
	begun := time.Now()
	display := newDisplay(os.Stdout, os.Stderr)
	defer display.close()
	var ports reservedPorts
	defer func() { err = errors.Join(err, ports.giveBack()) }()
	options, err := o.resolve(ctx, plant, &ports, display.logger)
	if err != nil {
		return err
	}
	stack, err := scenarios.New(options)
	if err != nil {
		return err
	}
	if err := stack.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, managed.ErrInUse) && !o.freePorts {
			return fmt.Errorf("%w, or run .bin/voltlab up %s --free-ports", err, plant)
		}
		return err
	}
	killed := killOnSecondSignal(stack)
	err = attend(ctx, stack, display, options, begun)
	display.close()
	if err == nil {
		display.logger.Info("stopping everything; a second Ctrl-C does it by force")
	}
	// Each child has a time to stop in, so this ends.
	if stopped := stack.Stop(context.Background()); err == nil {
		err = stopped
	}
	if killed() && err == nil {
		err = errKilled
	}
	return err
}

// attend returns nil when ctx ends, and an error when the system does not come
// up or ends by itself.
func attend(ctx context.Context, stack *scenarios.Stack, display *display, options scenarios.Options, begun time.Time) error {
	waiting, cancel := context.WithTimeout(ctx, healthyWithin)
	defer cancel()
	if err := stack.WaitHealthy(waiting); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("%w; logs are in %s", err, stack.LogDir())
	}
	display.logger.Info(fmt.Sprintf("all healthy in %.1fs", time.Since(begun).Seconds()))
	places := whereToLook(stack)
	display.places(places)
	watch := newWatch(stack, options.Clock)
	period := display.period()
	timer := options.Clock.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-stack.Ended():
			return ems.Errorf(ems.CodeInternal, "the supervision ended by itself; logs are in %s", stack.LogDir())
		case <-timer.C():
			display.show(filepath.Base(options.Plant), watch.look(ctx), places)
			timer.Reset(period)
		}
	}
}

// killOnSecondSignal watches for the signal after the one that begins the
// stop. The function it returns ends the watching and tells whether it came.
func killOnSecondSignal(stack *scenarios.Stack) func() bool {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	quit, result := make(chan struct{}), make(chan bool, 1)
	go func() {
		for range 2 {
			select {
			case <-signals:
			case <-quit:
				result <- false
				return
			}
		}
		stack.Kill()
		result <- true
	}()
	return func() bool {
		signal.Stop(signals)
		close(quit)
		return <-result
	}
}

// resolve finds everything that the stack needs, on this machine.
func (o upOptions) resolve(ctx context.Context, plant string, ports *reservedPorts, logger *slog.Logger) (scenarios.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return scenarios.Options{}, ems.Errorf(ems.CodeUnavailable, "path of this program: %w", err)
	}
	beside := filepath.Dir(self)
	checkouts := findCheckouts(".", beside)
	dir, err := scenarios.FindPlant(plant, append([]string{"."}, checkouts...)...)
	if err != nil {
		return scenarios.Options{}, err
	}
	checkouts = findCheckouts(".", beside, dir)
	options := scenarios.Options{
		Plant: dir, Data: o.data, Voltage: o.voltage, Voltlab: self,
		Separate: o.separate, Clock: ems.SystemClock{}, Logger: logger,
	}
	if options.Data == "" {
		options.Data = filepath.Join(append(checkouts, ".")[0], ".data", filepath.Base(dir))
	}
	if options.Voltage == "" {
		options.Voltage = filepath.Join(beside, "voltage")
	}
	if _, err := os.Stat(options.Voltage); err != nil {
		return scenarios.Options{}, ems.Errorf(ems.CodeNotFound, "no program voltage: %w; run make build, or name it with --voltage", err)
	}
	if options.Redis, err = managed.FindRedis(ctx); err != nil {
		return scenarios.Options{}, err
	}
	folders := []string{beside}
	for _, checkout := range checkouts {
		folders = append(folders, managed.BinaryFolder(checkout))
	}
	if options.Influx, err = managed.FindInflux(ctx, folders...); err != nil {
		return scenarios.Options{}, err
	}
	return options, o.choosePorts(&options, ports, logger)
}

// choosePorts lets Redis alone leave its usual port, because one often runs on
// a developer's machine and nobody but this system is told its address.
func (o upOptions) choosePorts(options *scenarios.Options, ports *reservedPorts, logger *slog.Logger) error {
	if o.freePorts {
		options.FreePort = ports.next
		return nil
	}
	usual := managed.Endpoint{Name: "Redis", Address: fmt.Sprintf("127.0.0.1:%d", scenarios.RedisPort)}
	if managed.CheckFree([]managed.Endpoint{usual}) == nil {
		return nil
	}
	port, err := ports.next()
	if err != nil {
		return err
	}
	options.RedisPort = port
	logger.Warn(fmt.Sprintf("port %d is in use: Redis listens on %d instead", scenarios.RedisPort, port))
	return nil
}

// reservedPorts holds ports of this process until it gives them back.
type reservedPorts struct{ release []func() error }

func (r *reservedPorts) next() (int, error) {
	port, release, err := managed.ReservePort()
	if err == nil {
		r.release = append(r.release, release)
	}
	return port, err
}

func (r *reservedPorts) giveBack() error {
	var err error
	for _, release := range r.release {
		err = errors.Join(err, release())
	}
	return err
}

// findCheckouts returns the checkouts that hold the folders, each once.
func findCheckouts(folders ...string) []string {
	var found []string
	for _, folder := range folders {
		checkout, err := managed.FindCheckout(folder)
		if err == nil && !slices.Contains(found, checkout) {
			found = append(found, checkout)
		}
	}
	return found
}

// place is one address that a newcomer may want to look at.
type place struct {
	name string
	what string
}

func whereToLook(stack *scenarios.Stack) []place {
	places := []place{{"browser", stack.GatewayURL() + "/"}}
	if channels := stack.Channels(); len(channels) > 0 {
		key := ems.Namespace("").Values(channels[0], ems.Telemetry)
		redis := "redis-cli"
		if _, port, err := net.SplitHostPort(stack.RedisAddr()); err == nil && port != fmt.Sprint(scenarios.RedisPort) {
			redis += " -p " + port
		}
		places = append(places, place{"values", redis + " hgetall " + key})
	}
	return append(places,
		place{"plant", "curl " + stack.ControlURL() + "/inputs"},
		place{"logs", stack.LogDir()},
	)
}
