// Package bench measures the calls on which the speed of the system depends,
// against a real Redis, and judges them by thresholds.
//
// Each case runs alone over one synchronous connection, through the same typed
// calls that the services use, so a latency holds the making of the request and
// the reading of the reply. The server's own time stands beside it. PING,
// measured in the same run, is what this machine can do at best.
package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Options say what to measure, how, and against what.
type Options struct {
	RedisURL   string        // redis://…; empty starts a Redis for this run
	Duration   time.Duration // measured for each case, after the warm-up
	WarmUp     time.Duration // for each case
	Rate       float64       // calls/s at which calls are due; 0 sends each when the one before is answered
	Thresholds []Threshold
	Metrics    string // host:port of /metrics while it runs
	Registry   *prometheus.Registry
	Clock      ems.Clock
	Progress   io.Writer // a line where the metrics are, and one for each case
}

// Bounds of the options.
const (
	leastDuration = 10 * time.Millisecond
	mostDuration  = time.Hour
	mostRate      = 1e6
)

func (o *Options) check() error {
	switch {
	case o.Duration < leastDuration || o.Duration > mostDuration:
		return ems.Errorf(ems.CodeInvalid, "duration %v is not between %v and %v", o.Duration, leastDuration, mostDuration)
	case o.WarmUp < 0 || o.WarmUp > mostDuration:
		return ems.Errorf(ems.CodeInvalid, "warm-up %v is not between 0 and %v", o.WarmUp, mostDuration)
	case o.Rate != 0 && (o.Rate < 1 || o.Rate > mostRate):
		return ems.Errorf(ems.CodeInvalid, "rate %v is not between 1 and %v calls/s, nor 0 for as fast as answered", o.Rate, int(mostRate))
	case o.Rate*o.Duration.Seconds() < 1 && o.Rate > 0:
		return ems.Errorf(ems.CodeInvalid, "no call is due within %v at %v calls/s: measure longer or faster", o.Duration, o.Rate)
	}
	return nil
}

// Run measures every case and judges the results. Its error says why the bench
// could not run; whether thresholds were crossed is for Report.Err to tell. All
// that it started and stored is gone when it returns.
func Run(ctx context.Context, options Options) (report *Report, err error) {
	if err := options.check(); err != nil {
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
	progress := func(format string, args ...any) { _, _ = fmt.Fprintf(options.Progress, format+"\n", args...) }
	progress("metrics: http://%s/metrics", served.address)

	server, err := openServer(ctx, options.Clock, options.RedisURL)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstOf(err, server.close(ctx)) }()
	if err := seed(ctx, server.db, options.Clock); err != nil {
		return nil, err
	}
	report = &Report{
		Started: options.Clock.Now(), Redis: server.version, Library: server.library,
		Processors: runtime.NumCPU(), Duration: options.Duration, Rate: options.Rate,
	}
	cases := server.workloads(options.Clock)
	for i, one := range cases {
		progress("%d/%d %s: %v warm-up, %v measured", i+1, len(cases), one.name, options.WarmUp, options.Duration)
		result, err := server.measure(ctx, one, options, histogram.WithLabelValues(one.name))
		switch {
		case ctx.Err() != nil:
			return nil, ems.Errorf(ems.CodeUnavailable, "interrupted in case %s: nothing was judged: %w", one.name, ctx.Err())
		case err != nil:
			return nil, ems.Errorf(ems.CodeOf(err), "case %s: %w", one.name, err)
		}
		report.add(result)
	}
	for _, threshold := range options.Thresholds {
		report.Verdicts = append(report.Verdicts, judge(threshold, report.Results))
	}
	return report, nil
}

func firstOf(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

// measure runs one case: warm-up, measurement, proof.
func (s *server) measure(ctx context.Context, one workload, options Options, histogram prometheus.Observer) (Result, error) {
	load := &load{
		clock: options.Clock, call: one.call, settle: one.settle, pause: pauseUntil(options.Clock),
		observe: func(time.Duration) {},
	}
	if _, err := load.closed(ctx, options.WarmUp); err != nil {
		return Result{}, err
	}
	kept := newSamples(maxSamples)
	load.observe = func(duration time.Duration) {
		kept.add(duration)
		histogram.Observe(duration.Seconds())
	}
	before, err := s.commandUsage(ctx, one.command)
	if err != nil {
		return Result{}, err
	}
	var done run
	if options.Rate > 0 {
		done, err = load.open(ctx, options.Duration, options.Rate)
	} else {
		done, err = load.closed(ctx, options.Duration)
	}
	if err != nil {
		return Result{}, err
	}
	after, err := s.commandUsage(ctx, one.command)
	if err != nil {
		return Result{}, err
	}
	if one.verify != nil {
		if err := one.verify(ctx, load.next-1); err != nil {
			return Result{}, err
		}
	}
	return newResult(one.name, done, after.since(before), kept), nil
}
