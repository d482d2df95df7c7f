package comsrv

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// script is a driver that does what a test says and takes time by the clock of
// the test alone.
type script struct {
	clock *ems.ManualClock
	wants func(poll int) (took time.Duration, err error)

	mu       sync.Mutex
	polls    []time.Duration // when each began, since the epoch
	log      []string        // "poll" and "write" in the order in which they came
	connects int
	raw      []float64
	bad      map[int]string
	texts    map[int]string
}

func (s *script) Connect(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connects++
	return nil
}

func (s *script) ReadBatch(context.Context, string) ([]protocol.Reading, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polls = append(s.polls, s.clock.Now().Sub(epoch))
	s.log = append(s.log, "poll")
	if s.wants != nil {
		took, err := s.wants(len(s.polls))
		s.clock.Advance(took)
		if err != nil {
			return nil, err
		}
	}
	var readings []protocol.Reading
	for i, raw := range s.raw {
		reading := protocol.Reading{Point: i, Raw: raw, Text: s.texts[i]}
		if reason, bad := s.bad[i]; bad {
			reading.Quality, reading.Reason = ems.Bad, reason
		}
		readings = append(readings, reading)
	}
	return readings, nil
}

func (s *script) WritePoint(context.Context, protocol.Write) (protocol.Written, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, "write")
	return protocol.Written{}, errors.New("no answer")
}

func (s *script) Close() error { return nil }

func (s *script) began() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Duration{}, s.polls...)
}

// scripted returns a channel with a scripted driver, not running. Its Redis is
// the one of that address, which need not answer.
func scripted(t *testing.T, url string, entry config.Channel) (*channel, *script) {
	t.Helper()
	clock := ems.NewManualClock(epoch)
	db, err := rtdb.Open(rtdb.Options{URL: url, Clock: clock, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	registry := prometheus.NewRegistry()
	counters, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	links, err := modbus.NewLinks(clock, registry)
	if err != nil {
		t.Fatal(err)
	}
	shared := parts{
		db: db, clock: clock, logger: testkit.Logger(t), metrics: counters, turns: make(chan struct{}, turnsAtOnce), drivers: Drivers(links),
	}
	entry.Protocol, entry.Enabled = "modbus_tcp", true
	c, err := newChannel(entry, shared, newCommander(shared))
	if err != nil {
		t.Fatal(err)
	}
	driver := &script{clock: clock, raw: make([]float64, len(entry.Points))}
	c.driver = driver
	return c, driver
}

// nowhere is a Redis that is away: nobody listens on that port.
const nowhere = "redis://127.0.0.1:1"

// run runs a channel and returns a function that stops it.
func run(t *testing.T, c *channel, place, places int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.run(ctx, place, places)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

func telemetry(count int) []config.MappedPoint {
	var points []config.MappedPoint
	for i := range count {
		points = append(points, mapped(ems.Telemetry, ems.PointID(i+1), string(rune('a'+i)),
			config.Mapping{Function: 3, Address: uint16(2 * i), DataType: config.Float32}))
	}
	return points
}

// TestPollsKeepToTheGrid: polls that take time begin on their slots all the same,
// slots that a long one runs over are left out and counted, and all of this goes
// on without Redis.
func TestPollsKeepToTheGrid(t *testing.T) {
	t.Parallel()
	entry := config.Channel{
		ID: 1, PollPeriod: time.Second, PollGroups: config.PollGroups{"spare": time.Minute}, Timeout: time.Second, Points: telemetry(1),
	}
	c, driver := scripted(t, nowhere, entry)
	clock := driver.clock
	driver.wants = func(poll int) (time.Duration, error) {
		if poll == 3 {
			return 2300 * time.Millisecond, nil // over the slots of 3.5 s and 4.5 s
		}
		return 100 * time.Millisecond, nil
	}
	run(t, c, 1, 2)
	for range 80 {
		clock.AwaitTimers(1)
		clock.Advance(100 * time.Millisecond)
	}
	clock.AwaitTimers(1)
	seconds := func(all ...float64) (list []time.Duration) {
		for _, s := range all {
			list = append(list, time.Duration(s*float64(time.Second)))
		}
		return list
	}
	began := driver.began()
	if diff := cmp.Diff(seconds(0.5, 1.5, 2.5, 5.5, 6.5, 7.5, 8.5), began[:min(7, len(began))]); diff != "" {
		t.Error(diff)
	}
	if overruns := testutil.ToFloat64(c.counters.overruns(ems.DefaultGroup)); overruns != 2 {
		t.Errorf("%v overruns", overruns)
	}
	last := epoch.Add(began[len(began)-1] + 100*time.Millisecond).UnixMilli()
	if diff := cmp.Diff([]groupView{
		{Name: "default", PeriodMS: 1000, StaleAfterMS: 3000, Points: 1, LastSuccess: &last, Overruns: 2},
		{Name: "spare", PeriodMS: 60000, StaleAfterMS: 121000},
	}, c.view().PollGroups); diff != "" {
		t.Error(diff)
	}
	if failures := testutil.ToFloat64(c.counters.ingestFailures); failures < 3 {
		t.Errorf("%v failures to tell Redis", failures)
	}
	if points := testutil.ToFloat64(c.counters.points); points != float64(len(began)) {
		t.Errorf("%v points in %d polls", points, len(began))
	}
}

// TestDeviceIsRetriedWithPauses: a device that fails is tried again within the
// bound of its retries, and on the grid when it is back.
func TestDeviceIsRetriedWithPauses(t *testing.T) {
	t.Parallel()
	entry := config.Channel{ID: 1, PollPeriod: time.Second, Timeout: time.Second, Points: telemetry(1)}
	c, driver := scripted(t, nowhere, entry)
	clock := driver.clock
	driver.wants = func(poll int) (time.Duration, error) {
		if poll >= 2 && poll <= 12 {
			return 0, errors.New("silence")
		}
		return 0, nil
	}
	run(t, c, 0, 1)
	for len(driver.began()) < 15 {
		clock.AwaitTimers(1)
		clock.Advance(10 * time.Millisecond)
	}
	began := driver.began()
	bound := firstRetry
	for i := 1; i < 12; i++ { // from the first failure to the first success
		most := bound
		if bound >= time.Second && began[i+1]%time.Second == 0 {
			most += time.Second // up to a slot
		}
		if pause := began[i+1] - began[i]; pause > most+20*time.Millisecond || pause > time.Second+20*time.Millisecond && began[i+1]%time.Second != 0 {
			t.Errorf("the pause after failure %d is %v, above %v or not up to a slot", i, pause, most)
		}
		bound = min(2*bound, longestRetry)
	}
	if began[0] != 0 || began[1] != time.Second || began[13]%time.Second != 0 || began[14]-began[13] != time.Second {
		t.Errorf("polls began at %v", began)
	}
	if failed := testutil.ToFloat64(c.counters.failed); failed != 11 {
		t.Errorf("%v polls failed", failed)
	}
	driver.mu.Lock()
	defer driver.mu.Unlock()
	if driver.connects != 12 { // the first, one for each failure
		t.Errorf("%d connections", driver.connects)
	}
}

// TestConnectingEndsWithItsChannel, and does not go on to its other poll groups.
func TestConnectingEndsWithItsChannel(t *testing.T) {
	t.Parallel()
	points := telemetry(3)
	points[0].Group, points[1].Group, points[2].Group = "fast", "slow", ems.DefaultGroup
	entry := config.Channel{
		ID: 1, PollPeriod: time.Second, Timeout: time.Hour, Points: points,
		PollGroups: config.PollGroups{"fast": 100 * time.Millisecond, "slow": 10 * time.Second},
	}
	c, script := scripted(t, nowhere, entry)
	script.wants = func(int) (time.Duration, error) {
		c.end("it was removed", nil)
		return 0, errors.New("silence")
	}
	c.run(context.Background(), 0, 1)
	if polls := len(script.began()); polls != 1 {
		t.Errorf("%d groups were read of a channel that is to end", polls)
	}
}
