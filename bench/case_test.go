package bench

import (
	"slices"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
)

// seeded returns a server with the site of the bench and its cases by name.
func seeded(t *testing.T) (*server, map[string]workload) {
	t.Helper()
	server := own(t)
	server.sizes = few()
	if err := server.seed(t.Context(), ems.SystemClock{}); err != nil {
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
	names := Cases()[:len(cases)]
	if !slices.Equal(Cases()[len(cases):], slices.Concat(plantCases(), serviceCases(), servingCases(), acquisitionCases())) {
		t.Errorf("%d cases, %v are named", len(cases), Cases())
	}
	// How many commands five calls make on each connection.
	made := map[string]int64{"native_hset_100_pipelined": 50, "poll_1000_changed_1000": 25}
	for _, name := range names {
		one, found := cases[name]
		if !found {
			t.Fatalf("no case %s", name)
		}
		want := made[name]
		if want == 0 {
			want = 5
		}
		if one.prepare != nil {
			if err := one.prepare(ctx); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		before, err := server.commandUsage(ctx, one.commands)
		if err != nil {
			t.Fatal(err)
		}
		for lane := range one.lanes {
			for n := range 5 {
				if err := one.call(ctx, lane, n); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
		after, err := server.commandUsage(ctx, one.commands)
		if err != nil {
			t.Fatal(err)
		}
		if counted := after.calls - before.calls; counted != want*int64(one.lanes) || int64(one.perCall)*5 != want {
			t.Errorf("%s: redis counts %d of %v for %d times %d", name, counted, one.commands, one.lanes, want)
		}
		for lane := range one.lanes {
			if one.verify == nil {
				continue
			}
			if err := one.verify(ctx, lane, 4); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if err := cases["comsrv_ingest_100"].settle(ctx); err != nil {
		t.Fatal(err)
	}
	if length := server.raw.XLen(ctx, "{bench}:hissrv:stream").Val(); length != 0 {
		t.Errorf("%d entries of history after clearing up", length)
	}
}

func TestEachIngestIsOneEntryOfHistory(t *testing.T) {
	t.Parallel()
	server, cases := seeded(t)
	ctx := t.Context()
	entries := func(after func() error) int64 {
		t.Helper()
		if err := server.trimHistory(ctx); err != nil {
			t.Fatal(err)
		}
		if err := after(); err != nil {
			t.Fatal(err)
		}
		return server.raw.XLen(ctx, "{bench}:hissrv:stream").Val()
	}
	for name, want := range map[string]int64{
		"comsrv_ingest_100": 1, "comsrv_ingest_10": 1, "poll_1000_changed_100": 1, "poll_1000_changed_1000": 5, "poll_100_changed_10": 1,
	} {
		if made := entries(func() error { return cases[name].call(ctx, 0, 3) }); made != want {
			t.Errorf("%s made %d entries of history, want %d", name, made, want)
		}
	}
	beside := cases["ping_under_ingest"].beside
	if made := entries(func() error { return beside.call(ctx, 7, 0) }); made != 1 || beside.lanes != 8 {
		t.Errorf("a batch beside PING made %d entries over one of %d connections", made, beside.lanes)
	}
}

func TestIngestStoresTheValuesItSaysAndChangesAllOfThem(t *testing.T) {
	t.Parallel()
	server, cases := seeded(t)
	ctx := t.Context()
	if err := cases["comsrv_ingest_100"].call(ctx, 0, 7); err != nil {
		t.Fatal(err)
	}
	first := server.raw.HGetAll(ctx, "{bench}:comsrv:1:T").Val()
	// 7 x 1009 + 2 x 7919 = 22901, in thousandths.
	if len(first) != 100 || first["3"] != "22.901000" {
		t.Fatalf("%d values, point 3 is %q", len(first), first["3"])
	}
	if err := cases["comsrv_ingest_100"].call(ctx, 0, 8); err != nil {
		t.Fatal(err)
	}
	second := server.raw.HGetAll(ctx, "{bench}:comsrv:1:T").Val()
	for point, value := range first {
		if second[point] == value {
			t.Errorf("point %s stayed %s", point, value)
		}
	}
	if err := cases["comsrv_ingest_10"].call(ctx, 0, 9); err != nil {
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
	if err := ingest.call(ctx, 0, 0); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, err error, says string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	expect("the call after the last one", ingest.verify(ctx, 0, 1), "after")
	server.raw.Del(ctx, "{bench}:hissrv:sources")
	expect("no mapping", ingest.verify(ctx, 0, 0), "what was sent made 0 entries of history instead of 1")
	server.raw.HSet(ctx, "{bench}:hissrv:counters", "dropped", 3)
	expect("a full stream", ingest.verify(ctx, 0, 0), "refused 3 entries")
	server.raw.HSet(ctx, "{bench}:rulesrv:state:bench_rule_01", "fired", 1)
	expect("a rule that fired", cases["rule_evaluate"].verify(ctx, 0, 0), "bench_rule_01 fired 1 times")
	if err := server.db.EnableRule(ctx, "bench_rule_02", false, ""); err != nil {
		t.Fatal(err)
	}
	expect("a rule switched off", cases["rule_evaluate"].call(ctx, 0, 1), "bench_rule_02 is disabled instead of idle")
	server.raw.HSet(ctx, "{bench}:comsrv:1:T:q", "5", "bad")
	expect("a bad value", cases["model_read_50"].call(ctx, 0, 0), "value_005 as bad instead of good")
	if err := server.db.DeleteModel(ctx, modelID); err != nil {
		t.Fatal(err)
	}
	expect("no model", cases["reverse_lookup"].call(ctx, 0, 0), "the reverse lookup answered [] instead of {bench_model value_001}")
	if err := server.db.DeleteRule(ctx, "bench_rule_03", ""); err != nil {
		t.Fatal(err)
	}
	expect("a rule less", cases["rule_evaluate"].verify(ctx, 0, 0), "19 rules")
}
