package suite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/suite"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// plantFiles are a site with two points, a model that adds them up, and rules of
// every kind of delay.
var plantFiles = map[string]string{
	"channels.yaml": "channels: [{id: 1001, name: plant, protocol: modbus_tcp, address: \"127.0.0.1:5022\"}]\n",
	"points/1001/telemetry.csv": "point_id,signal_name,scale,offset,unit,reverse,data_type\n" +
		"1,pv_power,1,0,kW,0,float\n2,battery_power,1,0,kW,0,float\n3,frequency,1,0,Hz,0,float\n",
	"points/1001/telemetry_mapping.csv": "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n" +
		"1,1,3,0,float32,,\n2,1,3,2,float32,,\n3,1,3,4,float32,,\n",
	"models.yaml":  "models: [{id: plant, mapping: {channel: 1001, data: {pv: 1, battery: 2}}, computed: [{name: total, expression: pv + 2 * battery}]}]\n",
	"history.yaml": "mappings: [{id: plant, source: \"comsrv:1001:T\", measurement: plant, fields: {1: pv}}]\n",
	"rules.yaml": `
rules:
  - {id: plain, name: plain, conditions: [{source: "comsrv:1001:T:1", operator: ">", value: 50}], actions: []}
  - {id: hysteresis, name: hysteresis, conditions: [{source: "comsrv:1001:T:1", operator: ">", value: 50}], hysteresis: 10, actions: []}
  - {id: delayed, name: delayed, conditions: [{source: "comsrv:1001:T:1", operator: ">", value: 40}], on_delay: 1750ms, actions: []}
  - {id: everything, name: everything, conditions: [{source: "comsrv:1001:T:2", operator: "<", value: -5}], hysteresis: 8, on_delay: 1s, off_delay: 2250ms, cooldown: 9s,
      actions: [{type: create_alarm, params: {level: Minor, title: low}}]}
  - {id: model, name: a computed value, conditions: [{source: "modsrv:plant:total", operator: ">", value: 60}], hysteresis: 15, on_delay: 750ms, actions: []}
  - id: group
    name: a group
    logic: OR
    conditions:
      - {source: "modsrv:plant:pv", minus: "comsrv:1001:T:2", operator: ">", value: 70}
      - logic: AND
        conditions:
          - {source: "modsrv:plant:total", operator: "<", compare_to: "comsrv:1001:T:2"}
          - {logic: NOT, conditions: [{source: "comsrv:1001:T:1", operator: between, value: [-10, 10]}]}
    on_delay: 500ms
    off_delay: 500ms
    actions: []
  - {id: mean, name: a mean, conditions: [{source: "modsrv:plant:total", function: mean, window: 3s, operator: ">", value: 45}], hysteresis: 5, on_delay: 1s, actions: []}
  - {id: rate, name: a rate, conditions: [{source: "comsrv:1001:T:1", function: rate, window: 2s, operator: "<", value: -5}], actions: []}
  - {id: edge, name: an edge, conditions: [{source: "comsrv:1001:T:3", operator: changed}], actions: []}
`,
}

// begun is when the history of the test begins. It is long over.
var begun = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// replaySite runs modsrv and hissrv by the real time, and rulesrv by a clock that
// stands still: the test alone says how time passes for rules.
type replaySite struct {
	t       *testing.T
	db      *rtdb.Client
	clock   *ems.ManualClock
	rulesrv string
	hissrv  string
}

func startReplaySite(t *testing.T) *replaySite {
	t.Helper()
	redis, influx, dir := testkit.Redis(t), testkit.Influx(t), newSite(t)
	for name, text := range plantFiles {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s := &replaySite{t: t, clock: ems.NewManualClock(begun)}
	var err error
	if s.db, err = rtdb.Open(rtdb.Options{URL: redis.URL, Clock: s.clock, Logger: testkit.Logger(t)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.db.Close() })
	if err := s.db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	address := func() string { return fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t)) }
	modsrv, hissrv, rulesrv := address(), address(), address()
	s.hissrv, s.rulesrv = "http://"+hissrv, "http://"+rulesrv
	environment := []string{
		"VOLTAGE_REDIS_URL=" + redis.URL, "MODSRV_LISTEN=" + modsrv, "HISSRV_LISTEN=" + hissrv, "RULESRV_LISTEN=" + rulesrv,
		"HISSRV_URL=" + s.hissrv, "HISSRV_COLLECTION_PERIOD=20ms",
		"HISSRV_INFLUX_URL=" + influx.URL, "HISSRV_INFLUX_TOKEN=" + influx.Token, "HISSRV_INFLUX_ORG=" + influx.Org, "HISSRV_INFLUX_BUCKET=" + influx.Bucket,
	}
	run := func(clock ems.Clock, url string, targets ...ems.Target) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() {
			ended <- suite.Run(ctx, suite.Options{SiteDir: dir, Targets: targets, Environment: environment, Clock: clock, Log: io.Discard})
		}()
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		testkit.Eventually(t, time.Minute, func() error { return s.ask(http.MethodGet, url+"/health/detailed", nil, nil) }, fmt.Sprint(targets))
	}
	run(ems.SystemClock{}, s.hissrv, ems.Modsrv, ems.Hissrv)
	testkit.Eventually(t, time.Minute, func() error { return s.ask(http.MethodGet, "http://"+modsrv+"/health/detailed", nil, nil) }, "modsrv")
	run(ems.NewManualClock(begun), s.rulesrv, ems.Rulesrv)
	return s
}

// ask sends a request and decodes the data of the answer.
func (s *replaySite) ask(method, url string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %d %s %w", method, url, response.StatusCode, answer, err)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, &struct{ Data any }{into})
}

// live plays five minutes: each half second values, which tremble around the
// limits, and each quarter of a second a look at what time brings. It returns how
// many batches held values.
func (s *replaySite) live(ctx context.Context, length time.Duration) (batches int64, err error) {
	const step = 250 * time.Millisecond
	random := rand.New(rand.NewPCG(7, 11))
	walk := []float64{40, -5, 50}
	for at := time.Duration(0); at <= length; at += step {
		batch := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: ems.DefaultGroup, Time: begun.Add(at)}
		if at%(2*step) == 0 {
			walk[0] = min(90, max(-40, walk[0]+random.NormFloat64()*12))
			walk[1] = min(40, max(-40, walk[1]+random.NormFloat64()*8))
			if random.IntN(10) == 0 {
				walk[2] = 50 + float64(random.IntN(3))/100
			}
			for i, number := range walk {
				batch.Samples = append(batch.Samples, rtdb.Sample{Point: ems.PointID(i + 1), Number: math.Round(number*1000) / 1000})
			}
			batches++
		}
		// What is read at a time is known when time gets there.
		if err := s.db.Ingest(ctx, batch); err != nil {
			return 0, err
		}
		s.clock.Advance(begun.Add(at).Sub(s.clock.Now()))
		if _, err := s.db.TickRules(ctx, 1000); err != nil {
			return 0, err
		}
	}
	return batches, nil
}

// A rule that is tried out over a span of the history fires when it did in
// service: the values go through real ingest, hissrv and InfluxDB, and come back
// over HTTP.
func TestARuleReplayedOverHistoryFiresAsItDidLive(t *testing.T) {
	t.Parallel()
	s := startReplaySite(t)
	const length = 5 * time.Minute
	batches, err := s.live(t.Context(), length)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, time.Minute, func() error {
		var status rtdb.HistoryStatus
		if err := s.ask(http.MethodGet, s.hissrv+"/api/history/status", nil, &status); err != nil {
			return err
		}
		if status != (rtdb.HistoryStatus{Written: batches}) {
			return fmt.Errorf("%+v, want %d written", status, batches)
		}
		return nil
	}, "the history")
	events, err := s.db.RuleEvents(t.Context(), "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	live := map[string][]rtdb.TrialChange{}
	for _, event := range events {
		live[event.Rule] = append(live[event.Rule], rtdb.TrialChange{Time: event.Time, From: event.From, To: event.To, Values: event.Values})
	}
	for _, id := range []string{"plain", "hysteresis", "delayed", "everything", "model", "group", "mean", "rate", "edge"} {
		var state struct {
			Rule  ems.Rule
			Fired int
		}
		if err := s.ask(http.MethodGet, s.rulesrv+"/api/rules/"+id, nil, &state); err != nil {
			t.Fatal(err)
		}
		var replayed struct {
			Firings   int
			Changes   []rtdb.TrialChange
			NoHistory []string `json:"no_history"`
		}
		trial := map[string]any{"rule": state.Rule, "history": map[string]any{"from": begun, "to": begun.Add(length + time.Millisecond)}}
		if err := s.ask(http.MethodPost, s.rulesrv+"/api/rules/test", trial, &replayed); err != nil {
			t.Fatal(err)
		}
		if state.Fired < 5 || replayed.Firings != state.Fired || len(replayed.NoHistory) > 0 {
			t.Errorf("%s fired %d times live and %d times in the replay, without %v", id, state.Fired, replayed.Firings, replayed.NoHistory)
		}
		if difference := cmp.Diff(live[id], replayed.Changes); difference != "" {
			t.Errorf("%s (-live +replayed):\n%s", id, difference)
		}
		if pending := slices.ContainsFunc(live[id], func(c rtdb.TrialChange) bool { return c.From == ems.RulePending && c.To == ems.RuleIdle }); !pending && state.Rule.OnDelay != "" {
			t.Errorf("no delay of %s was broken: the values prove little", id)
		}
	}
	after, err := s.db.RuleEvents(t.Context(), "", 10_000)
	if err != nil || len(after) != len(events) {
		t.Errorf("the replay left %d events, before it there were %d: %v", len(after), len(events), err)
	}
}
