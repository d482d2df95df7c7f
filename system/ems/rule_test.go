package ems_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestSourcesHaveThreeKinds(t *testing.T) {
	for text, want := range map[string]ems.Source{
		"comsrv:1001:T:1":        {Point: ems.PointRef{Channel: 1001, Type: ems.Telemetry, Point: 1}},
		"modsrv:battery_001:soc": {Kind: ems.ModelSource, Model: "battery_001", Name: "soc"},
		"custom:mode":            {Kind: ems.CustomSource, Name: "mode"},
	} {
		got, err := ems.ParseSource(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "custom", "custom:", "custom:a:b", "modsrv:a", "modsrv::b", "modsrv:a:b:c", "comsrv:1:T", "comsrv:0:T:1", "custom:a b"} {
		if _, err := ems.ParseSource(text); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzSource(f *testing.F) {
	for _, text := range []string{"comsrv:1001:T:1", "modsrv:a:b", "custom:x", "custom::", "modsrv:\x00:b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if source, err := ems.ParseSource(text); err == nil && source.String() != text {
			t.Errorf("%q is read as %q", text, source)
		}
	})
}

func TestDurations(t *testing.T) {
	for text, want := range map[ems.Duration]time.Duration{
		"": 0, "0s": 0, "250ms": 250 * time.Millisecond, "1m30s": 90 * time.Second, "1.5h": 90 * time.Minute, "24h": 24 * time.Hour, "1.0009s": time.Second,
	} {
		if got, err := text.Parse(ems.MaxRuleTime); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []ems.Duration{"10", "-1s", "25h", "1d", ".5s", " 1s", "1µs", "s"} {
		if _, err := text.Parse(ems.MaxRuleTime); ems.CodeOf(err) != ems.CodeInvalid || !strings.Contains(err.Error(), "from 0s to 24h") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOperandsAreNumbersOrLists(t *testing.T) {
	for text, want := range map[string]ems.Operand{
		"5": *ems.Number(5), "-1500": *ems.Number(-1500), "[1,2]": *ems.Numbers(1, 2), "[]": *ems.Numbers(),
		`"x"`: {Wrong: `"x"`}, "true": {Wrong: "true"}, `[1,"x"]`: {Wrong: "[1 x]"}, "[null]": {Wrong: "a list with nothing in it"}, "1e999": {Wrong: "1e999"}, "[1,-1e400]": {Wrong: "[1,-1e400]"}, "{}": {Wrong: "map[]"},
	} {
		var got ems.Operand
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v", text, got, err)
		}
		if back, err := json.Marshal(want); want.Wrong == "" && (err != nil || string(back) != text) {
			t.Errorf("%s: written %s, %v", text, back, err)
		}
	}
}

func TestSchedulesHaveWindows(t *testing.T) {
	day := func(month time.Month, day int) time.Time { return time.Date(2026, month, day, 0, 0, 0, 0, time.UTC) }
	for _, test := range []struct {
		name       string
		schedule   ems.Schedule
		from, till time.Time
		want       string
	}{
		{
			"working days", ems.Schedule{TimeZone: "Europe/Berlin", Days: []string{"fri", "mon"}, From: "08:00", To: "18:00"}, day(5, 1), day(5, 9),
			"05-01 06:00 to 05-01 16:00, 05-04 06:00 to 05-04 16:00, 05-08 06:00 to 05-08 16:00",
		},
		{
			"over midnight, begun before", ems.Schedule{From: "22:00", To: "06:00"}, day(5, 1).Add(time.Hour), day(5, 2),
			"04-30 22:00 to 05-01 06:00, 05-01 22:00 to 05-02 06:00",
		},
		{
			"a weekend is one window", ems.Schedule{TimeZone: "UTC", Days: []string{"sat", "sun"}}, day(5, 1), day(5, 12),
			"05-02 00:00 to 05-04 00:00, 05-09 00:00 to 05-11 00:00",
		},
		{"always is one window", ems.Schedule{}, day(5, 1).Add(time.Hour), day(6, 5), "05-01 00:00 to 06-05 00:00"},
		{
			"the clocks go forward", ems.Schedule{TimeZone: "Europe/Berlin", From: "00:00", To: "12:00"}, day(3, 28).Add(12 * time.Hour), day(3, 29).Add(12 * time.Hour),
			"03-28 23:00 to 03-29 10:00",
		},
		{
			"the clocks go back", ems.Schedule{TimeZone: "Europe/Berlin", From: "00:00", To: "24:00", Days: []string{"sun"}}, day(10, 25), day(10, 26),
			"10-24 22:00 to 10-25 23:00",
		},
	} {
		windows, err := test.schedule.Windows(test.from, test.till)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, window := range windows {
			got = append(got, fmt.Sprintf("%s to %s", window.From.UTC().Format("01-02 15:04"), window.Till.UTC().Format("01-02 15:04")))
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: %s, want %s", test.name, strings.Join(got, ", "), test.want)
		}
	}
	for path, schedule := range map[string]ems.Schedule{
		"time_zone": {TimeZone: "Local"}, "days[0]": {Days: []string{"Mon"}}, "from": {From: "24:00", To: "24:00"}, "to": {From: "08:00", To: "8:00"}, "": {From: "08:00"},
	} {
		faults := schedule.Faults()
		if len(faults) != 1 || ems.PathText(faults[0].Path) != path {
			t.Errorf("%+v: %v, want one at %q", schedule, faults, path)
		}
	}
}
