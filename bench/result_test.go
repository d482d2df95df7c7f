package bench

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestARelationIsTheMedianOfThoseOfTheRounds(t *testing.T) {
	us := time.Microsecond
	// The machine is slow in the first round for the base and in the last for the
	// other: the medians alone are 8 and 2, the multiples 1, 4 and 5.
	base := Result{Rounds: []Round{{Server: 10 * us}, {Server: 2 * us}, {Server: 2 * us}}}
	other := Result{Rounds: []Round{{Server: 10 * us}, {Server: 8 * us}, {Server: 10 * us}}}
	if got := other.multiple(&base, metricServer); got != 4 {
		t.Errorf("%v times as long", got)
	}
	if got := other.multiple(&Result{Rounds: make([]Round, 3)}, metricServer); got != 0 {
		t.Errorf("%v times nothing", got)
	}
	if got := other.multiple(&base, metricMax); got != 0 {
		t.Errorf("%v times a maximum of nothing", got)
	}
	// The differences are 0, 6 and 8.
	if got := other.difference(&base, metricServer); got != 6000 {
		t.Errorf("%v ns more", got)
	}
	if got := base.difference(&other, metricServer); got != -6000 {
		t.Errorf("%v ns less", got)
	}
	if got := (&Result{Max: 5 * us}).difference(&Result{Max: 7 * us}, metricMax); got != -2000 {
		t.Errorf("a maximum %v ns greater", got)
	}
	least, most := base.spread(metricServer)
	if least != 2000 || most != 10_000 {
		t.Errorf("from %v to %v ns", least, most)
	}
	if none := (&Result{}).value(metricP99); none != 0 {
		t.Errorf("no rounds have a p99 of %v", none)
	}
}

// reported is a run of two cases on a machine that is a quarter slower than the
// reference machine, and had other things to do.
func reported(t *testing.T) *Report {
	t.Helper()
	us := func(n float64) time.Duration { return time.Duration(n * 1000) }
	report := &Report{
		Started: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), Redis: "redis 7.0.15", Library: "library 1.0:abc",
		Processors: 2, Rounds: 2, Slice: 500 * time.Millisecond,
		Neighbours: Neighbours{Known: true, Others: 0.45, Stolen: 0.02},
		Results: []Result{
			{
				Case: "ping", Connections: 1, Calls: 30, P999: us(99), Max: us(1234),
				Rounds: []Round{{Calls: 10, PerS: 10_000, P50: us(20), P99: us(50)}, {Calls: 20, PerS: 20_000, P50: us(20), P99: us(50)}},
			},
			{
				Case: "native_hset_100", Connections: 1, Calls: 2, Rounds: []Round{
					{Calls: 1, PerS: 5000, Server: us(5), P50: us(60), P99: us(100)},
					{Calls: 1, PerS: 5000, Server: us(7), P50: us(60), P99: us(100)},
				},
			},
			{
				Case: "comsrv_ingest_100", Connections: 1, Calls: 7, P999: us(2000), Max: us(3000), Slowest: us(1500), Rounds: []Round{
					{Calls: 3, PerS: 2500, Server: us(140), P50: us(200), P99: us(75)},
					{Calls: 4, PerS: 2500, Server: us(150), P50: us(220), P99: us(75)},
				},
			},
			{
				Case: "poll_1000_changed_100", Connections: 8, Calls: 9, Missed: 0, Sampled: true, Rounds: []Round{
					{Calls: 4, PerS: 4000, Points: 4e6, Server: us(150), P50: us(2000), P99: us(4000)},
					{Calls: 5, PerS: 5000, Points: 5e6, Server: us(150), P50: us(2000), P99: us(4000)},
				},
			},
			{
				Case: "alarm_list_100", API: true, Connections: 1, Calls: 6, P999: us(5000), Max: us(6000), Rounds: []Round{
					{Calls: 6, PerS: 900, P50: us(1100), P99: us(2500)},
				},
			},
		},
	}
	for _, text := range []string{
		"comsrv_ingest_100 server<=120us", "comsrv_ingest_100 server<=100us", "comsrv_ingest_100 server<=150us",
		"comsrv_ingest_100 p99/ping<=2", "comsrv_ingest_100 server-native_hset_100<=120us", "poll_1000_changed_100 points>=5000000", "comsrv_ingest_100 slowest<=10ms", "rule_evaluate p99<1ms",
		"alarm_list_100 p99<=5ms", "alarm_list_100 server<=5ms", "alarm_list_100 slowest<=5ms",
	} {
		threshold, err := ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		report.judge([]Threshold{threshold})
	}
	return report
}

const table = `
redis 7.0.15, library 1.0:abc, hash-max-listpack-entries 64, 2 processors; 2 rounds of 500ms a case; each call is sent when the one before is answered

case (times in us)         conn   calls/s Mpoints/s    server       of rounds       p50       p99     p99.9       max   slowest  p99/ping
ping                          1     15000                0.00       0.00-0.00      20.0      50.0      99.0    1234.0   <1000.0      1.00
native_hset_100               1      5000                6.00       5.00-7.00      60.0     100.0      0.00      0.00   <1000.0      2.00
comsrv_ingest_100             1      2500               145.0     140.0-150.0     210.0      75.0    2000.0    3000.0    1500.0      1.50
poll_1000_changed_100         8      4500      4.50     150.0     150.0-150.0    2000.0    4000.0      0.00      0.00   <1000.0
alarm_list_100                1       900                                        1100.0    2500.0    5000.0    6000.0
server is the time in Redis of a call, and slowest the longest that one command took there; calls, points, server, p50, p99
and multiples are medians of the rounds; p99.9, max and slowest are of all calls; what goes through a service has no server time
poll_1000_changed_100: p99.9 is of a random sample of the calls

the machine was
  SLOWER than the reference machine: a native HSET of 100 fields takes 6.00 us of server time here (5.00 to 7.00 between rounds), 4.80 us there: machine factor 1.25
  BUSY, so that times are longer than on a quiet machine: other programs and the kernel kept 0.45 of 2 processors busy, and the hypervisor took 0.02

thresholds, and how far from them
  FAIL  comsrv_ingest_100 server<=120us                                    145.0 us    21 % above  116.0 us in the time of the reference machine: within the limit there
  FAIL  comsrv_ingest_100 server<=100us                                    145.0 us    45 % above  116.0 us in the time of the reference machine: above the limit there too
  pass  comsrv_ingest_100 server<=150us                                    145.0 us   3.3 % below  116.0 us in the time of the reference machine
  pass  comsrv_ingest_100 p99/ping<=2                                          1.50    25 % below
  FAIL  comsrv_ingest_100 server-native_hset_100<=120us                    139.0 us    16 % above  111.2 us in the time of the reference machine: within the limit there
  FAIL  poll_1000_changed_100 points>=5000000                             4500000/s    10 % below
  pass  comsrv_ingest_100 slowest<=10ms                                   1500.0 us    85 % below
  FAIL  rule_evaluate p99<1ms                                          not measured
  pass  alarm_list_100 p99<=5ms                                           2500.0 us    50 % below
  FAIL  alarm_list_100 server<=5ms                                     not measured
  FAIL  alarm_list_100 slowest<=5ms                                    not measured
`

func TestTheReportAsText(t *testing.T) {
	var text bytes.Buffer
	if err := reported(t).WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(table, "\n"), strings.Split(text.String(), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestTheReportOfACalmRunAtARate(t *testing.T) {
	report := &Report{Processors: 4, Rounds: 10, Slice: time.Second, Rate: 500, Neighbours: Neighbours{Known: true, Others: 0.02}}
	report.Results = []Result{{
		Case: hsetCase, Connections: 1, Calls: 5, Missed: 3, Rounds: []Round{{Server: 4800}},
	}}
	var text bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"500 calls/s due on one connection, times from when a call was due\n",
		"\nnative_hset_100: 3 calls were due and never sent, because the answers came too slowly; they count with the time they waited\n",
		"\n  as fast as the reference machine: a native HSET of 100 fields takes 4.80 us of server time here (4.80 to 4.80 between rounds), 4.80 us there: machine factor 1.00\n",
		"\n  quiet: other programs and the kernel kept 0.02 of 4 processors busy, and the hypervisor took 0.00\n",
		"\nthresholds, and how far from them\n  none\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in:\n%s", want, text.String())
		}
	}
}

func TestTheReportAsJSON(t *testing.T) {
	var data bytes.Buffer
	if err := reported(t).WriteJSON(&data); err != nil {
		t.Fatal(err)
	}
	var got reportJSON
	if err := json.Unmarshal(data.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(machineJSON{Processors: 2, Factor: 1.25, Known: true, Others: 0.45, Stolen: 0.02, Busy: true}, got.Machine); diff != "" {
		t.Error(diff)
	}
	want := resultJSON{
		Case: "comsrv_ingest_100", Connections: 1, Calls: 7, PerS: 2500, Server: 145, Servers: []float64{140, 150},
		P50: 210, P99: 75, P999: 2000, Max: 3000, Slowest: 1500,
	}
	if diff := cmp.Diff(want, got.Results[2]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(verdictJSON{Threshold: "comsrv_ingest_100 p99/ping<=2", Measured: true, Found: 1.5, Deviation: -0.25, Passed: true}, got.Thresholds[3]); diff != "" {
		t.Error(diff)
	}
	if one := got.Thresholds[0]; one.Found != 145 || one.Passed {
		t.Errorf("a time is written as %+v", one)
	}
	if len(got.Results) != 5 || !got.Results[4].API || len(got.Thresholds) != 11 || got.Slice != 0.5 || got.Rounds != 2 {
		t.Errorf("%+v", got)
	}
}
