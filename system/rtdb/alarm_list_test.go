package rtdb_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// raiseAt raises many alarms at once, each at a time of its own.
func (b *bench) raiseAt(t *testing.T, name string, times []time.Time) {
	t.Helper()
	pipeline := b.raw.Pipeline()
	for i, at := range times {
		pipeline.FCall(b.ctx, "alarm_store", []string{"new"}, fmt.Sprintf("%s:%d", name, i), "", "Info", "t", "", "", "", at.UnixMilli())
	}
	if _, err := pipeline.Exec(b.ctx); err != nil {
		t.Fatal(err)
	}
}

// ids returns the ids of one page and where the next one begins.
func (b *bench) ids(t *testing.T, filter rtdb.AlarmFilter) (ids []string, next string) {
	t.Helper()
	alarms, next, err := b.AlarmPage(b.ctx, filter)
	if err != nil {
		t.Fatal(err)
	}
	for _, alarm := range alarms {
		ids = append(ids, alarm.ID)
	}
	return ids, next
}

// A span of the past is found at once among however many that came since, and one
// call does it.
func TestASpanOfThePastIsListedAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	var times []time.Time
	for i := range 5_000 {
		times = append(times, start.Add(time.Duration(i)*time.Second))
	}
	b.raiseAt(t, "p", times)
	reply, err := b.raw.FCall(b.ctx, "alarm_list", []string{"all"}, "", 3, "", "", "", "", times[10].UnixMilli(), times[15].UnixMilli(), "", "").StringSlice()
	if err != nil || len(reply) != 1+3*22 {
		t.Fatalf("%d texts, %v", len(reply), err)
	}
	expect(t, "the first page", []string{reply[0], reply[1], reply[23], reply[45]}, []string{fmt.Sprintf("%d-13", times[12].UnixMilli()), "15", "14", "13"})
	filter := rtdb.AlarmFilter{From: times[10], To: times[15], After: reply[0], Count: 3}
	ids, next := b.ids(t, filter)
	expect(t, "the second page", ids, []string{"12", "11"})
	expect(t, "its end", next, "")
	filter.From, filter.After = start.Add(-time.Hour), fmt.Sprintf("%d-3", times[2].UnixMilli())
	ids, _ = b.ids(t, filter)
	expect(t, "from before the first", ids, []string{"2", "1"})
	filter.After = fmt.Sprintf("%d-9999", times[4000].UnixMilli())
	ids, _ = b.ids(t, filter)
	expect(t, "a cursor after the span", ids, []string{"15", "14", "13"})
	ids, next = b.ids(t, rtdb.AlarmFilter{From: times[4_998], State: "closed", Count: 3})
	expect(t, "with what else is asked for", fmt.Sprint(ids, next), "[]")
	for _, after := range []string{filter.After, "x", "5-", "-5", "5-0", "5-1234567890123456"} {
		if _, _, err := b.AlarmPage(b.ctx, rtdb.AlarmFilter{After: after, Count: 3}); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("the cursor %s without a span: %v", after, err)
		}
	}
}

// Times come late from some channels, many in one millisecond, and alarms go
// between two pages: the order stays, and each alarm is listed once.
func TestPagesOfASpanStayOrdered(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	var times []time.Time
	for i := range 120 {
		times = append(times, start.Add(time.Duration(i*7%5)*time.Millisecond)) // 24 in each of 5 milliseconds
	}
	b.raiseAt(t, "p", times)
	var want []string
	for millisecond := 3; millisecond >= 1; millisecond-- {
		for id := 120; id >= 1; id-- {
			if (id-1)*7%5 == millisecond {
				want = append(want, strconv.Itoa(id))
			}
		}
	}
	var got []string
	filter := rtdb.AlarmFilter{From: start.Add(time.Millisecond), To: start.Add(4 * time.Millisecond), Count: 7}
	for {
		ids, next := b.ids(t, filter)
		got = append(got, ids...)
		if next == "" {
			break
		}
		filter.After = next
		if len(got) == 7 { // the alarm at which the next page begins goes
			last := ids[len(ids)-1]
			if err := b.AcknowledgeAlarm(b.ctx, last, 1, "Ann"); err != nil {
				t.Fatal(err)
			}
			if err := b.ResolveAlarm(b.ctx, last, "Ann"); err != nil {
				t.Fatal(err)
			}
			if removed, err := b.CleanUpAlarms(b.ctx, time.Hour, 0); err != nil || removed != 1 {
				t.Fatal(removed, err)
			}
		}
	}
	expect(t, "all pages", got, want)
	if faults := recount(t, b); len(faults) > 0 {
		t.Error(slices.Compact(faults))
	}
	// Few that are open are found by that, and their pages go on by it.
	b.clock.Advance(time.Hour)
	b.raiseAbout(t, "late", ems.Critical)
	b.raiseAbout(t, "later", ems.Critical)
	filter = rtdb.AlarmFilter{From: start, State: "open", Level: ems.Critical, Count: 1}
	ids, next := b.ids(t, filter)
	expect(t, "one of few", ids[0]+" "+next, "122 122")
	filter.After = next
	ids, next = b.ids(t, filter)
	expect(t, "the other", ids[0]+" "+next, "121 ")
}
