// Package suite knows which services there are and how they are wired. It is
// the only package that imports them all.
package suite

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/alarmsrv"
	"github.com/voltageems/voltageems-go/system/apigateway"
	"github.com/voltageems/voltageems-go/system/comsrv"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/hissrv"
	"github.com/voltageems/voltageems-go/system/modsrv"
	"github.com/voltageems/voltageems-go/system/netsrv"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/rulesrv"
)

// Options say what to run.
type Options struct {
	SiteDir     string
	Targets     []ems.Target
	Environment []string // NAME=value, as os.Environ gives it
	Clock       ems.Clock
	Log         io.Writer // structured log lines, JSON
}

// service is what every service offers.
type service interface {
	Run(ctx context.Context) error
	Close() error // of one that never ran
}

// Run validates the site, opens every port, then runs the targets until ctx
// ends or one of them fails. A fault found before anything runs names
// everything that is wrong.
func Run(ctx context.Context, options Options) error {
	site, err := Check(options.SiteDir, options.Environment)
	if err != nil {
		return err
	}
	var running []service
	var faults []error
	for _, target := range options.Targets {
		one, closeDB, err := build(target, site, options)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		defer closeDB()
		running = append(running, one)
	}
	if err := errors.Join(faults...); err != nil {
		return errors.Join(err, closeAll(running))
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, one := range running {
		group.Go(func() error { return one.Run(ctx) })
	}
	return group.Wait()
}

// Check reads and validates a site folder with the settings of every service.
func Check(dir string, environment []string) (*config.Site, error) {
	site, err := config.ReadSite(dir, environment, comsrv.Protocols())
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, target := range ems.Targets {
		if _, err := config.ReadService(dir, target, environment); err != nil {
			faults = append(faults, err)
		}
	}
	return site, errors.Join(faults...)
}

// ParseTargets reads the value of --target: all, or names with commas between.
// The order is that of starting, whatever the order given.
func ParseTargets(text string) ([]ems.Target, error) {
	if text == "all" {
		return ems.Targets[:], nil
	}
	wanted := map[ems.Target]bool{}
	for _, name := range strings.Split(text, ",") {
		target, err := ems.ParseTarget(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		wanted[target] = true
	}
	var targets []ems.Target
	for _, target := range ems.Targets {
		if wanted[target] {
			targets = append(targets, target)
		}
	}
	return targets, nil
}

// build makes one service with a Redis client, a metrics registry and a logger
// of its own, so that it is the same alone in a process as among the others.
func build(target ems.Target, site *config.Site, options Options) (service, func() error, error) {
	settings, err := config.ReadService(site.Dir, target, options.Environment)
	if err != nil {
		return nil, nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(settings.LogLevel)); err != nil {
		return nil, nil, err
	}
	logger := slog.New(slog.NewJSONHandler(options.Log, &slog.HandlerOptions{Level: level})).With("service", string(target))
	db, err := rtdb.Open(rtdb.Options{URL: settings.RedisURL, Namespace: site.Namespace, Clock: options.Clock, Logger: logger})
	if err != nil {
		return nil, nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	made, err := wire(target, settings, site, db, options, logger, registry)
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return made, db.Close, nil
}

// wire is the explicit list of services.
func wire(target ems.Target, settings config.Service, site *config.Site, db *rtdb.Client, options Options,
	logger *slog.Logger, registry *prometheus.Registry,
) (service, error) {
	clock := options.Clock
	readSite := func() (*config.Site, error) { return Check(site.Dir, options.Environment) }
	switch target {
	case ems.Comsrv:
		return comsrv.New(comsrv.Options{Service: settings, Site: site, ReadSite: readSite, DB: db, Clock: clock, Logger: logger, Registry: registry})
	case ems.Modsrv:
		return modsrv.New(modsrv.Options{Service: settings, Site: site, ReadSite: readSite, DB: db, Clock: clock, Logger: logger, Registry: registry})
	case ems.Alarmsrv:
		return alarmsrv.New(alarmsrv.Options{Service: settings, Site: site, DB: db, Clock: clock, Logger: logger, Registry: registry})
	case ems.Rulesrv:
		return rulesrv.New(rulesrv.Options{Service: settings, Site: site, ReadSite: readSite, DB: db, Clock: clock, Logger: logger, Registry: registry})
	case ems.Hissrv:
		return hissrv.New(hissrv.Options{Service: settings, Site: site, DB: db, Clock: clock, Logger: logger, Registry: registry})
	case ems.Netsrv:
		return netsrv.New(netsrv.Options{Service: settings, Site: site, DB: db, Clock: clock, Logger: logger, Registry: registry})
	case ems.Apigateway:
		return apigateway.New(apigateway.Options{Service: settings, Site: site, DB: db, Clock: clock, Logger: logger, Registry: registry})
	default:
		return nil, ems.Errorf(ems.CodeInvalid, "no service %q", target)
	}
}

// closeAll releases what services that never ran hold.
func closeAll(services []service) error {
	var faults []error
	for _, one := range services {
		faults = append(faults, one.Close())
	}
	return errors.Join(faults...)
}
