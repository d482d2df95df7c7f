package comsrv

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// polled is a channel whose polls a test makes one by one, against a real Redis.
type polled struct {
	*plant
	channel *channel
	device  *script
}

func newPolled(t *testing.T, points []config.MappedPoint) *polled {
	t.Helper()
	p := newPlant(t)
	c, device := scripted(t, p.Redis.URL, config.Channel{ID: 1, PollPeriod: time.Second, Timeout: time.Second, Points: points})
	c.plan(0, 1)
	return &polled{plant: p, channel: c, device: device}
}

// poll polls once, a second after the last time, and returns how many points were
// sent to Redis.
func (p *polled) poll() int {
	p.t.Helper()
	before := testutil.ToFloat64(p.channel.counters.sent)
	p.device.clock.Advance(time.Second)
	p.pollAll()
	if p.channel.publisher.failing {
		p.t.Fatal("Redis was not told")
	}
	return int(testutil.ToFloat64(p.channel.counters.sent) - before)
}

// pollAll polls every group, due or not.
func (p *polled) pollAll() {
	if !p.channel.publisher.online {
		p.channel.connect(context.Background())
		return
	}
	for i := range p.channel.publisher.groups {
		p.channel.poll(context.Background(), &p.channel.publisher.groups[i])
	}
}

func (p *polled) wantSent(want int, what string) {
	p.t.Helper()
	if sent := p.poll(); sent != want {
		p.t.Errorf("%s: %d points were sent, want %d", what, sent, want)
	}
}

func TestChangesAreSentAndEverythingOnceAMinute(t *testing.T) {
	t.Parallel()
	points := telemetry(3)
	points[1].Deadband = 0.5
	p := newPolled(t, points)
	p.device.raw = []float64{1, 2, 3}
	p.wantSent(3, "the first poll")
	p.wantSent(0, "nothing changed")
	p.device.raw = []float64{1, 2.5, 4}
	p.wantSent(1, "a change, and one within the deadband")
	p.device.raw = []float64{1, 2.6, 4}
	p.wantSent(1, "a change beyond the deadband")
	p.device.raw = []float64{1, 2.2, 4}
	p.wantSent(0, "the deadband lies around what was sent")
	p.device.bad = map[int]string{0: "torn off"}
	p.wantSent(1, "a point became bad")
	p.device.raw = []float64{9, 2.2, 4}
	p.wantSent(0, "a bad point has no value that could change")
	if diff := cmp.Diff(map[string]string{"1": "bad"}, p.hash("comsrv:1:T:q")); diff != "" {
		t.Error(diff)
	}
	p.device.bad = nil
	p.wantSent(1, "a point became good")
	if diff := cmp.Diff(map[string]string{"1": "9.000000", "2": "2.600000", "3": "4.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{}, p.hash("comsrv:1:T:q")); diff != "" {
		t.Error(diff)
	}
	for range 52 {
		p.wantSent(0, "within the minute")
	}
	if at := p.hash("comsrv:1:status")["group:default"]; at != "1782000060000" {
		t.Errorf("the group succeeded at %s", at)
	}
	p.wantSent(3, "a minute after the first poll")
	if diff := cmp.Diff(map[string]string{"1": "9.000000", "2": "2.200000", "3": "4.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error(diff)
	}
	p.channel.publisher.forget()
	p.wantSent(3, "Redis has newly appeared")
}

// calls returns how many functions of the library were called.
func (p *plant) calls() float64 {
	p.t.Helper()
	info, err := p.Raw.Info(p.t.Context(), "commandstats").Result()
	if err != nil {
		p.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "cmdstat_fcall:calls=")
	count, _, _ := strings.Cut(rest, ",")
	number, err := ems.ParseNumber(count)
	if err != nil {
		p.t.Fatalf("no count of calls in %s", info)
	}
	return number
}

func TestFailureIsToldOnceAndRecoveryInFull(t *testing.T) {
	t.Parallel()
	p := newPolled(t, telemetry(2))
	p.device.raw = []float64{1, 2}
	p.wantSent(2, "the first poll")
	p.device.wants = func(int) (time.Duration, error) { return 0, errors.New("line\nbroken") }
	before := p.calls()
	p.wantSent(0, "the device fails")
	if made := p.calls() - before; made != 2 { // mark and status
		t.Errorf("%v calls told the failure", made)
	}
	before = p.calls()
	for range 3 {
		p.wantSent(0, "the device still fails")
	}
	if made := p.calls() - before; made != 0 {
		t.Errorf("%v calls told the same again", made)
	}
	status, err := p.DB.Status(t.Context(), 1)
	if err != nil || status.Online || status.Reason != "line broken" {
		t.Errorf("%+v, %v", status, err)
	}
	if diff := cmp.Diff(map[string]string{"1": "bad", "2": "bad"}, p.hash("comsrv:1:T:q")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"1": "1.000000", "2": "2.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error("the last good values stay:", diff)
	}
	p.device.wants = nil
	p.wantSent(2, "the device is back with the values of before")
	if diff := cmp.Diff(map[string]string{}, p.hash("comsrv:1:T:q")); diff != "" {
		t.Error(diff)
	}
	if status, err := p.DB.Status(t.Context(), 1); err != nil || !status.Online || status.Errors != 4 {
		t.Errorf("%+v, %v", status, err)
	}
}

// TestTypesAndGroupsAreTold: each type of each poll group is one batch, and tells
// the success of its group, when that was polled.
func TestTypesAndGroupsAreTold(t *testing.T) {
	t.Parallel()
	points := allKinds()
	points[1].Group, points[6].Group = "slow", "slow"
	p := newPolled(t, points)
	p.device.raw = make([]float64, len(points))
	// The script answers every group with all points: it knows no groups.
	p.poll()
	status := p.hash("comsrv:1:status")
	if status["group:default"] != "1782000001000" || status["group:slow"] != "1782000001000" || status["stale_after_ms"] != "3000" {
		t.Errorf("%v", status)
	}
	if diff := cmp.Diff(map[string]string{"2": "slow"}, p.hash("comsrv:1:T:g")); diff != "" {
		t.Error(diff)
	}
	for key, want := range map[string]int{"comsrv:1:T": 2, "comsrv:1:S": 1, "comsrv:1:C": 2, "comsrv:1:A": 2} {
		if stored := p.hash(key); len(stored) != want {
			t.Errorf("%s holds %v", key, stored)
		}
	}
	before, slow := p.calls(), slices.IndexFunc(p.channel.publisher.groups, func(g groupState) bool { return g.name == "slow" })
	p.device.clock.Advance(time.Second)
	p.channel.poll(t.Context(), &p.channel.publisher.groups[slow])
	if made := p.calls() - before; made != 2 { // telemetry and adjustments
		t.Errorf("%v calls told of one group", made)
	}
	if status = p.hash("comsrv:1:status"); status["group:default"] != "1782000001000" || status["group:slow"] != "1782000002000" {
		t.Errorf("%v", status)
	}
}

func TestInfiniteValuesAreBad(t *testing.T) {
	t.Parallel()
	points := telemetry(2)
	points[0].Scale = 10
	p := newPolled(t, points)
	p.device.raw = []float64{math.MaxFloat64, 5}
	p.wantSent(2, "one that the scale makes infinite")
	if diff := cmp.Diff(map[string]string{"2": "5.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error(diff)
	}
	answered := p.channel.answered([]int{0, 1})
	if answered[0].doubts != (doubts{bad: "scale and offset make the value infinite"}) || answered[1].doubts != (doubts{}) {
		t.Errorf("%+v", answered)
	}
}

// TestWhatStaysIsNotForgotten: a poll does not look twice at a point that is as it
// was, and yet sees that one was written meanwhile, was lost, or has other digits.
func TestWhatStaysIsNotForgotten(t *testing.T) {
	t.Parallel()
	points := telemetry(3)
	points[1].Deadband = 0.5
	p := newPolled(t, points)
	p.device.raw = []float64{1, 2, 1 << 60}
	p.device.texts = map[int]string{2: "1152921504606846976"}
	p.wantSent(3, "the first poll")
	p.device.raw[1] = 2.4
	p.wantSent(0, "within the deadband")
	p.wantSent(0, "and still")
	p.device.raw[1] = 2.6
	p.wantSent(1, "beyond the deadband")
	p.channel.publisher.publishPoint(t.Context(), 0, 7)
	if stored := p.hash("comsrv:1:T")["1"]; stored != "7.000000" {
		t.Errorf("what was read back is %s", stored)
	}
	p.wantSent(1, "the device shows what it had before it was written to")
	p.device.texts[2] = "1152921504606846977"
	p.wantSent(0, "other digits of the same rounded number")
	if answered := p.channel.answered([]int{2})[0]; answered.text != "1152921504606846977" {
		t.Errorf("%+v", answered)
	}
	for _, digits := range []string{"", "1152921504606846975", ""} { // none where the number is exact
		p.device.texts[2] = digits
		p.poll()
		if answered := p.channel.answered([]int{2})[0]; answered.text != digits {
			t.Errorf("the digits %q are shown as %q", digits, answered.text)
		}
	}
	group := &p.channel.publisher.groups[0]
	p.channel.publisher.lose(group, errors.New("silence"))
	p.channel.publisher.publish(t.Context())
	if diff := cmp.Diff(map[string]string{"1": "bad", "2": "bad", "3": "bad"}, p.hash("comsrv:1:T:q")); diff != "" {
		t.Error(diff)
	}
	p.wantSent(3, "the group is back with the values of before")
	if diff := cmp.Diff(map[string]string{}, p.hash("comsrv:1:T:q")); diff != "" {
		t.Error(diff)
	}
}

// TestATaskWaitsForCommands: those that came while the one before it was at work go
// first.
func TestATaskWaitsForCommands(t *testing.T) {
	t.Parallel()
	p := newPolled(t, allKinds())
	p.device.raw = make([]float64, 7)
	p.poll()
	waited := []int{}
	for range 3 {
		p.channel.tasks <- func(context.Context) {
			waited = append(waited, len(p.channel.orders))
			p.channel.orders <- order{Delivery: rtdb.Delivery{Command: command("late", ems.Control, 1, 1)}, point: 3}
		}
	}
	p.channel.executeWaiting(t.Context())
	if diff := cmp.Diff([]int{0, 0, 0}, waited); diff != "" || len(p.channel.orders) != 0 {
		t.Errorf("%d commands wait, and before each task %s", len(p.channel.orders), diff)
	}
}

// TestLargeChannels: more points than one call carries.
func TestLargeChannels(t *testing.T) {
	t.Parallel()
	p := newPolled(t, telemetry(1001))
	p.device.raw = make([]float64, 1001)
	for i := range p.device.raw {
		p.device.raw[i] = float64(i) / 8
	}
	p.wantSent(1001, "the first poll")
	stored := p.hash("comsrv:1:T")
	if len(stored) != 1001 || stored["1001"] != "125.000000" || stored["2"] != "0.125000" {
		t.Errorf("%d points: %s, %s", len(stored), stored["1001"], stored["2"])
	}
	p.wantSent(0, "nothing changed")
}

func TestClip(t *testing.T) {
	if got := clip("a\nb\x7fc\td"); got != "a b c d" {
		t.Errorf("%q", got)
	}
	if got := clip(strings.Repeat("ä", 300)); got != strings.Repeat("ä", 200)+"…" {
		t.Errorf("%q", got)
	}
	if got := clip("x" + strings.Repeat("ä", 300)); got != "x"+strings.Repeat("ä", 199)+"…" {
		t.Errorf("%q", got)
	}
}
