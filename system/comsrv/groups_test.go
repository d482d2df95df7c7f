package comsrv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// grouped returns a channel with one point in each of these poll groups, which is
// read by a driver of the test and tells nobody.
func grouped(t *testing.T, periods config.PollGroups) (*channel, *exchanges) {
	t.Helper()
	base, device := scripted(t, nowhere, config.Channel{ID: 1, Timeout: time.Second})
	return regrouped(t, base, device.clock, periods)
}

// regrouped is grouped on the parts of another channel.
func regrouped(t *testing.T, base *channel, clock *ems.ManualClock, periods config.PollGroups) (*channel, *exchanges) {
	t.Helper()
	entry := base.Channel
	entry.ID++
	entry.PollPeriod, entry.PollGroups, entry.Points = time.Hour, periods, telemetry(len(periods))
	for i, name := range slices.Sorted(maps.Keys(periods)) {
		entry.Points[i].Group = name
	}
	c, err := newChannel(entry, base.parts, base.commands)
	if err != nil {
		t.Fatal(err)
	}
	driver := &exchanges{clock: clock, channel: c, start: clock.Now()}
	c.driver = driver
	c.publisher.retryAt = clock.Now().Add(1000 * time.Hour)
	return c, driver
}

// exchanges is a driver whose polls are exchanges that take their time by the
// clock of the test. Like the one for Modbus it yields before each of them.
type exchanges struct {
	clock   *ems.ManualClock
	channel *channel
	start   time.Time
	last    func(group string, poll int) []time.Duration // how long each exchange of a poll takes
	fails   map[string]error
	begun   []begun
	polls   map[string]int
}

// begun is a poll that has begun.
type begun struct {
	Group string
	At    time.Duration // since the start
}

func (e *exchanges) Connect(context.Context) error { return nil }
func (e *exchanges) Close() error                  { return nil }

func (e *exchanges) ReadBatch(ctx context.Context, group string) ([]protocol.Reading, error) {
	e.begun = append(e.begun, begun{group, e.clock.Now().Sub(e.start)})
	if e.polls == nil {
		e.polls = map[string]int{}
	}
	poll := e.polls[group]
	e.polls[group]++
	if e.last != nil {
		for _, takes := range e.last(group, poll) {
			e.channel.yield(ctx)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			e.clock.Advance(takes)
		}
	}
	if err := e.fails[group]; err != nil {
		return nil, err
	}
	for i := range e.channel.Points {
		if e.channel.Points[i].Group == group {
			return []protocol.Reading{{Point: i, Raw: float64(poll)}}, nil
		}
	}
	return nil, nil
}

func (e *exchanges) WritePoint(context.Context, protocol.Write) (protocol.Written, error) {
	return protocol.Written{}, errors.New("nobody writes")
}

// until lets a channel work for as long as there is something to do before a time.
func (e *exchanges) until(end time.Duration) {
	for {
		e.clock.Advance(max(0, min(e.channel.wakeAt().Sub(e.clock.Now()), e.start.Add(end).Sub(e.clock.Now()))))
		if e.clock.Now().Sub(e.start) >= end { // maybe of the last poll
			return
		}
		e.channel.wake(context.Background())
	}
}

// plainGroup is a poll group as the plain model of the scheduler knows it.
type plainGroup struct {
	name               string
	start, period, due time.Duration
	polls, missed      int
}

// underWay is a poll of the plain model, with the exchanges that it still has.
type underWay struct {
	group   *plainGroup
	left    []time.Duration
	yielded bool // since its last exchange
}

// plainSchedule says which polls begin when before a time, exchange by exchange.
// groups are in the order of their periods.
func plainSchedule(groups []*plainGroup, last func(group string, poll int) []time.Duration, end time.Duration) (polls []begun) {
	begin := func(group *plainGroup, now time.Duration) *underWay {
		polls = append(polls, begun{group.name, now})
		group.polls++
		return &underWay{group: group, left: last(group.name, group.polls-1)}
	}
	first := func(now time.Duration, wanted func(*plainGroup) bool) (found *plainGroup) {
		for _, group := range groups {
			if group.due <= now && wanted(group) && (found == nil || group.due < found.due) {
				found = group
			}
		}
		return found
	}
	now := groups[0].start
	for _, group := range groups {
		now = min(now, group.start)
	}
	for _, group := range groups { // everything at once, because the device was not reachable
		for _, takes := range begin(group, now).left {
			now += takes
		}
	}
	for _, group := range groups {
		for group.due = group.start; group.due <= now; group.due += group.period {
		}
	}
	for {
		next := first(1<<62, func(*plainGroup) bool { return true })
		if now = max(now, next.due); now >= end {
			return polls
		}
		stack := []*underWay{begin(next, now)}
		for len(stack) > 0 {
			top := stack[len(stack)-1]
			if len(top.left) == 0 {
				for top.group.due += top.group.period; top.group.due <= now; top.group.due += top.group.period {
					top.group.missed++
				}
				stack = stack[:len(stack)-1]
				continue
			}
			if !top.yielded {
				top.yielded = true
				if urgent := first(now, func(g *plainGroup) bool { return g.period < top.group.period }); urgent != nil {
					stack = append(stack, begin(urgent, now))
					continue
				}
			}
			now += top.left[0]
			top.left, top.yielded = top.left[1:], false
		}
	}
}

// TestGroupsKeepToTheirSlots: whatever periods groups have and however long their
// exchanges take, polls begin just when a plain model says, and slots that were
// left out are counted exactly.
func TestGroupsKeepToTheirSlots(t *testing.T) {
	t.Parallel()
	c, device := scripted(t, nowhere, config.Channel{ID: 1, Timeout: time.Second})
	for range 40 {
		rapid.Check(t, func(rt *rapid.T) {
			periods, takes := drawExchanges(rt)
			last := func(group string, poll int) []time.Duration { return takes[group][poll%len(takes[group])] }
			places := rapid.IntRange(1, 7).Draw(rt, "places")
			const end = 20 * time.Second
			var driver *exchanges
			c, driver = regrouped(t, c, device.clock, periods)
			driver.last = last
			c.plan(rapid.IntRange(0, places-1).Draw(rt, "place"), places)
			var plain []*plainGroup
			for i := range c.publisher.groups {
				group := &c.publisher.groups[i]
				plain = append(plain, &plainGroup{name: group.name, start: group.slots.start.Sub(driver.start), period: periods[group.name]})
			}
			driver.until(end)
			if diff := cmp.Diff(plainSchedule(plain, last, end), driver.begun); diff != "" {
				rt.Fatalf("polls that begin (-plain +got):\n%s", diff)
			}
			for i, want := range plain {
				group := &c.publisher.groups[i]
				if counted := testutil.ToFloat64(c.counters.overruns(group.name)); group.missed != int64(want.missed) || counted != float64(want.missed) {
					rt.Fatalf("group %s has %d overruns, and %v counted, want %d", want.name, group.missed, counted, want.missed)
				}
				slots := group.due.Sub(group.slots.start)
				if slots%group.slots.period != 0 || group.due.Sub(driver.start) != want.due {
					rt.Fatalf("group %s is due at %v, want %v", want.name, group.due.Sub(driver.start), want.due)
				}
			}
		})
	}
}

// drawExchanges returns periods of poll groups, and for each of some polls of each
// how long its exchanges take.
func drawExchanges(t *rapid.T) (config.PollGroups, map[string][][]time.Duration) {
	periods, takes := config.PollGroups{}, map[string][][]time.Duration{}
	for i := range rapid.IntRange(1, 4).Draw(t, "groups") {
		name := string(rune('a' + i))
		periods[name] = time.Duration(rapid.IntRange(1, 40).Draw(t, "period")) * 50 * time.Millisecond
		for range rapid.IntRange(1, 4).Draw(t, "polls") {
			var poll []time.Duration
			for range rapid.IntRange(1, 6).Draw(t, "exchanges") {
				poll = append(poll, time.Duration(rapid.IntRange(0, 120).Draw(t, "takes"))*time.Millisecond)
			}
			takes[name] = append(takes[name], poll)
		}
	}
	return periods, takes
}

// TestAGroupWaitsForOneExchangeOfASlowerOne, and for the whole poll of none.
func TestAGroupWaitsForOneExchangeOfASlowerOne(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	c, driver := grouped(t, config.PollGroups{"fast": 100 * ms, "slow": 10 * time.Second})
	driver.last = func(group string, _ int) []time.Duration {
		if group == "fast" {
			return []time.Duration{5 * ms}
		}
		return slices.Repeat([]time.Duration{30 * ms}, 50)
	}
	c.plan(0, 1)
	// Slots of fast are at 0, 100, 200 ms …, those of slow at 50 ms and every 10 s then.
	driver.until(20 * time.Second)
	var worst time.Duration
	slow, within := 0, 0
	for _, poll := range driver.begun[2:] {
		if poll.Group == "slow" {
			if slow++; poll.At != 10050*ms {
				t.Errorf("slow began at %v", poll.At)
			}
			continue
		}
		worst = max(worst, poll.At%(100*ms))
		if poll.At > 10050*ms && poll.At < 11630*ms { // while slow takes its 1.5 s and 16 times 5 ms
			within++
		}
	}
	// The first reading of everything takes until 1.505 s.
	if polls := driver.polls["fast"]; polls != 1+184 || slow != 1 || within != 16 || worst >= 30*ms {
		t.Errorf("%d polls of fast, %d of slow, %d within that one, the worst late by %v", polls, slow, within, worst)
	}
	for i := range c.publisher.groups {
		if missed := c.publisher.groups[i].missed; missed != 0 {
			t.Errorf("%d overruns of %s", missed, c.publisher.groups[i].name)
		}
	}
}

// TestAGroupThatCannotBeRead makes its channel look whether the device is there at
// all; when it is, that group alone is bad until it can be read again.
func TestAGroupThatCannotBeRead(t *testing.T) {
	t.Parallel()
	p := newPolled(t, telemetry(2))
	c, driver := p.channel, &exchanges{clock: p.device.clock, start: epoch}
	c.PollGroups = config.PollGroups{"a": time.Second, "b": time.Second}
	c.Points[0].Group, c.Points[1].Group = "a", "b"
	c.publisher = newPublisher(&c.Channel, c.parts, c.counters)
	c.driver, driver.channel = driver, c
	c.plan(0, 1)
	step := func(want string) {
		t.Helper()
		driver.clock.Advance(2 * time.Second)
		for range 2 {
			c.wake(t.Context())
		}
		_, groups := c.shown()
		if got := fmt.Sprint(c.publisher.online, groups[0].failed, groups[1].failed, p.hash("comsrv:1:T:q")); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	step("true false false map[]")
	driver.fails = map[string]error{"b": errors.New("no answer")}
	step("false false false map[1:bad 2:bad]")
	step("true false true map[2:bad]")
	step("true false true map[2:bad]")
	if values := p.hash("comsrv:1:status"); values["group:a"] <= values["group:b"] {
		t.Errorf("%v", values)
	}
	c.publisher.publishPoint(t.Context(), 1, 5) // a command could read it back
	if marks := p.hash("comsrv:1:T:q"); len(marks) > 0 {
		t.Errorf("after it was read back: %v", marks)
	}
	step("true false true map[2:bad]")
	driver.fails["a"] = errors.New("no answer either")
	step("false false true map[1:bad 2:bad]")
	driver.fails = nil
	step("true false false map[]")
}

// TestADeviceThatFailsWithinThePollOfAnotherGroup ends that poll, too.
func TestADeviceThatFailsWithinThePollOfAnotherGroup(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	c, driver := grouped(t, config.PollGroups{"fast": 100 * ms, "slow": 10 * time.Second})
	driver.last = func(group string, poll int) []time.Duration {
		if group == "fast" {
			return []time.Duration{ms}
		}
		if poll > 0 {
			driver.fails = map[string]error{"fast": errors.New("the cable is cut")}
		}
		return slices.Repeat([]time.Duration{30 * ms}, 20)
	}
	c.plan(0, 1)
	for driver.until(10 * time.Second); c.publisher.online; {
		driver.clock.Advance(max(0, c.wakeAt().Sub(driver.clock.Now())))
		c.wake(t.Context())
	}
	// slow began at 10.05 s, and fast after two exchanges of it.
	if now := driver.clock.Now().Sub(epoch); now != 10111*ms || c.publisher.reason != "the cable is cut" {
		t.Errorf("%q at %v", c.publisher.reason, now)
	}
	if c.polling != nil {
		t.Errorf("group %s is still being read", c.polling.name)
	}
}

// TestGroupsOnTheWire: each register is read exactly as often as its poll group says.
func TestGroupsOnTheWire(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	points := telemetry(3)
	points[0].Group, points[1].Group, points[2].Group = "fast", "slow", ems.DefaultGroup
	for i := range points {
		points[i].Mapping.Address = uint16(1000 * i)
		d.float(uint16(1000*i), float32(i))
	}
	p := newPlant(t)
	c, script := scripted(t, p.Redis.URL, config.Channel{
		ID: 1, Address: d.address, PollPeriod: time.Second, Timeout: time.Minute, Points: points,
		PollGroups: config.PollGroups{"fast": 100 * time.Millisecond, "slow": 10 * time.Second},
	})
	driver, err := c.drivers[c.Protocol](protocol.Setting{Channel: c.Channel, Clock: script.clock, Logger: c.logger, Yield: c.yield})
	if err != nil {
		t.Fatal(err)
	}
	c.driver = driver
	run(t, c, 0, 1)
	for range 3000 { // 30 s
		script.clock.AwaitTimers(1)
		script.clock.Advance(10 * time.Millisecond)
	}
	script.clock.AwaitTimers(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	// All at 0 s; fast at every 100 ms from then, the others 67 and 33 ms after their slots, once in their periods.
	if diff := cmp.Diff(map[uint16]int{0: 1 + 300, 2000: 1 + 30, 1000: 1 + 3}, d.reads); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"1": "0.000000", "2": "1.000000", "3": "2.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error(diff)
	}
	status := p.hash("comsrv:1:status")
	want := map[string]string{
		"stale_after_ms": "62000", "stale_after_ms:fast": "60200", "stale_after_ms:slow": "80000", "group:fast": "1782000030000",
	}
	for field, value := range want {
		if status[field] != value {
			t.Errorf("%s is %s, want %s", field, status[field], value)
		}
	}
}
