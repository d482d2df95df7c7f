package features

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// errWrong marks a list that says what is not so. Any other error is of the way
// to it, which may be gone for a while.
var errWrong = errors.New("wrong")

func wrong(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWrong, fmt.Sprintf(format, args...))
}

// page returns a page of the alarms and the cursor of the next, empty at the end.
func (f *floodSite) page(ctx context.Context, filter string, limit int, after string) (alarms []ems.Alarm, next string, err error) {
	address := fmt.Sprintf("%s/api/alarms?%s&limit=%d&after=%s", f.urls[ems.Alarmsrv], filter, limit, after)
	header, err := exchange(ctx, http.MethodGet, address, nil, &alarms)
	if err != nil {
		return nil, "", err
	}
	for _, alarm := range alarms {
		if err := f.check(alarm); err != nil {
			return nil, "", err
		}
	}
	return alarms, header.Get("X-Next-After"), nil
}

// check refuses an alarm that is not just as its point and rule make it: whole,
// raised once by a value that was there then, and standing.
func (f *floodSite) check(alarm ems.Alarm) error {
	expected, known := f.expected[alarm.Rule]
	if !known {
		return wrong("an alarm that nothing raises: %+v", alarm)
	}
	tripped := f.tripped[expected.step].Load()
	switch {
	case alarm.Source != expected.source, alarm.Level != expected.level, alarm.Title != expected.title,
		alarm.Value == nil || *alarm.Value != expected.value, alarm.Worst == nil || *alarm.Worst != expected.value,
		alarm.State != ems.ActiveUnacknowledged, alarm.Occurrences != 1, !alarm.LastAt.Equal(alarm.RaisedAt),
		alarm.ClearedAt != nil, alarm.Acknowledged != nil, alarm.Shelved != nil, alarm.Suppressed, alarm.Chattering:
		return wrong("%+v is expected, and the alarm is %+v", expected, alarm)
	case tripped == 0 || alarm.RaisedAt.UnixMilli() < tripped:
		return wrong("the point tripped at %d, and the alarm is %+v", tripped, alarm)
	}
	return nil
}

// walk follows the cursors to the end. The list is newest first, and has every
// alarm and every rule once.
func (f *floodSite) walk(ctx context.Context, filter string) (alarms []ems.Alarm, err error) {
	rules, last := map[string]bool{}, 0
	for after := ""; ; {
		page, next, err := f.page(ctx, filter, 1000, after)
		if err != nil {
			return nil, err
		}
		for _, alarm := range page {
			id, err := strconv.Atoi(alarm.ID)
			if err != nil || last != 0 && id >= last {
				return nil, wrong("%s: alarm %s comes behind %d", filter, alarm.ID, last)
			}
			if rules[alarm.Rule] {
				return nil, wrong("%s: rule %s has a second alarm: %+v", filter, alarm.Rule, alarm)
			}
			rules[alarm.Rule], last = true, id
		}
		alarms = append(alarms, page...)
		if next == "" {
			return alarms, nil
		}
		after = next
	}
}

// stored returns the ids of all alarms as Redis holds them, newest first.
func (f *floodSite) stored(ctx context.Context) ([]string, error) {
	return f.raw.ZRangeArgs(ctx, redis.ZRangeArgs{Key: alarmIndex, Start: 0, Stop: -1, Rev: true}).Result()
}

// alarmIndex is where Redis keeps all alarms in their order.
const alarmIndex = "alarmsrv:order:all"

// listIsWhole returns nil when the list has all alarms that were in Redis before
// it was asked for, and none that is not there.
func (f *floodSite) listIsWhole(ctx context.Context) error {
	before, err := f.stored(ctx)
	if err != nil {
		return err
	}
	listed, err := f.walk(ctx, "state=all")
	if err != nil {
		return err
	}
	after, err := f.stored(ctx)
	if err != nil {
		return err
	}
	ids := make([]string, len(listed))
	for i, alarm := range listed {
		ids[i] = alarm.ID
	}
	grown := len(ids) - len(before) // raised meanwhile; they lead the list
	later := len(after) - len(ids)
	if grown < 0 || later < 0 || !slices.Equal(ids[grown:], before) || !slices.Equal(ids, after[later:]) {
		return wrong("%d alarms are listed, Redis has %d before and %d after", len(ids), len(before), len(after))
	}
	return nil
}

// watcher looks at the head of the list again and again, as screens do.
type watcher struct {
	mu    sync.Mutex
	seen  map[string]sighting // by rule
	fault error
}

// sighting is when an alarm was first in a list. One that was lost in a crash
// and raised again is another.
type sighting struct{ raised, seen time.Time }

// watch looks until ctx ends.
func (w *watcher) watch(ctx context.Context, f *floodSite) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for gap := false; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		fresh, err := w.look(ctx, f, false)
		gap = gap || err != nil // what the look did not come to is soon no longer at the head
		if gap && err == nil && !fresh {
			_, err = w.look(ctx, f, true)
			gap = err != nil
		}
	}
}

// look reads the list from its head: to the end, or as far as there are alarms
// that were not seen before. It returns whether there were any.
func (w *watcher) look(ctx context.Context, f *floodSite, whole bool) (found bool, err error) {
	for after, limit := "", 200; ; limit = 1000 {
		alarms, next, err := f.page(ctx, "state=active", limit, after)
		fresh := w.note(alarms, err)
		found = found || fresh
		if err != nil || next == "" || !fresh && !whole {
			return found, err
		}
		after = next
	}
}

// note returns whether any alarm of a page was not seen before.
func (w *watcher) note(alarms []ems.Alarm, err error) (fresh bool) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(err, errWrong) && w.fault == nil {
		w.fault = err
	}
	for _, alarm := range alarms {
		if !w.seen[alarm.Rule].raised.Equal(alarm.RaisedAt) {
			w.seen[alarm.Rule], fresh = sighting{raised: alarm.RaisedAt, seen: now}, true
		}
	}
	return fresh
}

// sawAtLeast returns nil when so many alarms were seen and no list was wrong.
func (w *watcher) sawAtLeast(count int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault == nil && len(w.seen) < count {
		return fmt.Errorf("%d of %d alarms were seen in the list", len(w.seen), count)
	}
	return w.fault
}

// outage is a time in which alarms could not be raised, or not be listed.
type outage struct{ from, till time.Time }

// delays returns, sorted, how long it took from the values and from the registers
// to the list, of all alarms or of those that no outage touched.
func (w *watcher) delays(f *floodSite, outages []outage) (values, registers []time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for rule, one := range w.seen {
		tripped := time.UnixMilli(f.tripped[f.expected[rule].step].Load())
		if slices.ContainsFunc(outages, func(o outage) bool { return tripped.Before(o.till) && one.seen.After(o.from) }) {
			continue
		}
		values, registers = append(values, one.seen.Sub(one.raised)), append(registers, one.seen.Sub(tripped))
	}
	slices.Sort(values)
	slices.Sort(registers)
	return values, registers
}

// percentile of sorted numbers; 0 of none.
func percentile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)-1)*percent/100].Round(time.Millisecond)
}
