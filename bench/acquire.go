package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The cases of acquisition: comsrv, a process of its own, polls simulated devices
// of this one. What they come to is counted at the devices and in Redis. They run
// one after the other, after all others.
const (
	native16Case  = "acquire_native_16"
	acquire16Case = "acquire_16"
	native64Case  = "acquire_native_64"
	acquire64Case = "acquire_64"
	cycleCase     = "cycle_64x10hz"
	thousandCase  = "thousand_1hz"
	calmCase      = "isolation_undisturbed"
	isolationCase = "isolation"
)

func acquisitionCases() []string {
	return []string{native16Case, acquire16Case, native64Case, acquire64Case, cycleCase, thousandCase, calmCase, isolationCase}
}

// phase is what is measured once, and not in turn with others.
type phase struct {
	cases   []string
	told    string
	measure func(ctx context.Context, histogram *prometheus.HistogramVec) ([]Result, error)
}

// phases returns the phases that make the rest of Cases.
func (s *server) phases() []phase {
	serving := func(bare, served string, connections int) phase {
		return phase{
			cases: []string{bare, served}, told: fmt.Sprintf("asking simulated devices over %d connections", connections),
			measure: func(ctx context.Context, histogram *prometheus.HistogramVec) ([]Result, error) {
				return s.measureServing(ctx, newRecording(bare, connections, histogram), newRecording(served, connections, histogram))
			},
		}
	}
	throughput := func(native, acquired string, connections int) phase {
		return phase{
			cases: []string{native, acquired}, told: fmt.Sprintf("reading %d devices as fast as they answer", connections),
			measure: func(ctx context.Context, histogram *prometheus.HistogramVec) ([]Result, error) {
				return s.measureThroughput(ctx, newRecording(native, connections, histogram), newRecording(acquired, connections, histogram))
			},
		}
	}
	return []phase{
		{[]string{floodCase}, fmt.Sprintf("a flood of %d alarms", s.sizes.looseChannels*looseRules), s.measureFlood},
		serving(bare16Case, serve16Case, 16),
		serving(bare64Case, serve64Case, 64),
		throughput(native16Case, acquire16Case, 16),
		throughput(native64Case, acquire64Case, 64),
		{[]string{cycleCase}, fmt.Sprintf("polling %d devices every %v", s.sizes.cycled, s.sizes.cycle), s.measureCycle},
		{[]string{thousandCase}, fmt.Sprintf("polling %d devices every %v", s.sizes.thousand, s.sizes.second), s.measureThousand},
		{[]string{calmCase, isolationCase}, fmt.Sprintf("polling %d devices every %v, and then with a fifth of them in trouble", s.sizes.isolated, s.sizes.second), s.measureIsolation},
	}
}

// recording is a case of acquisition while its rounds come in.
type recording struct {
	Result
	kept     *samples
	observer prometheus.Observer
}

func newRecording(name string, connections int, histogram *prometheus.HistogramVec) *recording {
	return &recording{
		Result: Result{Case: name, API: true, Polls: true, Connections: connections},
		kept:   newSamples(maxSamples), observer: histogram.WithLabelValues(name),
	}
}

// add notes a round: what arrived at the devices, and durations that say how long
// it took.
func (r *recording) add(arrived count, calls int64, elapsed time.Duration, durations []time.Duration) error {
	if calls == 0 || len(durations) == 0 {
		return ems.Errorf(ems.CodeInternal, "nothing was heard of %d polls of %d devices", arrived.polls, r.Connections)
	}
	for _, duration := range durations {
		r.kept.add(duration)
		r.observer.Observe(duration.Seconds())
	}
	found := percentiles(durations, 50, 99)
	r.Rounds = append(r.Rounds, Round{
		Calls: calls, PerS: float64(calls) / elapsed.Seconds(), Points: float64(arrived.registers) / elapsed.Seconds(),
		P50: found[0], P99: found[1],
	})
	r.Calls, r.Missed = r.Calls+calls, r.Missed+arrived.missed
	return nil
}

// note takes down what a process has worked meanwhile: of several rounds that of the
// last.
func (r *recording) note(before, after processUse, elapsed time.Duration) {
	if after.known && before.known {
		r.Cores, r.Megabytes = (after.worked-before.worked).Seconds()/elapsed.Seconds(), after.megabytes
	}
}

func (r *recording) result() Result {
	r.P999, r.Max, r.Sampled = percentiles(r.kept.kept, 99.9)[0], r.kept.max, r.kept.count > int64(len(r.kept.kept))
	return r.Result
}

// acquisition is a comsrv that polls meters for a site.
type acquisition struct {
	*site
	meters []*meter
	comsrv *service
}

// polledWithin bounds the start of comsrv, from its first poll on.
const polledWithin = time.Minute

// acquire runs comsrv for a site of its own, and returns when it has polled every
// meter a few times, so that Redis knows all points.
func (s *server) acquire(ctx context.Context, name string, meters []*meter, period time.Duration) (*acquisition, error) {
	on := newSite(siteName + "_" + name)
	if err := s.prepare(ctx, on, func() error { return nil }); err != nil {
		return nil, err
	}
	comsrv, err := s.startService(ctx, ems.Comsrv, meterFiles(on.name, meters, period))
	if err != nil {
		return nil, err
	}
	a := &acquisition{site: on, meters: meters, comsrv: comsrv}
	return a, s.awaitPolled(ctx, meters)
}

// firstPolls is how many polls of each meter come before anything is measured.
const firstPolls = 3

func (s *server) awaitPolled(ctx context.Context, meters []*meter) error {
	polls := func(of *meter) int64 { return countAll([]*meter{of}, time.Time{}).polls }
	enough := make([]int64, len(meters))
	for i, one := range meters {
		enough[i] = polls(one) + firstPolls
	}
	deadline := s.clock.Now().Add(polledWithin)
	for {
		polled := 0
		for i, one := range meters {
			if polls(one) >= enough[i] {
				polled++
			}
		}
		if polled == len(meters) {
			return nil
		}
		if s.clock.Now().After(deadline) {
			return ems.Errorf(ems.CodeInternal, "%d of %d devices were polled within %v", polled, len(meters), polledWithin)
		}
		if err := s.wait(ctx, rewritePoll); err != nil {
			return err
		}
	}
}

// wait returns after a while, or when ctx ends.
func (s *server) wait(ctx context.Context, duration time.Duration) error {
	timer := s.clock.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// throughputRounds is how many rounds compare bare reads with comsrv: bare reads
// come before and after comsrv runs.
const throughputRounds = 2

// throughputChanged is how many registers of each meter change between two polls.
const throughputChanged = 10

// How a meter is polled as fast as it answers: its points are in several groups, each
// with a period in which not all of them can be read by any machine, so that when
// one has been read another is due already and comsrv never waits. An answer may
// take as long as the period, which is long enough on a busy machine too.
const (
	throughputPeriod = 60 * time.Millisecond
	throughputGroups = 8
)

// measureThroughput reads with bare clients of goburrow, then with comsrv, and then
// with bare clients again. A call is a request; its time is that until the next
// one of the same connection.
func (s *server) measureThroughput(ctx context.Context, native, acquired *recording) ([]Result, error) {
	layout := layout{points: s.sizes.acquired / native.Connections, mixed: true, changing: throughputChanged, groups: throughputGroups}
	meters, err := openMeters(s.clock, native.Connections, layout, 0)
	if err != nil {
		return nil, err
	}
	defer closeMeters(meters)
	if err := s.readBare(ctx, meters, native); err != nil {
		return nil, err
	}
	a, err := s.acquire(ctx, acquired.Case, meters, throughputPeriod)
	if err != nil {
		return nil, err
	}
	for range throughputRounds {
		if err := s.listenAt(ctx, meters, a.comsrv.process.PID(), acquired); err != nil {
			return nil, err
		}
	}
	if err := s.verifyAcquired(ctx, a, len(meters)/2); err != nil { // now and then an answer is late on a busy machine
		return nil, err
	}
	if err := a.comsrv.end(ctx); err != nil {
		return nil, err
	}
	if err := s.readBare(ctx, meters, native); err != nil {
		return nil, err
	}
	return []Result{native.result(), acquired.result()}, nil
}

// listenAt counts what arrives at meters for a round, and what the process works
// that reads them.
func (s *server) listenAt(ctx context.Context, meters []*meter, reader int, of *recording) error {
	takeGaps(meters)
	began, used := s.clock.Now(), readProcess(reader)
	before := countAll(meters, began)
	if err := s.wait(ctx, s.sizes.span); err != nil {
		return err
	}
	ended := s.clock.Now()
	arrived := countAll(meters, ended).since(before)
	of.note(used, readProcess(reader), ended.Sub(began))
	return of.add(arrived, arrived.requests, ended.Sub(began), takeGaps(meters))
}

// verifiedWithin is for how long values may be others than those of the meters:
// a busy machine may have cost a poll.
const verifiedWithin = 30 * time.Second

// verifyAcquired proves that Redis comes to know what so many of the meters have.
func (s *server) verifyAcquired(ctx context.Context, a *acquisition, least int) error {
	for deadline := s.clock.Now().Add(verifiedWithin); ; {
		err := a.verify(ctx, least)
		if err == nil || ctx.Err() != nil || s.clock.Now().After(deadline) {
			return err
		}
		if err := s.wait(ctx, rewritePoll); err != nil {
			return err
		}
	}
}

// verify proves that Redis knows what the meters have: the first point that stays
// as it was, and the last. At least so many meters have good values, and no good one
// is another.
func (a *acquisition) verify(ctx context.Context, least int) error {
	good, doubt := 0, error(nil)
	for _, one := range a.meters {
		points := []ems.PointID{ems.PointID(one.layout.changing + 1), ems.PointID(one.layout.points)}
		stored, err := a.db.ReadPoints(ctx, one.channel, ems.Telemetry, points)
		if err != nil {
			return err
		}
		for i, value := range stored {
			wrong := ems.Errorf(ems.CodeInternal, "point %d of channel %d holds %v (%s) and the device has %d", points[i], one.channel, value.Number, value.Quality, points[i]-1)
			switch {
			case value.Quality != ems.Good:
				doubt = wrong
			case value.Number != float64(points[i]-1):
				return wrong
			default:
				good++
			}
		}
	}
	if good < 2*least {
		return doubt
	}
	return nil
}
