package comsrv

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func decode[T any](t *testing.T, reply envelope) T {
	t.Helper()
	var data T
	if err := json.Unmarshal(reply.Data, &data); err != nil {
		t.Fatalf("%v: %s", err, reply.Data)
	}
	return data
}

func TestChannelsOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	disabled := field(7, "192.0.2.1:502")
	disabled.Enabled, disabled.Description = false, "spare"
	p := newPlant(t, field(1, d.address, allKinds()...), disabled)
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitStatus(7, false, "the channel is disabled")
	p.eventually(func() error {
		_, reply := p.call(http.MethodGet, "/api/channels/1", "")
		if view := decode[channelView](t, reply); !view.Online || view.LastSuccess == nil || view.RoundTripMS <= 0 {
			return fmt.Errorf("%+v", view)
		}
		return nil
	}, "channel 1 online")
	status, reply := p.call(http.MethodGet, "/api/channels", "")
	views := decode[[]channelView](t, reply)
	if status != http.StatusOK || !reply.Success || len(views) != 2 {
		t.Fatalf("%d %s", status, reply.Data)
	}
	_, page := p.call(http.MethodGet, "/api/channels?limit=1", "")
	_, rest := p.call(http.MethodGet, "/api/channels?limit=5&after="+page.Next, "")
	if first, second := decode[[]channelView](t, page), decode[[]channelView](t, rest); len(first) != 1 || first[0].ID != 1 || page.Next != "1" ||
		len(second) != 1 || second[0].ID != 7 || rest.Next != "" {
		t.Errorf("pages: %+v, %q, %+v, %q", first, page.Next, second, rest.Next)
	}
	if age := time.Now().UnixMilli() - *views[0].LastSuccess; age < 0 || age > servicetest.Soon.Milliseconds() {
		t.Errorf("the last success is %d ms old", age)
	}
	if at := views[0].PollGroups[0].LastSuccess; at == nil || *at != *views[0].LastSuccess {
		t.Errorf("the only poll group succeeded at %v", at)
	}
	views[0].LastSuccess, views[0].RoundTripMS, views[0].PollGroups[0].LastSuccess = nil, 0, nil
	want := []channelView{
		{
			ID: 1, Name: "channel 1", Protocol: "modbus_tcp", Address: d.address, Enabled: true, Online: true,
			PollPeriodMS: 50, TimeoutMS: 10000, StaleAfterMS: 10100, Points: map[string]int{"T": 2, "S": 1, "C": 2, "A": 2},
			Origin:     "site",
			PollGroups: []groupView{{Name: "default", PeriodMS: 50, StaleAfterMS: 10100, Points: 7}},
		},
		{
			ID: 7, Name: "channel 7", Description: "spare", Protocol: "modbus_tcp", Address: "192.0.2.1:502",
			Reason: "the channel is disabled", PollPeriodMS: 50, TimeoutMS: 10000, Points: map[string]int{"T": 0, "S": 0, "C": 0, "A": 0},
			Origin:     "site",
			PollGroups: []groupView{{Name: "default", PeriodMS: 50, StaleAfterMS: 10100}},
		},
	}
	if diff := cmp.Diff(want, views); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(string(reply.Data), `"last_success":null`) {
		t.Error("a channel that never answered has a last success")
	}
}

func TestPointsOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.float(12, 12.5)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	status, reply := p.call(http.MethodGet, "/api/channels/1/points?type=A", "")
	points := decode[[]map[string]any](t, reply)
	if status != http.StatusOK || len(points) != 2 {
		t.Fatalf("%d %s", status, reply.Data)
	}
	if at, isNumber := points[1]["time"].(float64); !isNumber || time.Since(time.UnixMilli(int64(at))) > servicetest.Soon {
		t.Errorf("the time is %v", points[1]["time"])
	}
	delete(points[1], "time")
	want := map[string]any{"id": 2.0, "type": "A", "name": "setpoint", "unit": "kW", "value": 12.5, "raw": "12.5", "quality": "good",
		"registers": "41480000", "mapping": map[string]any{"unit": 1.0, "function": 16.0, "register_address": 12.0, "data_type": "float32", "byte_order": "ABCD"}}
	if diff := cmp.Diff(want, points[1]); diff != "" {
		t.Error(diff)
	}
	_, reply = p.call(http.MethodGet, "/api/channels/1/points", "")
	var names []string
	for _, point := range decode[[]pointView](t, reply) {
		names = append(names, point.Type.String()+":"+point.Name)
	}
	if diff := cmp.Diff([]string{"T:power", "T:temperature", "S:door_closed", "C:start", "C:remote", "A:limit", "A:setpoint"}, names); diff != "" {
		t.Error(diff)
	}
	// What is shown is what Redis holds.
	if err := p.Raw.HSet(t.Context(), "comsrv:1:A", "2", "77.000000").Err(); err != nil {
		t.Fatal(err)
	}
	_, reply = p.call(http.MethodGet, "/api/channels/1/points?type=A", "")
	if shown := decode[[]pointView](t, reply)[1]; shown.Value == nil || *shown.Value != 77 {
		t.Errorf("%+v", shown)
	}
}

// TestRawAndTextOverHTTP: an integer that a float64 holds only rounded shows all
// its digits, a text is shown and never told to Redis, and what is bad shows
// neither.
func TestRawAndTextOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() {
		d.holding[0], d.holding[3] = 0x8000, 1              // 2^63 + 1
		d.holding[10], d.holding[11] = 0x5369, 0x6d00       // "Sim"
		d.holding[20], d.inputs[0], d.inputs[1] = 250, 7, 9 // 25.0
	})
	name := mapped(ems.Telemetry, 2, "name", config.Mapping{Function: 3, Address: 10, DataType: config.String, Length: 3})
	missing := mapped(ems.Telemetry, 4, "missing", config.Mapping{Function: 4, Address: 0, DataType: config.Uint16, Sentinel: &config.Sentinel{Mask: 0xffff, Bits: 7}})
	small := mapped(ems.Telemetry, 3, "small", config.Mapping{Function: 3, Address: 20, DataType: config.Int16})
	small.Scale = 0.1
	p := newPlant(t, field(1, d.address,
		mapped(ems.Telemetry, 1, "energy", config.Mapping{Function: 3, Address: 0, DataType: config.Uint64}), name, small, missing))
	p.start()
	p.awaitStatus(1, true, "")
	read := func() []map[string]any {
		_, reply := p.call(http.MethodGet, "/api/channels/1/points", "")
		return decode[[]map[string]any](t, reply)
	}
	points := read()
	for i, point := range points {
		if at, isNumber := point["time"].(float64); i < 3 && (!isNumber || time.Since(time.UnixMilli(int64(at))) > servicetest.Soon) {
			t.Errorf("the time of %v is %v", point["name"], point["time"])
		}
		delete(point, "time")
		delete(point, "mapping")
	}
	want := []map[string]any{
		{"id": 1.0, "type": "T", "name": "energy", "unit": "", "value": 9223372036854775808.0, "raw": "9223372036854775809", "registers": "8000000000000001", "quality": "good"},
		{"id": 2.0, "type": "T", "name": "name", "unit": "", "value": nil, "text": "Sim", "registers": "53696d000000", "quality": "good"},
		{"id": 3.0, "type": "T", "name": "small", "unit": "", "value": 25.0, "raw": "250", "registers": "00fa", "quality": "good"},
		{"id": 4.0, "type": "T", "name": "missing", "unit": "", "value": nil, "registers": "0007", "quality": "bad", "reason": "the device says that it does not have this value"},
	}
	if diff := cmp.Diff(want, points); diff != "" {
		t.Error(diff)
	}
	p.awaitHash("comsrv:1:T", map[string]string{"1": "9223372036854775808.000000", "3": "25.000000"})
	p.awaitHash("comsrv:1:T:q", map[string]string{"4": "bad"})

	d.off()
	p.eventually(func() error {
		if shown := read()[1]; shown["quality"] != "bad" || shown["text"] != "Sim" || shown["reason"] == nil {
			return fmt.Errorf("%v", shown)
		}
		return nil
	}, "a text that cannot be read any more")
}

// TestATextIsStaleByItself when its group has not succeeded for too long.
func TestATextIsStaleByItself(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(100_000)
	point := mapped(ems.Telemetry, 1, "name", config.Mapping{Function: 3, DataType: config.String, Length: 1})
	for _, check := range []struct {
		last latest
		want ems.Quality
	}{
		{latest{quality: ems.Good, text: "a", at: now}, ems.Good},
		{latest{quality: ems.Good, text: "a", at: now.Add(-time.Millisecond)}, ems.Stale},
		{latest{quality: ems.Bad, text: "a", at: now.Add(-time.Millisecond)}, ems.Bad},
		{latest{}, ems.Bad},
	} {
		view := pointView{Quality: ems.Bad}
		if view.show(&point, check.last, now); view.Quality != check.want {
			t.Errorf("%+v is %s, want %s", check.last, view.Quality, check.want)
		}
	}
}

func TestRawIsWrittenInDigits(t *testing.T) {
	t.Parallel()
	for want, last := range map[string]latest{
		"0": {}, "1000000": {raw: 1e6}, "-0.25": {raw: -0.25}, "1e+21": {raw: 1e21}, "1e-10": {raw: 1e-10}, "0.00000001": {raw: 1e-8},
		"9007199254740993": {raw: 9007199254740992, text: "9007199254740993"},
	} {
		if got := rawText(last); got != want {
			t.Errorf("%+v is written %s, want %s", last, got, want)
		}
	}
}

func TestWriteOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	entry := field(1, d.address, allKinds()...)
	entry.Timeout = 300 * time.Millisecond
	p := newPlant(t, entry)
	p.start()
	p.awaitStatus(1, true, "")
	status, reply := p.call(http.MethodPost, "/api/channels/1/points/A/2", `{"value": 42.5}`)
	result := decode[ems.CommandResult](t, reply)
	if status != http.StatusOK || result.State != ems.CommandDone || result.ReadBack == nil || *result.ReadBack != 42.5 {
		t.Fatalf("%d %s %+v", status, reply.Data, reply.Error)
	}
	status, reply = p.call(http.MethodGet, "/api/channels/1/commands/"+result.ID, "")
	if again := decode[ems.CommandResult](t, reply); status != http.StatusOK || again.State != ems.CommandDone || again.Value != 42.5 {
		t.Errorf("%d %+v", status, again)
	}

	d.set(func() { d.refuse[6], d.silent[5] = 3, true })
	for _, check := range []struct {
		path, body string
		status     int
		code       ems.Code
		message    string
	}{
		{"/api/channels/1/points/A/1", `{"value": 10}`, http.StatusConflict, ems.CodeConflict,
			"the command failed: refused by the device: the device answered exception 3 (illegal data value) to function 6"},
		{"/api/channels/1/points/C/1", `{"value": 1, "deadline_ms": 20000}`, http.StatusGatewayTimeout, ems.CodeUnknown,
			"whether the device has executed the command is unknown: not confirmed: " + d.address + " did not answer in whole within 300ms"},
	} {
		status, reply := p.call(http.MethodPost, check.path, check.body)
		if status != check.status || reply.Success || reply.Error.Code != check.code || reply.Error.Message != check.message {
			t.Errorf("%s: %d %+v", check.path, status, reply.Error)
		}
		if len(reply.Error.Details) != 2 || !strings.HasPrefix(reply.Error.Details[0], "command ") {
			t.Fatalf("the details %v do not name the command", reply.Error.Details)
		}
		id, _, _ := strings.Cut(strings.TrimPrefix(reply.Error.Details[0], "command "), " ")
		if status, reply := p.call(http.MethodGet, "/api/channels/1/commands/"+id, ""); status != http.StatusOK {
			t.Errorf("%s: %d %+v", id, status, reply.Error)
		}
	}
}

func TestWritesOverHTTPThatAreRefused(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	disabled := field(2, d.address, allKinds()...)
	disabled.Enabled = false
	p := newPlant(t, field(1, d.address, allKinds()...), disabled)
	p.start()
	p.awaitStatus(1, true, "")
	for _, check := range []struct {
		path, body string
		status     int
		message    string
	}{
		{"/api/channels/9/points/A/1", `{"value": 1}`, http.StatusNotFound, "there is no channel 9"},
		{"/api/channels/x/points/A/1", `{"value": 1}`, http.StatusBadRequest, `channel "x" is not a number of 1 or more`},
		{"/api/channels/1/points/A/9", `{"value": 1}`, http.StatusNotFound, "channel 1 has no point A:9"},
		{"/api/channels/1/points/A/0", `{"value": 1}`, http.StatusBadRequest, `point "0" is not a number of 1 or more`},
		{"/api/channels/1/points/Q/1", `{"value": 1}`, http.StatusBadRequest, `unknown point type "Q": use T (telemetry), S (signal), C (control) or A (adjustment)`},
		{"/api/channels/1/points/T/1", `{"value": 1}`, http.StatusBadRequest, "comsrv:1:T:1 cannot be written: use a control (C) or an adjustment (A)"},
		{"/api/channels/2/points/A/1", `{"value": 1}`, http.StatusConflict, "channel 2 is not run: the channel is disabled; enable it where it is written"},
		{"/api/channels/1/points/A/2", `{"value": 101}`, http.StatusBadRequest, "101 is above the greatest value of setpoint, 100 kW"},
		{"/api/channels/1/points/A/2", `{}`, http.StatusBadRequest, `the body has no value: send {"value": 12.5}`},
		{"/api/channels/1/points/A/2", `{"value": 1, "deadline_ms": 0}`, http.StatusBadRequest, "deadline_ms 0 is not between 1 and 60000"},
		{"/api/channels/1/points/A/2", `{"value": 1, "deadline": 5}`, http.StatusBadRequest, `the body is not the JSON that is expected: json: unknown field "deadline"`},
	} {
		status, reply := p.call(http.MethodPost, check.path, check.body)
		if status != check.status || reply.Error.Message != check.message {
			t.Errorf("%s %s: %d %q, want %d %q", check.path, check.body, status, reply.Error.Message, check.status, check.message)
		}
	}
	for _, path := range []string{"/api/channels/9", "/api/channels/9/points", "/api/channels/1/commands/none"} {
		if status, reply := p.call(http.MethodGet, path, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d %+v", path, status, reply.Error)
		}
	}
	if written := d.written(); len(written) != 0 {
		t.Errorf("writes: %v", written)
	}
}

// TestWaitingWritesAreBounded: each holds a connection to Redis.
func TestWaitingWritesAreBounded(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	other := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...), field(2, other.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitStatus(2, true, "")
	d.hold(6)
	ended := make(chan int, maxWaitingOfOne)
	for i := range maxWaitingOfOne {
		go func() {
			status, _, err := p.request(http.MethodPost, "/api/channels/1/points/A/1", fmt.Sprintf(`{"value": %d, "deadline_ms": 30000}`, i))
			if err != nil {
				t.Error(err)
			}
			ended <- status
		}()
	}
	p.eventually(func() error {
		if waiting := len(p.service.waiting); waiting != maxWaitingOfOne {
			return fmt.Errorf("%d wait", waiting)
		}
		return nil
	}, "all places taken")
	status, reply := p.call(http.MethodPost, "/api/channels/1/points/A/1", `{"value": 1}`)
	if status != http.StatusServiceUnavailable || reply.Error.Message != "4 writes are waiting for channel 1 already, nothing was sent: try again" {
		t.Errorf("%d %+v", status, reply.Error)
	}
	if status, reply := p.call(http.MethodPost, "/api/channels/2/points/A/1", `{"value": 1}`); status != http.StatusOK {
		t.Errorf("another device: %d %+v", status, reply.Error)
	}
	d.release()
	for range maxWaitingOfOne {
		if status := <-ended; status != http.StatusOK {
			t.Errorf("a write that waited ended with %d", status)
		}
	}
}

func TestMetricsOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	if status, _ := p.call(http.MethodPost, "/api/channels/1/points/A/1", `{"value": 10}`); status != http.StatusOK {
		t.Fatal(status)
	}
	p.stop()
	families, err := p.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetName() + "=" + label.GetValue()
			}
			found[name] = metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	polls := found["voltage_comsrv_polls_total channel=1 result=complete"]
	for name, want := range map[string]float64{
		"voltage_comsrv_points_total channel=1":               7 * polls,
		"voltage_comsrv_poll_seconds channel=1":               polls,
		"voltage_comsrv_polls_total channel=1 result=failed":  0,
		"voltage_comsrv_polls_total channel=1 result=partial": 0,
		"voltage_comsrv_channel_online channel=1":             0, // it was stopped
		"voltage_comsrv_commands_total state=done":            1,
		"voltage_comsrv_ingest_failures_total channel=1":      0,
		"voltage_comsrv_commands_queue_full_total channel=1":  0,
		"voltage_comsrv_command_outcomes_dropped_total":       0,
	} {
		if got, there := found[name]; !there || got != want {
			t.Errorf("%s is %v (there: %v), want %v", name, got, there, want)
		}
	}
	if sent := found["voltage_comsrv_points_sent_total channel=1"]; polls < 1 || sent < 8 {
		t.Errorf("%v polls, %v points sent", polls, sent)
	}
	if _, there := found["voltage_comsrv_overruns_total channel=1 group=default"]; !there {
		t.Error("overruns are not counted")
	}
}

func TestRedisAwayOverHTTP(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	p.Redis.Stop()
	for _, check := range []struct{ method, path, body string }{
		{http.MethodGet, "/api/channels/1/points?type=T", ""},
		{http.MethodPost, "/api/channels/1/points/A/1", `{"value": 1}`},
		{http.MethodGet, "/health", ""},
	} {
		if status, reply := p.call(check.method, check.path, check.body); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %+v", check.path, status, reply.Error)
		}
	}
	// The channels themselves do not need Redis to be shown.
	if status, reply := p.call(http.MethodGet, "/api/channels", ""); status != http.StatusOK || !decode[[]channelView](t, reply)[0].Online {
		t.Errorf("%d %s", status, reply.Data)
	}
	p.Redis.Start()
	p.eventually(func() error {
		if status, reply := p.call(http.MethodGet, "/health/detailed", ""); status != http.StatusOK {
			return fmt.Errorf("%d %s", status, reply.Data)
		}
		return nil
	}, "healthy again")
}

// TestNoRequestTakesUnknownParameters: a table that was to be tried must not be applied.
func TestNoRequestTakesUnknownParameters(t *testing.T) {
	t.Parallel()
	p := newPlant(t, without(1))
	p.start()
	known := strings.NewReplacer(":channel", "1", ":type", "T", ":point", "1", ":token", "x", ":command", "x")
	asked := 0
	for _, route := range p.service.server.Echo.Routes() {
		if strings.HasPrefix(route.Path, "/api/") {
			asked++
			p.Refused(route.Method, known.Replace(route.Path)+"?dry_rnu=true", "", http.StatusBadRequest, ems.CodeInvalid, `unknown parameter "dry_rnu"`)
		}
	}
	if asked < 20 {
		t.Errorf("%d routes", asked)
	}
}
