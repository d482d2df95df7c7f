// Package bench measures the calls on which the speed of the system depends,
// against a real Redis, and judges them by thresholds.
//
// Every case goes through the same typed calls that the services use, so a
// latency holds the making of the request and the reading of the reply; the
// server's own time stands beside it. What Redis can do at best is measured in
// the same run by native cases, how soon alarms are listed by cases that ask the
// service that lists them, a process of its own, and how fast devices are polled by
// cases that run comsrv beside simulated ones. A run is made of rounds, and
// each round holds a slice of every case, so that whatever slows the machine for a
// while slows the two sides of a ratio alike.
package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Options say what to measure, how, and against what.
type Options struct {
	RedisURL   string        // redis://…; empty starts a Redis for this run
	Duration   time.Duration // measured for each case, over all rounds
	WarmUp     time.Duration // for each case, before the first round
	Rate       float64       // calls/s at which calls of one connection are due; 0 sends each when the one before is answered
	Cases      []string      // those to run, of Cases; all if empty
	Voltage    string        // path of the program voltage, for the cases that go to a service
	Voltlab    string        // path of the program voltlab, whose bare clients comsrv is compared with
	Plants     string        // folder of the plants that are stepped
	Thresholds []Threshold   // DefaultThresholds, as far as the cases run, if empty
	Metrics    string        // host:port of /metrics while it runs
	Registry   *prometheus.Registry
	Clock      ems.Clock
	Progress   io.Writer // a line where the metrics are, and one for each round
	sizes      sizes     // those of a real run where it is zero
}

// Bounds of the options.
const (
	leastDuration = 10 * time.Millisecond
	mostDuration  = time.Hour
	mostRate      = 1e6
)

// Bounds of the rounds. A slice is short, so that the slices that are compared
// lie close together, and so that the slow log holds every slow call of one.
const (
	leastRounds = 10
	mostSlice   = 10 * time.Second
)

// rounds returns how many there are, and how long each measures a case.
func (o *Options) rounds() (int, time.Duration) {
	count := max(leastRounds, int((o.Duration+mostSlice-1)/mostSlice))
	return count, o.Duration / time.Duration(count)
}

func (o *Options) check() error {
	_, slice := o.rounds()
	switch {
	case o.Duration < leastDuration || o.Duration > mostDuration:
		return ems.Errorf(ems.CodeInvalid, "duration %v is not between %v and %v", o.Duration, leastDuration, mostDuration)
	case o.WarmUp < 0 || o.WarmUp > mostDuration:
		return ems.Errorf(ems.CodeInvalid, "warm-up %v is not between 0 and %v", o.WarmUp, mostDuration)
	case o.Rate != 0 && (o.Rate < 1 || o.Rate > mostRate):
		return ems.Errorf(ems.CodeInvalid, "rate %v is not between 1 and %v calls/s, nor 0 for as fast as answered", o.Rate, int(mostRate))
	case o.Rate*slice.Seconds() < 1 && o.Rate > 0:
		return ems.Errorf(ems.CodeInvalid, "no call is due within the %v of a round at %v calls/s: measure longer or faster", slice, o.Rate)
	}
	for _, name := range o.Cases {
		if !slices.Contains(Cases(), name) {
			return noCase(name)
		}
	}
	if slices.ContainsFunc(plantCases(), o.runs) {
		if _, err := os.Stat(o.Plants); err != nil {
			return ems.Errorf(ems.CodeNotFound, "no folder of plants: %w; run it in a checkout, or name the folder with --plants", err)
		}
	}
	if !slices.ContainsFunc(slices.Concat(serviceCases(), acquisitionCases()), o.runs) {
		return nil
	}
	if _, err := os.Stat(o.Voltage); err != nil {
		return ems.Errorf(ems.CodeNotFound, "no program voltage: %w; run make build, or name it with --voltage", err)
	}
	return nil
}

// runs reports whether a case is one of those to run.
func (o *Options) runs(name string) bool { return len(o.Cases) == 0 || slices.Contains(o.Cases, name) }

// thresholds returns those to judge by.
func (o *Options) thresholds() ([]Threshold, error) {
	if len(o.Thresholds) > 0 {
		return o.Thresholds, nil
	}
	var list []Threshold
	for _, text := range DefaultThresholds() {
		threshold, err := ParseThreshold(text)
		if err != nil {
			return nil, err
		}
		if o.runs(threshold.Case) && (threshold.Base == "" || o.runs(threshold.Base)) {
			list = append(list, threshold)
		}
	}
	return list, nil
}

// Run measures every case and judges the results. Its error says why the bench
// could not run; whether thresholds were crossed is for Report.Err to tell. All
// that it started and stored is gone when it returns.
func Run(ctx context.Context, options Options) (report *Report, err error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	thresholds, err := options.thresholds()
	if err != nil {
		return nil, err
	}
	histogram, err := newHistogram(options.Registry)
	if err != nil {
		return nil, err
	}
	served, err := expose(options.Metrics, options.Registry)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstOf(err, served.close()) }()
	_, _ = fmt.Fprintf(options.Progress, "metrics: http://%s/metrics\n", served.address)

	server, err := openServer(ctx, options.Clock, options.RedisURL)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstOf(err, server.close(ctx)) }()
	if options.sizes != (sizes{}) {
		server.sizes = options.sizes
	}
	server.voltage, server.voltlab, server.plants = options.Voltage, options.Voltlab, options.Plants
	if report, err = server.run(ctx, options, histogram); err != nil {
		return nil, server.explain(err)
	}
	report.judge(thresholds)
	return report, nil
}

// run measures the cases: those of the functions, those that step a plant, those of
// alarmsrv, and then those that are measured once.
func (s *server) run(ctx context.Context, options Options, histogram *prometheus.HistogramVec) (*Report, error) {
	if err := s.seed(ctx, options.Clock); err != nil {
		return nil, err
	}
	began, err := s.readMachine(ctx, options.Clock.Now())
	if err != nil {
		return nil, err
	}
	results, err := s.measure(ctx, options, histogram, s.workloads(options.Clock))
	if err != nil {
		return nil, err
	}
	stepped, err := s.measure(ctx, options, histogram, s.plantWorkloads())
	if err != nil {
		return nil, err
	}
	listed, err := s.measure(ctx, options, histogram, s.serviceWorkloads())
	if err != nil {
		return nil, err
	}
	results = append(results, slices.Concat(stepped, listed)...)
	for _, phase := range s.phases() {
		if !slices.ContainsFunc(phase.cases, options.runs) {
			continue
		}
		_, _ = fmt.Fprintln(options.Progress, phase.told)
		found, err := phase.measure(ctx, histogram)
		if err != nil {
			return nil, failed(ctx, phase.told, phase.cases[0], err)
		}
		results = append(results, slices.DeleteFunc(found, func(r Result) bool { return !options.runs(r.Case) })...)
	}
	ended, err := s.readMachine(ctx, options.Clock.Now())
	if err != nil {
		return nil, err
	}
	count, slice := options.rounds()
	return &Report{
		Started: began.at, Redis: s.version, Library: s.library, Processors: runtime.NumCPU(),
		Rounds: count, Slice: slice, Rate: options.Rate, Neighbours: ended.since(began), Results: results,
	}, nil
}

// failed says where a run ended.
func failed(ctx context.Context, where, name string, err error) error {
	if ctx.Err() != nil {
		return ems.Errorf(ems.CodeUnavailable, "interrupted in %s, case %s: nothing was judged: %w", where, name, ctx.Err())
	}
	return ems.Errorf(ems.CodeOf(err), "%s, case %s: %w", where, name, err)
}

func firstOf(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// measure runs all rounds: in each, a slice of every case.
func (s *server) measure(ctx context.Context, options Options, histogram *prometheus.HistogramVec, all []workload) ([]Result, error) {
	var trials []*trial
	for _, one := range all {
		if options.runs(one.name) {
			trials = append(trials, newTrial(one, options, histogram.WithLabelValues(one.name)))
		}
	}
	if len(trials) == 0 {
		return nil, nil
	}
	count, slice := options.rounds()
	_, _ = fmt.Fprintf(options.Progress, "%d cases: %v of each to warm up, then %d rounds of %v of each\n", len(trials), options.WarmUp, count, slice)
	for _, trial := range trials {
		if trial.prepare == nil {
			continue
		}
		if err := trial.prepare(ctx); err != nil {
			return nil, failed(ctx, "preparing", trial.name, err)
		}
	}
	for _, trial := range trials {
		if err := trial.warmUp(ctx, options.WarmUp); err != nil {
			return nil, failed(ctx, "the warm-up", trial.name, err)
		}
	}
	for n := range count {
		_, _ = fmt.Fprintf(options.Progress, "round %d of %d\n", n+1, count)
		for _, trial := range trials {
			if err := s.round(ctx, trial, slice, options.Rate); err != nil {
				return nil, failed(ctx, fmt.Sprintf("round %d", n+1), trial.name, err)
			}
		}
		if err := s.rewrite(ctx, options.Clock); err != nil {
			return nil, err
		}
	}
	var results []Result
	for _, trial := range trials {
		results = append(results, trial.result())
	}
	return results, nil
}

// round measures one slice of a case and proves that its calls did their work.
func (s *server) round(ctx context.Context, trial *trial, slice time.Duration, rate float64) error {
	before, err := s.look(ctx, trial.commands)
	if err != nil {
		return err
	}
	done, err := trial.measure(ctx, slice, rate)
	if err != nil {
		return err
	}
	after, err := s.look(ctx, trial.commands)
	if err != nil {
		return err
	}
	slowest, err := s.slowest(ctx, before.slow, after.slow, trial.allCommands())
	if err != nil {
		return err
	}
	trial.keep(done, after.usage.since(before.usage), slowest)
	if err := trial.prove(ctx); err != nil || trial.reset == nil {
		return err
	}
	return trial.reset(ctx)
}
