package modbus

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// gathered returns every sample that is not 0 by name and labels; of a histogram
// how many observations it has.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	samples := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += fmt.Sprintf(" %s=%s", label.GetName(), label.GetValue())
			}
			value := metric.GetCounter().GetValue()
			if histogram := metric.GetHistogram(); histogram != nil {
				value = float64(histogram.GetSampleCount())
			}
			if value != 0 {
				samples[name] = value
			}
		}
	}
	return samples
}

// TestMetrics counts what each request of a script ends with, by channel and unit.
func TestMetrics(t *testing.T) {
	t.Parallel()
	var step atomic.Int32
	p := newPeer(t, func(_ *peer, conn net.Conn, request []byte) bool {
		if request[6] == 3 {
			return send(conn, answer(request, 3, 2, 0, 3))
		}
		switch step.Load() {
		case 1:
			return send(conn, exception(request, 4))
		case 2:
			return send(conn, exception(request, 99))
		case 3:
			return send(conn, answer(request, 3, 0))
		case 4:
			return false
		case 5:
			return true // silence
		default:
			return send(conn, answer(request, 3, 2, 0, 7))
		}
	})
	registry := prometheus.NewRegistry()
	clock := ems.NewManualClock(time.Unix(1_700_000_000, 0))
	links, err := NewLinks(clock, registry)
	if err != nil {
		t.Fatal(err)
	}
	channel := config.Channel{ID: 1001, Protocol: config.ProtocolModbusTCP, Address: p.address(), Timeout: time.Minute, Points: []config.MappedPoint{
		point(ems.Telemetry, 1, register(2, 3, 0, config.Uint16)), point(ems.Telemetry, 2, register(3, 3, 0, config.Uint16)),
	}}
	driver := openOn(t, links, channel)
	for at := range int32(6) {
		if at > 0 {
			clock.Advance(time.Hour)
		}
		step.Store(at)
		if driver.channel.Timeout = time.Minute; at == 5 {
			driver.channel.Timeout = 5 * time.Second // long enough for unit 3
		}
		if _, err := driver.ReadBatch(context.Background(), ems.DefaultGroup); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := driver.ReadBatch(context.Background(), ems.DefaultGroup); err != nil { // unit 2 is left alone
		t.Fatal(err)
	}
	gone := openOn(t, links, config.Channel{ID: 1002, Protocol: config.ProtocolModbusTCP, Address: "127.0.0.1:1", Timeout: time.Minute, Points: []config.MappedPoint{
		point(ems.Adjustment, 1, register(1, 6, 0, config.Uint16)),
	}})
	_, err = gone.WritePoint(context.Background(), protocol.Write{Raw: 1})
	wantFault(t, err, protocol.NotSent)
	want := map[string]float64{
		"voltage_comsrv_modbus_requests_total channel=1001 unit=2":                   6,
		"voltage_comsrv_modbus_requests_total channel=1001 unit=3":                   7,
		"voltage_comsrv_modbus_exceptions_total channel=1001 code=4 unit=2":          1,
		"voltage_comsrv_modbus_exceptions_total channel=1001 code=other unit=2":      1,
		"voltage_comsrv_modbus_failures_total channel=1001 reason=malformed unit=2":  1,
		"voltage_comsrv_modbus_failures_total channel=1001 reason=connection unit=2": 1,
		"voltage_comsrv_modbus_failures_total channel=1001 reason=timeout unit=2":    1,
		"voltage_comsrv_modbus_left_out_total channel=1001 unit=2":                   1,
		"voltage_comsrv_modbus_round_trip_seconds channel=1001":                      10,
		"voltage_comsrv_modbus_failures_total channel=1002 reason=connection unit=1": 1,
	}
	if diff := cmp.Diff(want, gathered(t, registry)); diff != "" {
		t.Error(diff)
	}
	until := clock.Now().Add(72 * time.Second) // the longest pause, of a timeout of a minute, and a fifth of jitter
	got := driver.Statistics()
	if two := &got.Units[0]; two.Until == nil || two.Until.Before(clock.Now()) || two.Until.After(until) {
		t.Errorf("left alone until %v", two.Until)
	}
	got.Units[0].Until = nil
	trips := got.RoundTrip
	if trips.Count != 10 || trips.Mean != 0 || len(trips.Buckets) != 1 || trips.Buckets[0].Count != 10 {
		t.Errorf("%+v", trips)
	}
	if diff := cmp.Diff([]protocol.UnitStatistics{
		{
			Unit: "2", State: protocol.UnitLeftAlone, Reason: p.address() + " did not answer in whole within 5s", Requests: 6, LeftOut: 1,
			Failures:   map[string]uint64{"timeout": 1, "malformed": 1, "connection": 1},
			Exceptions: map[string]uint64{"4": 1, "other": 1},
		},
		{
			Unit: "3", State: protocol.UnitAnswers, Requests: 7,
			Failures: map[string]uint64{"timeout": 0, "malformed": 0, "connection": 0}, Exceptions: map[string]uint64{},
		},
	}, got.Units); diff != "" {
		t.Error(diff)
	}
	if _, err := gone.ReadRange(context.Background(), protocol.Range{Unit: 77, Function: 3, Count: 1}); err == nil {
		t.Error("a device that is away was read")
	}
	if units := gone.Statistics().Units; len(units) != 2 || units[0].State != protocol.UnitUnknown || units[1].Unit != "other" || units[1].Failures["connection"] != 1 {
		t.Errorf("%+v", units)
	}
	if _, err := NewLinks(clock, registry); ems.CodeOf(err) != ems.CodeInternal {
		t.Errorf("the metrics are there twice: %v", err)
	}
}
