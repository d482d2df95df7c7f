package scenarios

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/managed"
)

// children lists what the stack runs, in start order.
func (s *Stack) children() ([]managed.Child, error) {
	var err error
	if s.redis.Line, err = s.openLog("redis"); err != nil {
		return nil, err
	}
	if s.influx.Line, err = s.openLog("influxdb"); err != nil {
		return nil, err
	}
	plant, err := s.program("plant", s.options.Voltlab, os.Environ(), s.plantArguments())
	if err != nil {
		return nil, err
	}
	plant.Probe = func(ctx context.Context, _ int) error { return s.probe(ctx, "plant", s.ControlURL()) }
	children := []managed.Child{
		{Name: "redis", Start: s.redis.Start, Probe: s.redis.Probe, Prepare: s.loadFunctions},
		{Name: "influxdb", Start: s.influx.Start, Probe: s.influx.Probe, Prepare: s.influx.Prepare},
		plant,
	}
	needs := []string{"redis", "influxdb", "plant"}
	if !s.options.Separate {
		voltage, err := s.service("voltage", "all", needs, ems.Targets[:]...)
		return append(children, voltage), err
	}
	for _, target := range ems.Targets {
		if target == ems.Apigateway { // it has nothing to offer before the others answer
			for _, other := range ems.Targets[:slices.Index(ems.Targets[:], target)] {
				needs = append(needs, string(other))
			}
		}
		service, err := s.service(string(target), string(target), slices.Clone(needs), target)
		if err != nil {
			return nil, err
		}
		children = append(children, service)
	}
	return children, nil
}

// program describes a child whose output goes to a log file.
func (s *Stack) program(name, path string, environment, arguments []string) (managed.Child, error) {
	line, err := s.openLog(name)
	if err != nil {
		return managed.Child{}, err
	}
	command := managed.Command{Name: name, Path: path, Args: arguments, Env: environment, Line: line}
	return managed.Child{
		Name:  name,
		Start: func(context.Context) (*managed.Process, error) { return managed.StartProcess(command) },
	}, nil
}

func (s *Stack) service(name, target string, needs []string, answers ...ems.Target) (managed.Child, error) {
	child, err := s.program(name, s.options.Voltage, s.environment(), []string{"serve", "--site", s.dir, "--target=" + target})
	child.Needs = needs
	child.Probe = func(ctx context.Context, _ int) error {
		for _, one := range answers {
			if err := s.probe(ctx, string(one), s.URL(one)); err != nil {
				return err
			}
		}
		return nil
	}
	return child, err
}

// plantArguments name every address: those of plant.yaml are repeated where no
// free ports are asked for.
func (s *Stack) plantArguments() []string {
	arguments := []string{"serve", s.dir}
	if s.options.FreePort == nil {
		return arguments
	}
	for _, device := range s.folder.devices {
		arguments = append(arguments, "--listen", device.ID+"="+device.Listen)
	}
	return append(arguments, "--control", s.folder.control)
}

// environment is that of the services: this process's, and above it where
// everything of the stack is. What a person has set for one service alone
// stays, unless it would lead out of the stack.
func (s *Stack) environment() []string {
	var ours []string
	set := func(name, value string) { ours = append(ours, name+"="+value) }
	set("VOLTAGE_REDIS_URL", s.RedisURL())
	set("VOLTAGE_INFLUX_URL", s.influx.URL())
	set("VOLTAGE_INFLUX_TOKEN", s.influx.Token())
	set("VOLTAGE_INFLUX_ORG", s.influx.Organization())
	set("VOLTAGE_INFLUX_BUCKET", s.influx.Bucket())
	var leadingOut []string
	for _, target := range ems.Targets {
		prefix := strings.ToUpper(string(target))
		set(prefix+"_LISTEN", s.services[target])
		set(prefix+"_URL", s.URL(target))
		leadingOut = append(leadingOut, prefix+"_REDIS_URL=", prefix+"_INFLUX_")
	}
	if s.options.FreePort != nil {
		for _, channel := range s.folder.channels {
			set(fmt.Sprintf("COMSRV_CHANNEL_%d_ADDRESS", channel.ID), channel.Address)
		}
	}
	kept := slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return slices.ContainsFunc(leadingOut, func(start string) bool { return strings.HasPrefix(entry, start) })
	})
	return append(kept, ours...)
}

// oneShotWithin bounds a program that runs to its end during the start.
const oneShotWithin = 30 * time.Second

// checkSite has the site folder validated before anything starts. Its error
// holds every fault that was found.
func (s *Stack) checkSite(ctx context.Context) error {
	return s.runVoltage(ctx, ems.CodeInvalid, "check", s.dir)
}

// loadFunctions puts the function library into Redis. It runs after every start
// of Redis, which may have come back without it.
func (s *Stack) loadFunctions(ctx context.Context) error {
	return s.runVoltage(ctx, ems.CodeUnavailable, "functions", "load")
}

func (s *Stack) runVoltage(ctx context.Context, code ems.Code, arguments ...string) error {
	ctx, cancel := context.WithTimeout(ctx, oneShotWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.options.Voltage, arguments...)
	cmd.Env = s.environment()
	var said bytes.Buffer
	cmd.Stderr = &said
	err := cmd.Run()
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if text := strings.TrimSpace(said.String()); errors.As(err, &exit) && ctx.Err() == nil && text != "" {
		return ems.Errorf(code, "%s", strings.TrimPrefix(text, "voltage: "))
	}
	return ems.Errorf(code, "%s %s: %w", s.options.Voltage, strings.Join(arguments, " "), err)
}
