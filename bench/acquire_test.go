package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goburrow/modbus"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

func durations() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "x"}, []string{"case"})
}

// opened returns meters with a client of the first.
func opened(t *testing.T, clock ems.Clock, count int, layout layout, period time.Duration) ([]*meter, modbus.Client) {
	t.Helper()
	meters, err := openMeters(clock, count, layout, period)
	if err != nil {
		t.Fatal(err)
	}
	handler := modbus.NewTCPClientHandler(meters[0].address)
	handler.SlaveId, handler.Timeout = 1, 5*time.Second
	t.Cleanup(func() {
		_ = handler.Close()
		closeMeters(meters)
	})
	return meters, modbus.NewClient(handler)
}

func TestAMeterCountsWhatArrives(t *testing.T) {
	t.Parallel()
	clock := ems.NewManualClock(time.Unix(1_782_000_000, 0))
	meters, client := opened(t, clock, 2, layout{points: 6, mixed: true, changing: 2}, time.Second)
	began := clock.Now()
	read := func(first, registers uint16, want string) {
		t.Helper()
		got, err := client.ReadHoldingRegisters(first, registers)
		if err != nil || string(got) != want {
			t.Errorf("registers %d to %d are % x, %v", first, first+registers, got, err)
		}
	}
	// 16 bits, 32 bits, 64 bits, and so on: 0, 1.0, 2.0, 3, 4.0, 5.0; the first two registers have the number of the poll.
	read(0, 4, "\x00\x01\x00\x01\x00\x00\x40\x00")
	read(7, 5, "\x00\x03\x40\x80\x00\x00\x40\x14\x00\x00")
	clock.Advance(3 * time.Second)
	read(0, 1, "\x00\x02")
	if _, err := client.ReadHoldingRegisters(14, 1); err == nil {
		t.Error("a register that is not there was read")
	}
	if _, err := client.WriteSingleRegister(0, 1); err == nil {
		t.Error("a register was written")
	}
	// A refused request arrives too, and brings no registers. Two polls are missing between the two, and one since.
	want := count{registers: 10, requests: 5, polls: 3, missed: 3}
	if got := countAll(meters, clock.Now().Add(2*time.Second)); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := want.since(count{registers: 1, requests: 1, polls: 1, missed: 1}), (count{9, 4, 2, 2}); got != want {
		t.Errorf("since: %+v", got)
	}
	if diff := cmp.Diff([]time.Duration{0, 3 * time.Second, 0, 0}, takeGaps(meters)); diff != "" || len(takeGaps(meters)) != 0 {
		t.Errorf("gaps: %s", diff)
	}
	for number, want := range map[uint16]time.Time{1: began, 2: began.Add(3 * time.Second), 0: {}, 4: {}} {
		if at, known := meters[0].beganAt(number); !at.Equal(want) || known == want.IsZero() {
			t.Errorf("poll %d began at %v, %v", number, at, known)
		}
	}
}

func TestAMeterInTrouble(t *testing.T) {
	t.Parallel()
	meters, client := opened(t, ems.SystemClock{}, 3, layout{points: 2}, 0)
	bringTrouble(meters)
	if _, err := client.ReadHoldingRegisters(0, 1); err == nil {
		t.Error("where nobody listens something answered")
	}
	for n, least := range []time.Duration{1: 300 * time.Millisecond, 2: 1500 * time.Millisecond} {
		if n == 0 {
			continue
		}
		handler := modbus.NewTCPClientHandler(meters[n].address)
		handler.SlaveId, handler.Timeout = 1, least
		began := time.Now()
		if _, err := modbus.NewClient(handler).ReadHoldingRegisters(0, 1); err == nil || time.Since(began) < least {
			t.Errorf("meter %d after %v: %v", n, time.Since(began), err)
		}
		if got := countAll(meters[n:n+1], time.Now()); got != (count{requests: 1, polls: 1}) {
			t.Errorf("meter %d: %+v", n, got)
		}
		if err := handler.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTheFolderOfMeters(t *testing.T) {
	files := meterFiles("bench_x", []*meter{{channel: 7, address: "127.0.0.1:1502", layout: layout{points: 3, mixed: true, groups: 2}}}, 50*time.Millisecond)
	want := map[string]string{
		"site.yaml":              "site:\n  name: bench_x\n  namespace: bench_x\n",
		"channels.yaml":          "channels:\n  - {id: 7, name: meter_7, protocol: modbus_tcp, address: \"127.0.0.1:1502\", poll_period: 50ms, timeout: 50ms, poll_groups: {part_1: 50ms}}\n",
		"points/7/telemetry.csv": "point_id,signal_name,scale,offset,unit,reverse,data_type,poll_group\n1,value_1,1,0,,0,uint16,\n2,value_2,1,0,,0,float32,\n3,value_3,1,0,,0,float64,part_1\n",
		"points/7/telemetry_mapping.csv": "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n" +
			"1,1,3,0,uint16,AB,\n2,1,3,1,float32,ABCD,\n3,1,3,3,float64,ABCDEFGH,\n",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
}

func TestAnUpdateIsAsOldAsItsPoll(t *testing.T) {
	clock := ems.NewManualClock(time.Unix(1_782_000_000, 0))
	one := &meter{channel: 7, polls: 70000}
	one.began[70000%recentPolls] = clock.Now().Add(-3 * time.Millisecond)
	one.began[69937%recentPolls] = clock.Now().Add(-time.Second)
	by := newHearing(clock, []*meter{one})
	for _, event := range []rtdb.Event{
		{Kind: "update", Data: `{"channel":7,"type":"T","time":1,"values":["2","5.000000","1","4464.000000"],"quality":{}}`}, // 70000 in 16 bits
		{Kind: "update", Data: `{"channel":7,"type":"T","time":1,"values":["1","4401.000000"],"quality":{}}`},                // the oldest that is known
		{Kind: "update", Data: `{"channel":7,"type":"T","time":1,"values":["1","4400.000000"],"quality":{}}`},
		{Kind: "update", Data: `{"channel":7,"type":"T","time":1,"values":["1","4465.000000"],"quality":{}}`},
		{Kind: "update", Data: `{"channel":8,"type":"T","time":1,"values":["1","4464.000000"],"quality":{}}`},
		{Kind: "update", Data: `{"channel":7,"type":"T","time":1,"values":["2","4464.000000"],"quality":{}}`},
		{Kind: "alarm", Data: `{"channel":7,"values":["1","4464.000000"]}`},
		{Kind: "update", Data: `no JSON`},
	} {
		by.receive(event)
	}
	if diff := cmp.Diff([]time.Duration{3 * time.Millisecond, time.Second}, by.take()); diff != "" || len(by.take()) != 0 {
		t.Error(diff)
	}
}

func TestARecordingOfNothingIsNone(t *testing.T) {
	of := newRecording(cycleCase, 4, durations())
	expectFault(t, "nothing", of.add(count{polls: 3}, 0, time.Second, nil), "nothing was heard of 3 polls of 4 devices")
	if err := of.add(count{registers: 500, missed: 2}, 4, 2*time.Second, []time.Duration{1, 2, 3, 4}); err != nil {
		t.Fatal(err)
	}
	want := Result{
		Case: cycleCase, API: true, Polls: true, Connections: 4, Calls: 4, Missed: 2, P999: 4, Max: 4,
		Rounds: []Round{{Calls: 4, PerS: 2, Points: 250, P50: 2, P99: 4}},
	}
	if diff := cmp.Diff(want, of.result()); diff != "" {
		t.Error(diff)
	}
}

// What Redis does not know of a device, or otherwise, is found.
func TestWhatAMeterHasIsComparedWithRedis(t *testing.T) {
	t.Parallel()
	server := own(t)
	server.sizes, server.voltage = few(), voltage(t)
	meters, _ := opened(t, server.clock, 2, layout{points: 4, changing: 1}, 100*time.Millisecond)
	a, err := server.acquire(t.Context(), "x", meters, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.verifyAcquired(t.Context(), a, 2); err != nil {
		t.Error(err)
	}
	if use := readProcess(a.comsrv.process.PID()); use.known && (use.worked <= 0 || use.megabytes < 5 || use.megabytes > 500) {
		t.Errorf("%+v", use)
	}
	if err := a.comsrv.end(t.Context()); err != nil {
		t.Error(err)
	}
	if use := readProcess(a.comsrv.process.PID()); use.known {
		t.Errorf("it has ended: %+v", use)
	}
	// Nobody marks them: they turn stale in time.
	testkit.Eventually(t, verifiedWithin, func() error {
		if err := a.verify(t.Context(), 2); err == nil || !strings.Contains(err.Error(), "(stale) and the device has 3") {
			return errors.New("not so yet: " + fmt.Sprint(err))
		}
		return nil
	}, "values of before are stale")
	expectFault(t, "nobody polls", server.hearRound(t.Context(), newHearing(server.clock, nil), meters, newRecording("x", 2, durations())), "nothing was heard of 0 polls")
}

func TestTheMemoryOfAProcess(t *testing.T) {
	if got := parseResident("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t  250000 kB\n"); got != 256 {
		t.Errorf("%v", got)
	}
	if got := parseResident("VmRSS:\n"); got != 0 {
		t.Errorf("%v of nothing", got)
	}
}

func TestWhatComsrvNeedsIsJudgedAndTold(t *testing.T) {
	result := Result{Case: thousandCase, API: true, Polls: true, Missed: 2, Cores: 0.25, Megabytes: 120}
	for text, want := range map[string]string{
		"thousand_1hz missed<1":   "2",
		"thousand_1hz cores<0.5":  "0.25",
		"thousand_1hz MB<300":     "120",
		"isolation cores<0.5":     "not measured",
		"thousand_1hz server<1ms": "not measured",
	} {
		threshold, err := ParseThreshold(text)
		if err != nil {
			t.Fatal(err)
		}
		verdict := judge(threshold, []Result{result, {Case: isolationCase, API: true, Polls: true}})
		if got := verdict.found(); got != want || verdict.Passed != (want == "0.25" || want == "120") {
			t.Errorf("%s: %s, %+v", text, got, verdict)
		}
	}
	var text strings.Builder
	if err := (&Report{Results: []Result{result}}).WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"\nthousand_1hz: 2 polls were due and did not come\n", "\nthousand_1hz: who reads kept 0.25 processors busy and had 120 MB of memory\n", "\ncalls of what reads devices are requests"} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("no %q in:\n%s", line, text.String())
		}
	}
}

// What is written for comsrv and for Telegraf names the devices, and what they are
// asked is told.
func TestDevicesAreServed(t *testing.T) {
	t.Parallel()
	dir, clock, said := t.TempDir(), ems.NewManualClock(time.Unix(1_782_000_000, 0)), &progress{}
	devices := Devices{
		Count: 2, Points: 12, Period: 100 * time.Millisecond, Site: filepath.Join(dir, "site"), Telegraf: filepath.Join(dir, "telegraf.conf"),
		Every: 2 * time.Second, Clock: clock, Out: said,
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeDevices(ctx, devices) }()
	clock.AwaitTimers(1)
	inputs, err := os.ReadFile(devices.Telegraf)
	if err != nil {
		t.Fatal(err)
	}
	addresses := regexp.MustCompile(`controller = "tcp://(\S+)"`).FindAllStringSubmatch(string(inputs), -1)
	if len(addresses) != 2 || !strings.Contains(string(inputs), "interval = \"100ms\"\n") ||
		strings.Count(string(inputs), "      {address=27, name=\"value_12\", type=\"FLOAT64\", scale=1.0},\n") != 0 ||
		strings.Count(string(inputs), "      {address=24, name=\"value_12\", type=\"FLOAT64\", scale=1.0},\n") != 2 {
		t.Errorf("the inputs are:\n%s", inputs)
	}
	channels, err := os.ReadFile(filepath.Join(devices.Site, "channels.yaml"))
	if err != nil || len(addresses) != 2 || !strings.Contains(string(channels), addresses[1][1]) {
		t.Fatalf("%v, the channels are:\n%s", err, channels)
	}
	handler := modbus.NewTCPClientHandler(addresses[1][1])
	handler.SlaveId, handler.Timeout = 1, 5*time.Second
	defer handler.Close()
	if _, err := modbus.NewClient(handler).ReadHoldingRegisters(0, 28); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !strings.HasSuffix(said.String(), "14 registers/s\n"); {
		if time.Now().After(deadline) {
			t.Fatalf("it said %q", said)
		}
		if said.String() == "" {
			clock.Advance(2 * time.Second)
			clock.AwaitTimers(1)
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, wrong := range []Devices{{Points: 12, Every: time.Second}, {Count: 1, Points: 10, Every: time.Second}, {Count: 1, Points: 28_001, Every: time.Second}, {Count: 1, Points: 12}} {
		if err := ServeDevices(t.Context(), wrong); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
}
