package suite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/suite"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// TestASiteWithoutDevicesRaisesAnAlarmAndActs: a value set over HTTP becomes a
// computed point, trips a rule, raises an alarm and switches a control, which a
// signal shows.
func TestASiteWithoutDevicesRaisesAnAlarmAndActs(t *testing.T) {
	t.Parallel()
	redis := testkit.Redis(t)
	db, err := rtdb.Open(rtdb.Options{URL: redis.URL, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	addresses := map[ems.Target]string{}
	environment := []string{"VOLTAGE_REDIS_URL=" + redis.URL}
	targets := []ems.Target{ems.Comsrv, ems.Alarmsrv, ems.Rulesrv}
	for _, target := range targets {
		addresses[target] = fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
		environment = append(environment, strings.ToUpper(string(target))+"_LISTEN="+addresses[target])
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- suite.Run(ctx, suite.Options{
			SiteDir: "testdata/virtual", Targets: targets, Environment: environment, Clock: ems.SystemClock{}, Log: io.Discard,
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	soon := func(what string, condition func() error) {
		t.Helper()
		testkit.Eventually(t, 30*time.Second, condition, what)
	}
	setLoad := func(value float64) {
		t.Helper()
		soon("setting the load", func() error {
			return ask(t, http.MethodPut, addresses[ems.Comsrv], "/api/channels/2001/points/T/1", fmt.Sprintf(`{"value": %v}`, value), nil)
		})
	}
	points := func(kind ems.PointType, want float64, point ems.PointID) func() error {
		return func() error {
			values, err := db.ReadPoints(t.Context(), 2001, kind, []ems.PointID{point})
			if err == nil && (values[0].Quality != ems.Good || values[0].Number != want) {
				err = fmt.Errorf("%+v", values[0])
			}
			return err
		}
	}
	alarm := func(state ems.AlarmState) func() error {
		return func() error {
			var list []ems.Alarm
			err := ask(t, http.MethodGet, addresses[ems.Alarmsrv], "/api/alarms", "", &list)
			if err == nil && (len(list) != 1 || list[0].Rule != "grid_overload" || list[0].Level != ems.Critical ||
				list[0].State != state || *list[0].Value != 110.5 || list[0].Occurrences != 1) {
				err = fmt.Errorf("%+v", list)
			}
			return err
		}
	}
	setLoad(120)
	soon("the grid", points(ems.Telemetry, 90, 3))
	soon("the signal", points(ems.Signal, 0, 1))
	setLoad(140.5)
	soon("the alarm", alarm(ems.ActiveUnacknowledged))
	soon("the signal", points(ems.Signal, 1, 1))
	setLoad(20)
	soon("the end of the alarm", alarm(ems.ClearedUnacknowledged))
	soon("the grid", points(ems.Telemetry, -10, 3))
}

// ask sends a request to a service and decodes the data of the answer.
func ask(t *testing.T, method, address, path, body string, into any) error {
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err == nil && reply.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", reply.StatusCode, text)
	}
	if err != nil || into == nil {
		return err
	}
	envelope := struct{ Data any }{into}
	return json.Unmarshal(text, &envelope)
}
