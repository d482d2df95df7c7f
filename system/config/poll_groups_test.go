package config_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

const groupedHead = "point_id,signal_name,scale,offset,unit,reverse,data_type,poll_group\n"

// TestPollGroupsAreRead: a point is read as often as its group, and what is to fit
// into a period fits into the shortest one.
func TestPollGroupsAreRead(t *testing.T) {
	t.Parallel()
	site, err := tables(t, ", poll_groups: {fast: 100ms, slow: 1m}, modbus: {retries: 1}", map[string]string{
		"telemetry": groupedHead + "1,a,1,0,,0,,fast\n2,b,1,0,,0,,\n3,c,1,0,,0,,default\n",
		"telemetry_mapping": mappingHead +
			"1,1,3,0,int16,AB,\n2,1,3,1,int16,AB,\n3,1,3,2,int16,AB,\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	channel := &site.Channels[0]
	if diff := cmp.Diff(config.PollGroups{"fast": 100 * time.Millisecond, "slow": time.Minute}, channel.PollGroups); diff != "" {
		t.Error(diff)
	}
	if channel.PollPeriod != time.Second || channel.Timeout != 50*time.Millisecond || channel.ShortestPeriod() != 100*time.Millisecond {
		t.Errorf("a period of %v, a timeout of %v and a shortest period of %v", channel.PollPeriod, channel.Timeout, channel.ShortestPeriod())
	}
	for group, want := range map[string][2]time.Duration{
		"fast": {100 * time.Millisecond, 250 * time.Millisecond}, "slow": {time.Minute, 2*time.Minute + 50*time.Millisecond},
		ems.DefaultGroup: {time.Second, 2*time.Second + 50*time.Millisecond},
	} {
		if got := [2]time.Duration{channel.Period(group), channel.StaleAfter(group)}; got != want {
			t.Errorf("group %s has the period %v and is stale after %v, want %v", group, got[0], got[1], want)
		}
	}
	var groups []string
	for i := range channel.Points {
		groups = append(groups, channel.Points[i].Group)
	}
	if diff := cmp.Diff([]string{"fast", "default", "default"}, groups); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFaultOfPollGroupsIsTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		channel, table string
		want           []string
	}{
		"no such group": {", poll_groups: {slow: 1m}", groupedHead + "1,a,1,0,,0,,slow\n2,b,1,0,,0,,solw\n", []string{
			`points/1/telemetry.csv:3: poll_group channel 1 has no poll group "solw": give it a period under poll_groups of the channel, or use one of default, slow`,
		}},
		"a name that no key may hold": {"", groupedHead + "1,a,1,0,,0,,fast!\n2,b,1,0,,0,,\n", []string{
			`points/1/telemetry.csv:2: poll_group "fast!" has an unusable character '!': use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit`,
		}},
		"periods": {", poll_groups: {fast: 9ms, slow: 25h}", "", []string{
			"channels.yaml:2: channels[0].poll_groups.fast: 9ms is not between 10ms and 24h0m0s",
			"channels.yaml:2: channels[0].poll_groups.slow: 25h0m0s is not between 10ms and 24h0m0s",
		}},
		"names": {`, poll_groups: {default: 1s, "a b": 1s}`, "", []string{
			`channels.yaml:2: channels[0].poll_groups.a b: poll group "a b" has an unusable character ' ': use 1 to 64 letters, digits, '_', '-' or '.', beginning with a letter or digit`,
			"channels.yaml:2: channels[0].poll_groups.default: this is the group of points that name none: poll_period is its period",
		}},
		"many": {", poll_groups: {a: 1s, b: 1s, c: 1s, d: 1s, e: 1s, f: 1s, g: 1s, h: 1s, i: 1s}", "", []string{
			"channels.yaml:2: channels[0].poll_groups: 9 poll groups are more than the 8 that a channel may have",
		}},
		"a timeout beyond the shortest period": {", poll_groups: {fast: 100ms}, timeout: 200ms", "", []string{
			"channels.yaml:2: channels[0].timeout: 200ms is not between 1ms and the shortest poll period of 100ms",
		}},
		"retries beyond the shortest period": {", poll_groups: {fast: 100ms}, timeout: 60ms, modbus: {retries: 1}", "", []string{
			"channels.yaml:2: channels[0].modbus.retries: a read with 1 more after the first may take 120ms, which is longer than the shortest poll period of 100ms: " +
				"give fewer retries or a timeout of at most 50ms",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{}
			if test.table != "" {
				files["telemetry"], files["telemetry_mapping"] = test.table, mappingHead+"1,1,3,0,int16,AB,\n2,1,3,1,int16,AB,\n"
			}
			_, err := tables(t, test.channel, files)
			got := details(t, err)
			slices.Sort(got)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
