package ems_test

import (
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
)

// The keys are a contract with every other reader of Redis: written out here,
// so that a change is seen.
func TestKeysOfASingleSiteAndOfANamedOne(t *testing.T) {
	single, err := ems.NewNamespace("")
	if err != nil {
		t.Fatal(err)
	}
	north, err := ems.NewNamespace("north")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		got  func(ems.Namespace) string
		want string
	}{
		{func(n ems.Namespace) string { return n.Values(1001, ems.Telemetry) }, "comsrv:1001:T"},
		{func(n ems.Namespace) string { return n.Times(1001, ems.Signal) }, "comsrv:1001:S:ts"},
		{func(n ems.Namespace) string { return n.Qualities(7, ems.Control) }, "comsrv:7:C:q"},
		{func(n ems.Namespace) string { return n.Status(1001) }, "comsrv:1001:status"},
		{func(n ems.Namespace) string { return n.Commands(1001) }, "comsrv:1001:commands"},
		{func(n ems.Namespace) string { return n.Results(1001) }, "comsrv:1001:commands:results"},
		{func(n ems.Namespace) string { return n.Updates(1001) }, "comsrv:updates:1001"},
		{ems.Namespace.UpdatesPattern, "comsrv:updates:*"},
		{ems.Namespace.AlarmsNew, "alarmsrv:new"},
		{ems.Namespace.AlarmsJournal, "alarmsrv:journal"},
		{ems.Namespace.Notifications, "alarmsrv:notifications"},
		{ems.Namespace.RulesTriggered, "rulesrv:triggered"},
		{ems.Namespace.Actions, "rulesrv:actions"},
		{ems.Namespace.NotificationsLost, "netsrv:lost"},
		{ems.Namespace.NotificationsDead, "netsrv:dead"},
		{ems.Namespace.HistoryStream, "hissrv:stream"},
		{ems.Namespace.HistoryDead, "hissrv:dead"},
	} {
		if got := test.got(single); got != test.want {
			t.Errorf("single site: got %q, want %q", got, test.want)
		}
		if got := test.got(north); got != "{north}:"+test.want {
			t.Errorf("named site: got %q, want %q", got, "{north}:"+test.want)
		}
	}
	if north.Site() != "north" || single.Site() != "" {
		t.Errorf("sites are %q and %q", north.Site(), single.Site())
	}
}

func TestIDsThatCouldNotBePartOfAKeyAreRefused(t *testing.T) {
	for _, id := range []string{"", "-a", ".a", "_a", "a:b", "a{b", "a}b", "a b", "a\nb", "a\x00", "ä", "a*", strings.Repeat("a", 65)} {
		if err := ems.CheckID("model id", id); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("CheckID(%q) = %v, want INVALID", id, err)
		}
	}
	for _, id := range []string{"a", "1", "model_001", "A.b-c_d", strings.Repeat("a", 64)} {
		if err := ems.CheckID("model id", id); err != nil {
			t.Errorf("CheckID(%q) = %v", id, err)
		}
	}
	if _, err := ems.NewNamespace("no:rth"); err == nil {
		t.Error("a namespace with a colon was accepted")
	}
}

func TestModelPointsResolve(t *testing.T) {
	for _, test := range []struct {
		text     ems.ModelPoint
		fallback ems.PointType
		want     string
	}{
		{"3", ems.Telemetry, "comsrv:7:T:3"},
		{"3", ems.Control, "comsrv:7:C:3"},
		{"S:4", ems.Telemetry, "comsrv:7:S:4"},
		{"A:1", ems.Control, "comsrv:7:A:1"},
	} {
		ref, err := test.text.Resolve(7, test.fallback)
		if err != nil || ref.String() != test.want {
			t.Errorf("%q resolves to %s, %v; want %s", test.text, ref, err, test.want)
		}
	}
	for _, text := range []ems.ModelPoint{"", "0", "X:1", "S:0", "S:", "-1", "S:1:2"} {
		if ref, err := text.Resolve(7, ems.Telemetry); err == nil {
			t.Errorf("%q resolves to %s", text, ref)
		}
	}
}

func TestTargets(t *testing.T) {
	want := map[ems.Target]int{
		ems.Comsrv: 6000, ems.Modsrv: 6001, ems.Alarmsrv: 6002, ems.Rulesrv: 6003,
		ems.Hissrv: 6004, ems.Apigateway: 6005, ems.Netsrv: 6006,
	}
	if len(ems.Targets) != len(want) {
		t.Fatalf("%d targets, want %d", len(ems.Targets), len(want))
	}
	for _, target := range ems.Targets {
		if target.Port() != want[target] {
			t.Errorf("%s is on port %d, want %d", target, target.Port(), want[target])
		}
		if parsed, err := ems.ParseTarget(string(target)); err != nil || parsed != target {
			t.Errorf("%s was read as %s, %v", target, parsed, err)
		}
	}
	if _, err := ems.ParseTarget("kitchen"); ems.CodeOf(err) != ems.CodeInvalid {
		t.Errorf("an unknown target gave %v", err)
	}
}
