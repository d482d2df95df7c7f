package features

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/voltageems/voltageems-go/system/ems"
)

// When what happens in the flood: behind which of its steps.
const (
	alarmsrvDies = floodSteps / 3
	keptUntil    = floodSteps/2 - 1 // what Redis writes later is lost with it
	redisDies    = floodSteps*2/3 + 1
	leastLost    = floodAlarms / 20
)

// floodWithin bounds a broken run; a sound one takes a small part of it.
const floodWithin = 3 * time.Minute

// listedWithin bounds p99 from a value to the alarm in the list where nothing
// was down. The goal is two seconds; the rest is for a machine that does much
// else, and the bench measures.
const listedWithin = 5 * 2 * time.Second

// TestNoAlarmOfAFloodIsLostOrDoubled trips 10,000 points within 5 s through real
// devices and comsrv, kills alarmsrv and then Redis, and takes from the end of
// the append-only file what a crash of the machine may take at "everysec". Each
// point has one alarm in the end, raised once.
func TestNoAlarmOfAFloodIsLostOrDoubled(t *testing.T) {
	f := startFlood(t)
	ctx, cancel := context.WithTimeout(t.Context(), floodWithin)
	defer cancel()
	watcher := &watcher{seen: map[string]sighting{}}
	group, running := errgroup.WithContext(ctx)
	watching, stopWatching := context.WithCancel(running)
	defer stopWatching()
	group.Go(func() error { watcher.watch(watching, f); return nil })

	alarmsrvBack, kept := make(chan struct{}), make(chan aofEnd, 1)
	group.Go(func() error {
		return f.pour(running, func(ctx context.Context, step int) error {
			if step != keptUntil {
				return nil
			}
			select {
			case <-alarmsrvBack: // on a slow machine the flood waits, so that Redis dies in it, too
			case <-ctx.Done():
				return ctx.Err()
			}
			end, err := f.aofEnd(ctx)
			kept <- end
			return err
		})
	})
	f.awaitStep(running, t, alarmsrvDies)
	await(running, t, "the first alarms", func(context.Context) error { return watcher.sawAtLeast(floodAlarms / 20) })
	outages := []outage{f.alarmsrvDies(running, t)}
	close(alarmsrvBack)
	f.awaitStep(running, t, redisDies)
	outages = append(outages, f.redisDies(running, t, <-kept))
	await(running, t, "all alarms in the list", func(context.Context) error { return watcher.sawAtLeast(floodAlarms) })
	f.awaitPolls(running, t)
	stopWatching()
	if err := errors.Join(group.Wait(), watcher.sawAtLeast(floodAlarms)); err != nil {
		t.Fatal(err)
	}
	alarms := f.everyAlarmOnce(ctx, t)
	f.everyRaiseOnce(ctx, t, alarms)
	f.everyRuleOnce(ctx, t)
	f.report(t, watcher, outages)
}

// await waits until a condition holds. What is wrong will not be right later.
func await(ctx context.Context, t *testing.T, what string, condition func(ctx context.Context) error) {
	t.Helper()
	var fault error
	err := eventuallyWithin(ctx, floodWithin, func(ctx context.Context) error {
		err := condition(ctx)
		if errors.Is(err, errWrong) {
			fault, err = err, nil
		}
		return err
	})
	if err = errors.Join(fault, err, context.Cause(ctx)); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func (f *floodSite) awaitStep(ctx context.Context, t *testing.T, step int) {
	t.Helper()
	select {
	case <-f.poured[step]:
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
}

// alarmsrvDies kills alarmsrv and starts it again.
func (f *floodSite) alarmsrvDies(ctx context.Context, t *testing.T) outage {
	t.Helper()
	down := outage{from: time.Now()}
	f.alarmsrv.Kill()
	process, err := f.serve(ctx, ems.Alarmsrv)
	if err != nil {
		t.Fatal(err)
	}
	f.alarmsrv = process
	await(ctx, t, "the list when alarmsrv is back", f.listIsWhole)
	down.till = time.Now()
	return down
}

// aofEnd is how far Redis has written, and how many alarms it had by then, or a
// moment later.
type aofEnd struct {
	at     time.Time
	file   string
	size   int64
	alarms int64
}

func (f *floodSite) aofEnd(ctx context.Context) (aofEnd, error) {
	dir, err := f.raw.ConfigGet(ctx, "dir").Result()
	if err != nil {
		return aofEnd{}, err
	}
	files, err := filepath.Glob(filepath.Join(dir["dir"], "appendonlydir", "*.incr.aof"))
	if err != nil {
		return aofEnd{}, err
	}
	if len(files) != 1 {
		return aofEnd{}, fmt.Errorf("redis appends to %q, want one file", files)
	}
	now := time.Now()
	info, err := os.Stat(files[0])
	if err != nil {
		return aofEnd{}, err
	}
	alarms, err := f.raw.ZCard(ctx, alarmIndex).Result()
	return aofEnd{now, files[0], info.Size(), alarms}, err
}

// redisDies kills Redis, cuts its file where it was kept until, and starts it
// again. It returns when comsrv has sent every value anew.
func (f *floodSite) redisDies(ctx context.Context, t *testing.T, kept aofEnd) outage {
	t.Helper()
	var last aofEnd
	await(ctx, t, "alarms to be lost", func(ctx context.Context) (err error) {
		if last, err = f.aofEnd(ctx); err == nil && last.alarms < kept.alarms+leastLost {
			err = fmt.Errorf("%d alarms, and %d before", last.alarms, kept.alarms)
		}
		return err
	})
	f.redis.Kill()
	if last.file != kept.file {
		t.Fatalf("Redis began %s after %s: what it wrote last cannot be cut off", last.file, kept.file)
	}
	before, err := f.sent(ctx) // it stays so while Redis is away
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(kept.file, kept.size); err != nil {
		t.Fatal(err)
	}
	f.redis.Start()
	back := time.Now()
	await(ctx, t, "the list when Redis is back", f.listIsWhole)
	await(ctx, t, "every value sent anew", func(ctx context.Context) error { return f.sentAnew(ctx, before) })
	t.Logf("of %d alarms Redis lost at least %d; all values were there again after %v",
		last.alarms, last.alarms-kept.alarms, time.Since(back).Round(time.Millisecond))
	return outage{from: kept.at, till: time.Now()}
}

// sent returns how many values comsrv has told Redis, by channel.
func (f *floodSite) sent(ctx context.Context) (map[string]int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.urls[ems.Comsrv]+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	sent := map[string]int{}
	for _, found := range sentMetric.FindAllStringSubmatch(string(text), -1) {
		if sent[found[1]], err = strconv.Atoi(found[2]); err != nil {
			return nil, err
		}
	}
	if len(sent) != floodDevices {
		return nil, fmt.Errorf("%d channels have sent anything", len(sent))
	}
	return sent, nil
}

var sentMetric = regexp.MustCompile(`voltage_comsrv_points_sent_total\{channel="(\d+)"\} (\d+)\n`)

// sentAnew returns nil when comsrv has told Redis all points of all channels. As
// a point trips once, changes alone are fewer.
func (f *floodSite) sentAnew(ctx context.Context, before map[string]int) error {
	now, err := f.sent(ctx)
	for channel := range now {
		if count := now[channel] - before[channel]; count <= floodPoints {
			return fmt.Errorf("%d values of channel %s", count, channel)
		}
	}
	return err
}

// awaitPolls waits until every device was polled once more, so that whatever a
// poll does to alarms that stand was done.
func (f *floodSite) awaitPolls(ctx context.Context, t *testing.T) {
	t.Helper()
	var keys ems.Namespace
	from := time.Now().UnixMilli()
	await(ctx, t, "another poll", func(ctx context.Context) error {
		for device := range floodDevices {
			last, err := f.raw.HGet(ctx, keys.Status(firstFlooded+ems.ChannelID(device)), "group:"+ems.DefaultGroup).Int64()
			if err != nil {
				return err
			}
			if last <= from {
				return fmt.Errorf("device %d was polled at %d", device, last)
			}
		}
		return nil
	})
}

// everyAlarmOnce holds the lists and the counts to the alarms that must be there,
// and returns them by id.
func (f *floodSite) everyAlarmOnce(ctx context.Context, t *testing.T) map[string]ems.Alarm {
	t.Helper()
	all, err := f.walk(ctx, "state=all")
	if err != nil {
		t.Fatal(err)
	}
	byID, byLevel := map[string]ems.Alarm{}, map[ems.AlarmLevel]int{}
	for _, alarm := range all {
		byID[alarm.ID] = alarm
		byLevel[alarm.Level]++
	}
	if len(byID) != floodAlarms { // of as many rules, or walk had said so
		t.Fatalf("%d alarms, want %d", len(byID), floodAlarms)
	}
	filters := map[string]int{"state=active": floodAlarms, "state=closed": 0}
	for _, level := range ems.AlarmLevels {
		filters["level="+string(level)] = byLevel[level]
	}
	for filter, want := range filters {
		listed, err := f.walk(ctx, filter)
		if err != nil || len(listed) != want {
			t.Errorf("%s lists %d alarms, want %d: %v", filter, len(listed), want, err)
		}
	}
	var counts struct {
		Total       int
		Active      int
		ByState     map[ems.AlarmState]int `json:"by_state"`
		OpenByLevel map[ems.AlarmLevel]int `json:"open_by_level"`
		Journal     int                    `json:"journal_entries"`
		Lost        int                    `json:"journal_trimmed"`
	}
	if err := call(ctx, http.MethodGet, f.urls[ems.Alarmsrv]+"/api/alarms/counts", nil, &counts); err != nil {
		t.Fatal(err)
	}
	if counts.Total != floodAlarms || counts.Active != floodAlarms || counts.ByState[ems.ActiveUnacknowledged] != floodAlarms ||
		counts.Journal != floodAlarms || counts.Lost != 0 {
		t.Errorf("the counts are %+v", counts)
	}
	for _, level := range ems.AlarmLevels {
		if counts.OpenByLevel[level] != byLevel[level] {
			t.Errorf("%d open alarms of level %s are counted, %d are listed", counts.OpenByLevel[level], level, byLevel[level])
		}
	}
	return byID
}

// everyRaiseOnce reads the journal: one raise of each alarm, and nothing else.
func (f *floodSite) everyRaiseOnce(ctx context.Context, t *testing.T, alarms map[string]ems.Alarm) {
	t.Helper()
	raised := map[string]bool{}
	for after := ""; ; {
		var entries []ems.JournalEntry
		address := f.urls[ems.Alarmsrv] + "/api/alarms/journal?order=oldest&limit=200&after=" + after
		header, err := exchange(ctx, http.MethodGet, address, nil, &entries)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			alarm := alarms[entry.Alarm]
			if entry.Event != ems.AlarmRaised || raised[entry.Alarm] || entry.From != "" || entry.To != ems.ActiveUnacknowledged ||
				entry.Source != alarm.Source || entry.Rule != alarm.Rule || entry.Level != alarm.Level || entry.By != "rule:"+alarm.Rule ||
				entry.Occurrence != 1 || entry.Value == nil || *entry.Value != *alarm.Value || !entry.Time.Equal(alarm.RaisedAt) {
				t.Fatalf("the journal has %+v (a second time: %v), and the alarm is %+v", entry, raised[entry.Alarm], alarm)
			}
			raised[entry.Alarm] = true
		}
		if after = header.Get("X-Next-After"); after == "" {
			break
		}
	}
	if len(raised) != len(alarms) {
		t.Errorf("the journal has %d alarms, want %d", len(raised), len(alarms))
	}
}

// everyRuleOnce holds the rules to have fired once, and those of the calm points
// never.
func (f *floodSite) everyRuleOnce(ctx context.Context, t *testing.T) {
	t.Helper()
	fired := 0
	for after := ""; ; {
		var states []struct {
			Rule   ems.Rule
			Status ems.RuleStatus
			Fired  int
		}
		if err := call(ctx, http.MethodGet, f.urls[ems.Rulesrv]+"/api/rules?limit=1000&after="+after, nil, &states); err != nil {
			t.Fatal(err)
		}
		for _, state := range states {
			after = state.Rule.ID
			_, trips := f.expected[after]
			want, times := ems.RuleIdle, 0
			if trips {
				want, times = ems.RuleActive, 1
			}
			if state.Status != want || state.Fired != times {
				t.Fatalf("rule %s is %s and has fired %d times, want %s, %d", after, state.Status, state.Fired, want, times)
			}
			fired += state.Fired
		}
		if len(states) < 1000 {
			break
		}
	}
	if fired != floodAlarms {
		t.Errorf("%d rules have fired, want %d", fired, floodAlarms)
	}
}

// report says how long it took from values and registers to the list.
func (f *floodSite) report(t *testing.T, watcher *watcher, outages []outage) {
	t.Helper()
	for _, down := range outages {
		t.Logf("an outage of %v", down.till.Sub(down.from).Round(time.Millisecond))
	}
	line := func(which string, delays []time.Duration) {
		t.Logf("%s, %d alarms: p50 %v, p99 %v, most %v", which, len(delays), percentile(delays, 50), percentile(delays, 99), percentile(delays, 100))
	}
	values, registers := watcher.delays(f, nil)
	line("from value to list", values)
	line("from register to list", registers)
	values, registers = watcher.delays(f, outages)
	line("from value to list beside the outages", values)
	line("from register to list beside the outages", registers)
	if p99 := percentile(values, 99); len(values) == 0 || p99 > listedWithin {
		t.Errorf("p99 from value to list is %v of %d alarms beside the outages, want at most %v", p99, len(values), listedWithin)
	}
}
