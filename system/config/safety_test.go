package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

const guarded = "testdata/commands"

func float(number float64) *float64 { return &number }

func TestSafetyOfCommandsIsRead(t *testing.T) {
	t.Parallel()
	site, err := config.ReadSite(guarded, nil, protocols())
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]ems.Safety{
		"comsrv:1005:C:1": {SafeValue: float(0), SelectTimeout: 30 * time.Second},
		"comsrv:1005:A:3": {MaxStep: float(25), MaxRate: float(5), SafeValue: float(10)},
		"comsrv:1005:A:9": {},
	} {
		parsed, err := ems.ParsePointRef(ref)
		if err != nil {
			t.Fatal(err)
		}
		point, found := site.Point(parsed)
		if diff := cmp.Diff(want, point.Safety); !found || diff != "" {
			t.Errorf("%s: %v %s", ref, found, diff)
		}
	}
	want := []config.Interlock{{
		Point: "C:1", Value: float(1), Reason: "the busbar is earthed",
		Conditions: []ems.Condition{
			{Source: "comsrv:1005:S:1", Operator: "==", Value: ems.Number(0)},
			{Logic: ems.Any, Conditions: []ems.Condition{
				{Source: "comsrv:1006:T:1", Operator: "between", Value: ems.Numbers(49.5, 50.5)},
				{Source: "comsrv:1006:T:1", Minus: "comsrv:1005:T:1", Operator: "<", CompareTo: "comsrv:1006:T:2"},
			}},
		},
	}}
	if diff := cmp.Diff(want, site.Channels[0].Interlocks); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&config.Heartbeat{Point: "A:9", Period: time.Second, Values: "count"}, site.Channels[0].Heartbeat); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]float64{"A:3": 0, "C:1": 0}, site.Channels[0].SafeState); diff != "" {
		t.Error(diff)
	}
	lock := site.Channels[0].Interlocks[0]
	if !lock.Guards(ems.Control, 1, 1) || lock.Guards(ems.Control, 1, 0) || lock.Guards(ems.Adjustment, 1, 1) || lock.Guards(ems.Control, 11, 1) {
		t.Error("the interlock does not guard its point and value alone")
	}
}

func TestFaultsOfSafety(t *testing.T) {
	t.Parallel()
	const lock = ": channels[0].interlocks[0]."
	const adjustment, control = "points/1005/adjustment.csv", "points/1005/control.csv"
	for _, test := range []struct {
		name, file, old, new string
		want                 []string // all of them
	}{
		{"step 0", adjustment, ",100,25,", ",100,0,", []string{adjustment + ":2: max_step 0 is not above 0"}},
		{"step of a control", control, "safe_value", "max_step", []string{control + ":2: max_step only adjustments have one: a control is 0 or 1"}},
		{"rate below 0", adjustment, ",25,5,", ",25,-5,", []string{adjustment + ":2: max_rate -5 is not above 0"}},
		{"rate of a control", control, "safe_value", "max_rate", []string{control + ":2: max_rate only adjustments have one: a control is 0 or 1"}},
		{"rate of what is read", "points/1005/signal.csv", "data_type\n1,earthed,,,,0,bool", "data_type,max_rate\n1,earthed,,,,0,bool,1", []string{
			"points/1005/signal.csv:2: max_rate only points that are written have one: controls and adjustments",
		}},
		{"safe out of range", adjustment, "5,10", "5,101", []string{adjustment + ":2: safe_value 101 is above the greatest value of export_limit, 100 kW"}},
		{"safe control", control, ",0,30s", ",2,30s", []string{control + ":2: safe_value 2 of a control is neither 0 nor 1"}},
		{"safe not a number", control, ",0,30s", ",off,30s", []string{control + `:2: safe_value "off" is not a finite number`}},
		{"short selection", control, "30s", "999ms", []string{control + `:2: select_timeout "999ms" is not a time from 1s to 10m0s, for example 30s`}},
		{"long selection", control, "30s", "601s", []string{control + `:2: select_timeout "601s" is not a time from 1s to 10m0s, for example 30s`}},
		{"selection", control, "30s", "yes", []string{control + `:2: select_timeout "yes" is not a time from 1s to 10m0s, for example 30s`}},
		{"safety of what is read", "points/1005/signal.csv", "data_type\n1,earthed,,,,0,bool", "data_type,safe_value\n1,earthed,,,,0,bool,1", []string{
			"points/1005/signal.csv:2: safe_value only points that are written have one: controls and adjustments",
		}},
		{"no such point", "channels.yaml", "C:1", "C:2", []string{"channels.yaml:6" + lock + "point: channel 1005 has no point C:2"}},
		{"not written", "channels.yaml", "C:1", "S:1", []string{"channels.yaml:6" + lock + `point: "S:1" is not a control or an adjustment of this channel: write for example C:1 or A:3`}},
		{"whole source", "channels.yaml", "C:1", "comsrv:1005:C:1", []string{"channels.yaml:6" + lock + `point: "comsrv:1005:C:1" is not a control or an adjustment of this channel: write for example C:1 or A:3`}},
		{"value", "channels.yaml", "value: 1\n", "value: .inf\n", []string{"channels.yaml:7" + lock + "value: +Inf is not a finite number"}},
		{"unknown key", "channels.yaml", "reason:", "because:", []string{`channels.yaml:14: unknown key "because": check its spelling and indentation`}},
		{"long reason", "channels.yaml", "the busbar", strings.Repeat("x", 190), []string{"channels.yaml:14" + lock + "reason: 201 bytes are more than the 200 that fit"}},
		{"logic", "channels.yaml", "logic: OR", "logic: XOR", []string{`channels.yaml:13` + lock + `conditions[1].logic: unknown logic "XOR": use AND, OR or NOT`}},
		{"operator", "channels.yaml", `"=="`, `"="`, []string{"channels.yaml:9" + lock + `conditions[0].operator: unknown operator "=": use one of >, >=, <, <=, ==, !=, between, in, changed, rising, falling`}},
		{"edge", "channels.yaml", `"==", value: 0`, "rising", []string{"channels.yaml:9" + lock + "conditions[0].operator: an interlock looks at values as they stand: rising asks for the value before"}},
		{"function", "channels.yaml", `"==",`, `"==", function: mean, window: 5s,`, []string{"channels.yaml:9" + lock + "conditions[0].function: an interlock looks at values as they stand: mean asks for those before"}},
		{"no such source", "channels.yaml", "comsrv:1005:S:1", "comsrv:1005:S:2", []string{"channels.yaml:9" + lock + "conditions[0].source: there is no point comsrv:1005:S:2"}},
		{"no such minus", "channels.yaml", "minus: comsrv:1005", "minus: comsrv:1007", []string{"channels.yaml:12" + lock + "conditions[1].conditions[1].minus: there is no point comsrv:1007:T:1"}},
		{"heartbeat of nothing", "channels.yaml", "point: A:9", "point: A:8", []string{"channels.yaml:15: channels[0].heartbeat.point: channel 1005 has no point A:8"}},
		{"heartbeat that is read", "channels.yaml", "point: A:9", "point: S:1", []string{
			`channels.yaml:15: channels[0].heartbeat.point: "S:1" is not a control or an adjustment of this channel: write for example C:1 or A:3`,
		}},
		{"quick heartbeat", "channels.yaml", "period: 1s", "period: 99ms", []string{"channels.yaml:15: channels[0].heartbeat.period: 99ms is not between 100ms and 1m0s"}},
		{"slow heartbeat", "channels.yaml", "period: 1s", "period: 61s", []string{"channels.yaml:15: channels[0].heartbeat.period: 1m1s is not between 100ms and 1m0s"}},
		{"beat", "channels.yaml", "count", "sine", []string{`channels.yaml:15: channels[0].heartbeat.values: unknown values "sine": use toggle or count`}},
		{"counting control", "channels.yaml", "point: A:9", "point: C:1", []string{
			"channels.yaml:15: channels[0].heartbeat.values: a control is 0 or 1: use toggle", "channels.yaml:16: channels[0].safe_state.C:1: this is the heartbeat, which ends by itself",
		}},
		{"safe state of nothing", "channels.yaml", "A:3: 0", "A:4: 0", []string{"channels.yaml:16: channels[0].safe_state.A:4: channel 1005 has no point A:4"}},
		{"safe state out of range", "channels.yaml", "A:3: 0", "A:3: 101", []string{"channels.yaml:16: channels[0].safe_state.A:3: 101 is above the greatest value of export_limit, 100 kW"}},
		{"safe state not finite", "channels.yaml", "A:3: 0", "A:3: .nan", []string{"channels.yaml:16: channels[0].safe_state.A:3: NaN is not a finite number"}},
		{"safe state of a control", "channels.yaml", "C:1: 0", "C:1: 2", []string{"channels.yaml:16: channels[0].safe_state.C:1: 2 of a control is neither 0 nor 1"}},
		{"a model", "channels.yaml", "comsrv:1005:S:1", "modsrv:grid:earthed", []string{"channels.yaml:9" + lock + `conditions[0].source: an interlock looks at points alone: unknown source "modsrv:grid:earthed": ` +
			"write it as comsrv:{channel}:{T|S|C|A}:{point}, for example comsrv:1001:T:1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			want := test.want[0]
			if len(test.want) > 1 {
				want = fmt.Sprintf("%d faults:\n  %s", len(test.want), strings.Join(test.want, "\n  "))
			}
			if got := spoilt(t, guarded, test.file, test.old, test.new); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestATypeHoldsWhatIsWritten: no limit and no safe value is one that a write would
// refuse.
func TestATypeHoldsWhatIsWritten(t *testing.T) {
	t.Parallel()
	head := pointHead[:len(pointHead)-1] + ",min,max,safe_value\n"
	for name, test := range map[string]struct {
		points, mapping, safe string
		want                  []string
	}{
		"held": {
			"1,a,0.5,10,,0,,10,32777.5,10\n2,b,1,0,,0,,-128.4,127.4,\n3,c,1,0,,0,,-65519,65519,\n4,d,1,0,,0,,,9999,\n5,e,1,0,,0,,,1e300,\n",
			"1,1,6,0,uint16,,\n2,1,6,1,int8,,0\n3,1,6,2,float16,,\n4,1,6,3,bcd16,,\n5,1,16,4,float64,,\n", "{A:1: 32777.5, A:4: 0, A:5: -1e300}", nil,
		},
		"not held": {
			"1,a,0.5,10,,0,,9.7,32778,\n2,b,1,0,,0,,,128,-129\n3,c,1,0,,0,,,65520,\n4,d,1,0,,0,,-1,,\n5,e,1,0,,0,,,1e39,\n",
			"1,1,6,0,uint16,,\n2,1,6,1,int8,,0\n3,1,6,2,float16,,\n4,1,6,3,bcd16,,\n5,1,16,4,float32,,\n", "{A:3: 66000, A:5: 1e38}", []string{
				"channels.yaml:2: channels[0].safe_state.A:3: 66000 is above the greatest value of c, 65520 ",
				"points/1/adjustment.csv:2: min 9.7 is raw value -0.6000000000000014, which uint16 does not hold",
				"points/1/adjustment.csv:2: max 32778 is raw value 65536, which uint16 does not hold",
				"points/1/adjustment.csv:3: max 128 is raw value 128, which int8 does not hold",
				"points/1/adjustment.csv:3: safe_value -129 is raw value -129, which int8 does not hold",
				"points/1/adjustment.csv:4: max 65520 is raw value 65520, which float16 does not hold",
				"points/1/adjustment.csv:5: min -1 is raw value -1, which bcd16 does not hold",
				"points/1/adjustment.csv:6: max 1e+39 is raw value 1e+39, which float32 does not hold",
			},
		},
		"a safe state": {"1,a,0.5,10,,0,,,,\n", "1,1,6,0,uint16,,\n", "{A:1: 9}", []string{
			"channels.yaml:2: channels[0].safe_state.A:1: 9 is raw value -2, which uint16 does not hold",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tables(t, ", safe_state: "+test.safe,
				map[string]string{"adjustment": head + test.points, "adjustment_mapping": mappingHead + test.mapping})
			if diff := cmp.Diff(test.want, details(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
