package bench

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// prepared returns a server and its cases, of which some are ready to be called.
func prepared(t *testing.T, names ...string) (*server, map[string]workload) {
	t.Helper()
	server, cases := seeded(t)
	for _, name := range names {
		if err := cases[name].prepare(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	return server, cases
}

// expectFault checks what an error says.
func expectFault(t *testing.T, what string, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: %v", what, err)
	}
}

func TestTheSitesOfTheRulesDifferInTheirRulesAlone(t *testing.T) {
	t.Parallel()
	names := []string{"ingest_10_no_rules", "ingest_10_rules_bound", "ingest_10_rules_elsewhere"}
	server, cases := prepared(t, names...)
	ctx := t.Context()
	sites := []*site{server.plain, server.bound, server.large}
	values := func(on *site) map[string]string {
		t.Helper()
		return server.raw.HGetAll(ctx, on.db.Namespace().Values(wideChannel, ems.Telemetry)).Val()
	}
	before := values(server.plain)
	for i, want := range []int64{0, 1000, 1200} {
		if err := cases[names[i]].call(ctx, 0, 7); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(values(server.plain), values(sites[i])); diff != "" {
			t.Errorf("%s stores other values: %s", names[i], diff)
		}
		if found := server.raw.ZCard(ctx, sites[i].db.Namespace().Of("rulesrv:rules")).Val(); found != want {
			t.Errorf("%s: %d rules instead of %d", names[i], found, want)
		}
	}
	var changed []string
	for point, value := range values(server.plain) {
		if before[point] != value {
			changed = append(changed, point)
		}
	}
	if len(before) != 1000 || len(changed) != 10 || before["71"] == values(server.plain)["71"] {
		t.Errorf("%v of %d points changed with the seventh batch", changed, len(before))
	}
	bound := server.raw.HGetAll(ctx, "{bench_bound}:rulesrv:index:1:T").Val()
	if len(bound) != 1000 || bound["1"] != "bound_0000 bound_0500" {
		t.Errorf("%d points are watched, the first by %s", len(bound), bound["1"])
	}
	if loose := server.raw.Exists(ctx, "{bench_large}:rulesrv:index:1:T").Val(); loose != 0 {
		t.Error("a loose rule watches the channel of the batches")
	}
	if loose := server.raw.HGetAll(ctx, "{bench_large}:rulesrv:index:1012:T").Val(); len(loose) != 200 || loose["200"] != "loose_011_099" {
		t.Errorf("%d points of the last channel are watched, the last by %s", len(loose), loose["200"])
	}
}

// Each fault below would make the rules cheap, or be measured in place of them.
func TestRulesThatWereNotLookedAtAreNotReported(t *testing.T) {
	t.Parallel()
	server, cases := prepared(t, "ingest_10_no_rules", "ingest_10_rules_bound", "ingest_10_rules_elsewhere")
	ctx := t.Context()
	verify := func(name string) error {
		t.Helper()
		if err := cases[name].call(ctx, 0, 3); err != nil {
			t.Fatal(err)
		}
		return cases[name].verify(ctx, 0, 3)
	}
	for range 2 { // what was proved once is no fault later
		if err := verify("ingest_10_rules_bound"); err != nil {
			t.Fatal(err)
		}
	}
	if fired := server.bound.fired; !cmp.Equal(fired, map[string]int64{"bound_0030": 2, "bound_0530": 2}) {
		t.Errorf("the proof let fire %v", fired)
	}
	if err := server.bound.db.EnableRule(ctx, "bound_0530", false, ""); err != nil {
		t.Fatal(err)
	}
	expectFault(t, "a rule switched off", server.proveBound(ctx, 30), "rule bound_0530 is disabled instead of active after point 31 became 2e+06")
	expectFault(t, "a rule switched off", verify("ingest_10_rules_bound"), "rule bound_0030 fired 3 times and is idle")
	if err := server.large.db.DeleteRule(ctx, "loose_003_000", ""); err != nil {
		t.Fatal(err)
	}
	expectFault(t, "a rule less", verify("ingest_10_rules_elsewhere"), "1199 rules of the site bench_large instead of 1200")
	if err := server.plain.db.UpsertRule(ctx, neverFires("stray", wideBlock(), 0, 1)); err != nil {
		t.Fatal(err)
	}
	expectFault(t, "a rule too many", verify("ingest_10_no_rules"), "1 rules of the site bench_plain instead of 0")
	refused := server.plain.seedRules(ctx, []ems.Rule{{ID: "empty"}})
	expectFault(t, "a rule without conditions", refused, "rule empty: ")
}

func TestABatchOfRulesIsEvaluatedByTheLibraryAndByTheScript(t *testing.T) {
	t.Parallel()
	server, cases := prepared(t, "rule_batch_1000", "decoding_batch_1000")
	ctx := t.Context()
	idle := make([]ems.RuleStatus, boundRules)
	for i := range idle {
		idle[i] = ems.RuleIdle
	}
	for _, name := range []string{"rule_batch_1000", "decoding_batch_1000"} {
		for range 2 {
			if err := cases[name].verify(ctx, 0, 41); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		server.raw.HSet(ctx, "{bench_bound}:comsrv:1:T", "42", "1000000.000000") // >= holds of one rule, > not of the other
		expectFault(t, name, cases[name].call(ctx, 0, 0), "rule bound_0541 is active instead of idle")
		server.raw.HSet(ctx, "{bench_bound}:comsrv:1:T", "42", "1.000000")
		if err := cases[name].call(ctx, 0, 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	blind := func(context.Context) ([]ems.RuleStatus, error) { return idle, nil }
	expectFault(t, "no evaluation", server.proveBatch(ctx, 41, blind), "rule bound_0041 is idle instead of active")
	expectFault(t, "a rule less", allIdle(idle[1:], nil), "999 rules were evaluated instead of 1000")
	if value := server.raw.HGet(ctx, "{bench_bound}:comsrv:1:T", "42").Val(); value != "2000000.000000" {
		t.Errorf("point 42 is %s where the proof ended", value)
	}
}

func TestTheScriptJoinsConditionsAsTheRuleSays(t *testing.T) {
	t.Parallel()
	server, cases := prepared(t, "decoding_batch_1000")
	ctx := t.Context()
	both := neverFires(boundID(41), wideBlock(), 41, 541)
	both.Logic = ems.All
	if err := server.storeForDecoding(ctx, []ems.Rule{both}); err != nil {
		t.Fatal(err)
	}
	server.raw.HSet(ctx, "{bench_bound}:comsrv:1:T", "42", "2000000.000000", "542", "1.000000")
	expectFault(t, "OR", cases["decoding_batch_1000"].call(ctx, 0, 0), "rule bound_0541 is active instead of idle") // AND is not
	server.raw.HSet(ctx, "{bench_bound}:comsrv:1:T", "542", "2000000.000000")
	expectFault(t, "AND", cases["decoding_batch_1000"].call(ctx, 0, 0), "rule bound_0041 is active instead of idle")
}

func TestAlarmsAreNewAndOfOneRound(t *testing.T) {
	t.Parallel()
	server, cases := prepared(t, "alarm_store")
	ctx := t.Context()
	one := cases["alarm_store"]
	for n := range 3 {
		if err := one.call(ctx, 0, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := one.verify(ctx, 0, 2); err != nil {
		t.Fatal(err)
	}
	list, err := server.raised.db.Alarms(ctx, rtdb.AlarmFilter{Count: 10})
	if err != nil || len(list) != 3 || list[0].Rule != "raised_2" || list[2].Source != "comsrv:1:T:1" || list[1].Level != ems.Major || *list[0].Value != 81.5 {
		t.Errorf("%+v, %v", list, err)
	}
	if told := server.raw.XLen(ctx, "{bench_raised}:alarmsrv:notifications").Val(); told != 3 {
		t.Errorf("%d alarms were told", told)
	}
	if err := one.settle(ctx); err != nil || server.raw.XLen(ctx, "{bench_raised}:alarmsrv:notifications").Val() != 0 {
		t.Errorf("notifications are left, %v", err)
	}
	expectFault(t, "another alarm", one.verify(ctx, 0, 1), "after raised_1 was raised about comsrv:1:T:2")
	if err := one.call(ctx, 0, 2); err != nil {
		t.Fatal(err)
	}
	expectFault(t, "the same alarm again", one.verify(ctx, 0, 2), "3 alarms are open after 4 were raised")

	// A round ends without alarms, and the next one counts from there.
	alone := newTrial(one, Options{Clock: ems.SystemClock{}}, nil)
	if err := one.reset(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := server.round(ctx, alone, 5*time.Millisecond, 0); err != nil {
			t.Fatal(err)
		}
	}
	if keys, err := server.raised.keys(ctx); err != nil || len(keys) != 3 || server.raw.Exists(ctx, "{bench_raised}:bench:marker").Val() != 1 {
		t.Errorf("after two rounds there are %v, %v", keys, err) // the marker, and the settings with their version
	}
	if err := server.raised.db.ConfigureAlarms(ctx, ems.DefaultAlarmSettings()); err != nil {
		t.Fatal(err)
	}
	for n := range 11 {
		if err := one.call(ctx, 0, n); err != nil {
			t.Fatal(err)
		}
	}
	expectFault(t, "a flood", one.verify(ctx, 0, 10), "11 of 11 alarms were told at once")
}
