package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// seeded returns a server with the site of the bench and its cases by name.
func seeded(t *testing.T) (*server, map[string]workload) {
	t.Helper()
	server := own(t)
	if err := seed(t.Context(), server.db, ems.SystemClock{}); err != nil {
		t.Fatal(err)
	}
	cases := map[string]workload{}
	for _, one := range server.workloads(ems.SystemClock{}) {
		cases[one.name] = one
	}
	return server, cases
}

// Each case is called a few times and what it did is read from Redis: a call
// that does nothing, or the wrong thing, would measure well.
func TestEveryCaseDoesItsWork(t *testing.T) {
	t.Parallel()
	server, cases := seeded(t)
	ctx := t.Context()
	calls := 0
	for _, name := range Cases() {
		one, found := cases[name]
		if !found {
			t.Fatalf("no case %s", name)
		}
		before, err := server.commandUsage(ctx, one.command)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 5 {
			if err := one.call(ctx, n); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			calls++
		}
		after, err := server.commandUsage(ctx, one.command)
		if err != nil {
			t.Fatal(err)
		}
		if after.calls-before.calls != 5 {
			t.Errorf("%s: redis counts %d calls of %s for 5", name, after.calls-before.calls, one.command)
		}
		if one.verify != nil {
			if err := one.verify(ctx, 4); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// The seed, five and the proof's one of each of the two ingests went to history.
	if length := server.raw.XLen(ctx, "{bench}:hissrv:stream").Val(); length != 1+2*(5+1) {
		t.Errorf("%d entries of history", length)
	}
	if err := cases["comsrv_ingest_100"].settle(ctx); err != nil {
		t.Fatal(err)
	}
	if length := server.raw.XLen(ctx, "{bench}:hissrv:stream").Val(); length != 0 {
		t.Errorf("%d entries of history after clearing up", length)
	}
}

func TestIngestStoresTheValuesItSaysAndChangesAllOfThem(t *testing.T) {
	t.Parallel()
	server, cases := seeded(t)
	ctx := t.Context()
	if err := cases["comsrv_ingest_100"].call(ctx, 7); err != nil {
		t.Fatal(err)
	}
	first := server.raw.HGetAll(ctx, "{bench}:comsrv:1:T").Val()
	// 7 x 1009 + 2 x 7919 = 22901, in thousandths.
	if len(first) != 100 || first["3"] != "22.901000" {
		t.Fatalf("%d values, point 3 is %q", len(first), first["3"])
	}
	if err := cases["comsrv_ingest_100"].call(ctx, 8); err != nil {
		t.Fatal(err)
	}
	second := server.raw.HGetAll(ctx, "{bench}:comsrv:1:T").Val()
	for point, value := range first {
		if second[point] == value {
			t.Errorf("point %s stayed %s", point, value)
		}
	}
	if err := cases["comsrv_ingest_10"].call(ctx, 9); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for point, value := range server.raw.HGetAll(ctx, "{bench}:comsrv:1:T").Val() {
		if second[point] != value {
			changed++
		}
	}
	if changed != 10 {
		t.Errorf("%d points changed instead of 10", changed)
	}
}

// What verify is there for: each fault below makes calls fast and wrong.
func TestWorkThatWasNotDoneIsNotReported(t *testing.T) {
	t.Parallel()
	server, cases := seeded(t)
	ctx := t.Context()
	ingest := cases["comsrv_ingest_10"]
	if err := ingest.call(ctx, 0); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, err error, says string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	expect("the call after the last one", ingest.verify(ctx, 1), "after")
	server.raw.Del(ctx, "{bench}:hissrv:sources")
	expect("no mapping", ingest.verify(ctx, 0), "a batch made 0 entries of history instead of 1")
	server.raw.HSet(ctx, "{bench}:hissrv:counters", "dropped", 3)
	expect("a full stream", ingest.verify(ctx, 0), "refused 3 entries")
	server.raw.HSet(ctx, "{bench}:rulesrv:state:bench_rule_01", "fired", 1)
	expect("a rule that fired", cases["rule_evaluate"].verify(ctx, 0), "bench_rule_01 fired 1 times")
	if err := server.db.EnableRule(ctx, "bench_rule_02", false); err != nil {
		t.Fatal(err)
	}
	expect("a rule switched off", cases["rule_evaluate"].call(ctx, 1), "bench_rule_02 is disabled instead of idle")
	server.raw.HSet(ctx, "{bench}:comsrv:1:T:q", "5", "bad")
	expect("a bad value", cases["model_read_50"].call(ctx, 0), "value_005 as bad instead of good")
	if err := server.db.DeleteRule(ctx, "bench_rule_03"); err != nil {
		t.Fatal(err)
	}
	expect("a rule less", cases["rule_evaluate"].verify(ctx, 0), "19 rules")
}

func TestParseUsage(t *testing.T) {
	const info = "# Commandstats\r\ncmdstat_fcall:calls=3,usec=250,usec_per_call=83.33,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_fcall_ro:calls=9,usec=1,usec_per_call=0.11,rejected_calls=0,failed_calls=0\r\n"
	got, err := parseUsage(info, "fcall")
	if err != nil || got != (usage{calls: 3, spent: 250 * time.Microsecond}) {
		t.Errorf("%+v, %v", got, err)
	}
	if none, err := parseUsage(info, "ping"); err != nil || none != (usage{}) {
		t.Errorf("a command that was never called: %+v, %v", none, err)
	}
	if _, err := parseUsage("cmdstat_ping:calls=x,usec=1", "ping"); err == nil {
		t.Error("calls=x was taken for a number")
	}
	later := usage{calls: 5, spent: 450 * time.Microsecond}
	if each := later.since(got); each != 100*time.Microsecond {
		t.Errorf("two more calls in 200 us took %v each", each)
	}
	if each := got.since(got); each != 0 {
		t.Errorf("no calls took %v each", each)
	}
}
