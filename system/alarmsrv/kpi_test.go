package alarmsrv_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/alarmsrv"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// Two hours whose figures are computed by hand: twelve periods of ten minutes.
func TestPerformanceIsWhatAHandComputes(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	raise := func(source string, level ems.AlarmLevel) string { return f.raise(source, level) }
	several := func(name string, count int, level ems.AlarmLevel) {
		for i := range count {
			raise(fmt.Sprintf("%s:%d", name, i), level)
		}
	}
	old := raise("old", ems.Info)       // before the span, and standing for long
	broken := raise("broken", ems.Info) // as old, but not without a break
	f.clock.Advance(24 * time.Hour)
	f.do(broken, "resolve", `{"by":"ann"}`)
	raise("broken", ems.Info)
	f.clock.Advance(time.Hour)
	from := f.clock.Now()
	several("flood", 11, ems.Minor) // period 0: one more than the limit, a flood begins
	f.clock.Advance(10 * time.Minute)
	several("surge", 6, ems.Minor) // period 1: not more than the limit, and not fewer than half of it
	f.clock.Advance(10 * time.Minute)
	several("wane", 5, ems.Minor) // period 2: as many as half of it, the flood goes on
	f.clock.Advance(10 * time.Minute)
	for range 4 { // period 3: fewer than half; one alarm comes and goes, is acknowledged and comes anew
		f.closeAlarm(raise("door", ems.Warning))
		f.clock.Advance(10 * time.Second)
	}
	f.clock.Advance(70*time.Minute - 40*time.Second)
	several("late", 5, ems.Critical) // period 10, and one more of period 3 returns unseen
	id := raise("door", ems.Warning)
	f.do(id, "resolve", `{"by":"ann"}`)
	raise("door", ems.Warning)
	if status, text := f.Ask(http.MethodPost, "/api/alarms/suppressions", `{"scope":"source","value":"pv","by":"ann","reason":"x"}`, nil); status != http.StatusCreated {
		t.Fatal(text)
	}
	raise("pv:1", ems.Major) // nobody is told
	f.do(id, "shelve", `{"by":"ann","reason":"x","for":"1h"}`)
	f.do(id, "resolve", `{"by":"ann"}`)
	raise("door", ems.Warning) // returns, and nobody is told
	f.pass(20 * time.Minute)
	raise("after", ems.Major) // at the end of the span, which is not in it
	for range 2 {             // chatters now
		f.do(raise("bell", ems.Info), "resolve", `{"by":"ann"}`)
	}
	raise("bell", ems.Info)

	var got alarmsrv.Performance
	query := "?from=" + from.Format(time.RFC3339Nano) + "&to=" + from.Add(2*time.Hour).Format(time.RFC3339Nano)
	if status, text := f.Ask(http.MethodGet, "/api/alarms/kpi"+query, "", &got); status != http.StatusOK {
		t.Fatal(text)
	}
	// Told: 11 + 6 + 5 + 4 + 5 + 1 raised + 1 returned = 33. Standing are old, broken,
	// 11 + 6 + 5, 5 late ones, after and bell, but not door and pv:1.
	share := func(alarms int64) alarmsrv.Share {
		return alarmsrv.Share{Alarms: alarms, Percent: 100 * float64(alarms) / 33}
	}
	oldest := begin
	want := alarmsrv.Performance{
		From: from, To: from.Add(2 * time.Hour), JournalFrom: &oldest, Complete: true, Alarms: 33, Withheld: 2,
		Operators: 1, AveragePer10Min: 33.0 / 12, AveragePer10MinPerOperator: 33.0 / 12, PeakPer10Min: 11, PeakAt: &from,
		OverLimitPercent: 100.0 / 12, FloodPercent: 100 * 3.0 / 12, FloodLimit: 10, ChatteringAlarms: 1, ChatteringNow: 1,
		Standing: 31, Stale: 1, Shelved: 1, Suppressed: 1, TopTenPercent: 100 * 15.0 / 33,
		ByLevel: map[ems.AlarmLevel]alarmsrv.Share{
			ems.Critical: share(5), ems.Major: share(0), ems.Minor: share(22), ems.Warning: share(6), ems.Info: share(0),
		},
		TopTen: []alarmsrv.Frequent{{Source: "door", Title: "test", Alarms: 6, Percent: 100 * 6.0 / 33}},
	}
	for _, source := range []string{"flood:0", "flood:1", "flood:10", "flood:2", "flood:3", "flood:4", "flood:5", "flood:6", "flood:7"} {
		want.TopTen = append(want.TopTen, alarmsrv.Frequent{Source: source, Title: "test", Alarms: 1, Percent: 100.0 / 33})
	}
	servicetest.Same(t, got, want)
	f.Ask(http.MethodGet, "/api/alarms/kpi"+query+"&operators=4", "", &got)
	servicetest.Same(t, []float64{float64(got.Operators), got.AveragePer10Min, got.AveragePer10MinPerOperator}, []float64{4, 33.0 / 12, 33.0 / 48})
	// A span that ends in the middle of a period of the flood.
	f.Ask(http.MethodGet, "/api/alarms/kpi?from="+from.Add(-20*time.Minute).Format(time.RFC3339Nano)+"&to="+from.Add(5*time.Minute).Format(time.RFC3339Nano), "", &got)
	servicetest.Same(t, []float64{got.AveragePer10Min, got.OverLimitPercent, got.FloodPercent}, []float64{11 / 2.5, 100.0 / 3, 100.0 / 5})
	for query, message := range map[string]string{
		"?from=x": "from", "?to=y": "to", "?from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z": "744h0m0s are allowed",
		"?from=2026-01-01T00:00:00Z&to=2026-01-01T00:01:00Z": "is 1m0s", "?operators=0": "from 1 to 100",
	} {
		f.Refused(http.MethodGet, "/api/alarms/kpi"+query, "", http.StatusBadRequest, ems.CodeInvalid, message)
	}
	servicetest.Same(t, f.ids("?source=old"), []string{old})
}

// That an alarm is worse is told like a new one, at its new level.
func TestPerformanceCountsAlarmsThatWorsen(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	from := f.clock.Now()
	f.raise("pump", ems.Info)
	f.raise("pump", ems.Critical)
	f.do(f.raise("fan", ems.Info), "shelve", `{"by":"ann","reason":"x","for":"1h"}`)
	f.raise("fan", ems.Major)
	var got alarmsrv.Performance
	query := "?from=" + from.Format(time.RFC3339Nano) + "&to=" + from.Add(time.Hour).Format(time.RFC3339Nano)
	if status, text := f.Ask(http.MethodGet, "/api/alarms/kpi"+query, "", &got); status != http.StatusOK {
		t.Fatal(text)
	}
	servicetest.Same(t, []int64{got.Alarms, got.Withheld, got.ByLevel[ems.Info].Alarms, got.ByLevel[ems.Critical].Alarms}, []int64{3, 1, 2, 1})
}

func TestPerformanceSaysWhenTheJournalBeginsLater(t *testing.T) {
	t.Parallel()
	f := start(t, ample, func(s *ems.AlarmSettings) { s.JournalLimit = 1000 })
	f.clock.AwaitTimers(waiting)
	f.fill("early", 700)
	f.clock.Advance(time.Hour)
	f.fill("late", 800)
	ask := func(back time.Duration) (got alarmsrv.Performance) {
		now := f.clock.Now().Add(time.Second)
		query := "?from=" + now.Add(-back).Format(time.RFC3339Nano) + "&to=" + now.Format(time.RFC3339Nano)
		f.Ask(http.MethodGet, "/api/alarms/kpi"+query, "", &got)
		return got
	}
	if whole := ask(2 * time.Hour); whole.Complete || whole.JournalFrom == nil || whole.Alarms >= 1500 || whole.Alarms < 1000 {
		t.Errorf("beyond the journal: %+v", whole)
	}
	if part := ask(30 * time.Minute); !part.Complete || part.Alarms != 800 {
		t.Errorf("within the journal: %v, %d alarms", part.Complete, part.Alarms)
	}
}

func TestAnExportIsSafeForSpreadsheets(t *testing.T) {
	t.Parallel()
	f := start(t, ample)
	body := `{"source":"pump","rule":"dry","level":"Minor","title":"=HYPERLINK(\"http://x\",\"y\")","description":"a, \"b\"\nc","value":-5,"worse":"low"}`
	if status, text := f.Ask(http.MethodPost, "/api/alarms", body, nil); status != http.StatusCreated {
		t.Fatal(text)
	}
	f.do("1", "shelve", `{"by":"+Ann","reason":"@home","for":"1h"}`)
	f.fill("x", 1200) // more than one page
	status, text := f.Ask(http.MethodGet, "/api/alarms/export.csv", "", nil)
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || status != http.StatusOK || len(rows) != 1202 {
		t.Fatalf("%d: %d rows, %v", status, len(rows), err)
	}
	_, text = f.Ask(http.MethodGet, "/api/alarms/export.csv?source=pump&level=Minor", "", nil)
	servicetest.Same(t, strings.Split(text, "\r\n"), []string{
		"id,source,rule,level,title,description,state,value,worst_value,occurrences,raised_at,last_at,cleared_at,acknowledged_at,acknowledged_by," +
			"shelved_until,shelved_by,shelved_reason,suppressed,chattering,escalated_from,comments",
		`1,pump,dry,Minor,"'=HYPERLINK(""http://x"",""y"")","a, ""b""`,
		`c",active_unacknowledged,-5,-5,1,2026-03-01T12:00:00.678Z,2026-03-01T12:00:00.678Z,,,,2026-03-01T13:00:00.678Z,'+Ann,'@home,false,false,,0`,
		"",
	})
	f.Refused(http.MethodGet, "/api/alarms/export.csv?limit=1", "", http.StatusBadRequest, ems.CodeInvalid, "no pages")
}
