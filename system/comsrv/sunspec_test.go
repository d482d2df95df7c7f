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
)

// sunspecDevice is a device with the common model and a battery, model 802, written
// from the registers of the specification.
func sunspecDevice(t *testing.T) *device {
	d := newDevice(t)
	next := uint16(40000)
	put := func(words ...uint16) {
		for _, word := range words {
			d.holding[next] = word
			next++
		}
	}
	text := func(size int, text string) {
		text += strings.Repeat("\x00", 2*size-len(text))
		for i := 0; i < len(text); i += 2 {
			put(uint16(text[i])<<8 | uint16(text[i+1]))
		}
	}
	d.set(func() {
		put(0x5375, 0x6e53, 1, 66)
		text(16, "Acme")
		text(16, "Store 5")
		text(8, "")
		text(8, "2.0")
		text(16, "B7")
		put(1, 0x8000)
		const none = 0xFFFF
		put(802, 62, 100, 500, 250, 250, none, none, none, none, none, 875, none, none)
		put(none, none, none, 0, none, none, 0, 4, 3, none, none, none, 0, 0, 0, 0, 0, 0, 0, 0) // cycles to vendor events
		put(4801, none, none, none, none, none, none, none, none, none)                         // volts to cells
		put(0xFF9C, none, none, 0xFED4, none, 0x8000, 0, 0)                                     // A -100, W -300
		put(0, 1, 1, 0x8000, 0xFFFF, 0x8000, 0x8000, 0xFFFE, 0, 0xFFFF, 0, 1)
		put(0xFFFF, 0)
	})
	return d
}

// TestASunSpecDeviceBecomesAChannel: it is found behind an address, and what is
// proposed is made as it is and shows the values of the device.
func TestASunSpecDeviceBecomesAChannel(t *testing.T) {
	t.Parallel()
	d, other := sunspecDevice(t), newDevice(t)
	existing := field(3, d.address, mapped(ems.Telemetry, 1, "soc", config.Mapping{Function: 3, Address: 40079, DataType: config.Uint16}))
	p := newPlant(t, existing)
	p.start()
	p.awaitStatus(3, true, "")
	scan := func(path, body string) (view struct {
		Units    []scanned
		Absent   []string         `json:"not_implemented"`
		Scales   []map[string]any `json:"fixed_scales"`
		Document map[string]any
	}) {
		t.Helper()
		status, reply := p.call(http.MethodPost, path, body)
		if status != http.StatusOK {
			t.Fatalf("%s: %d %+v", path, status, reply.Error)
		}
		if err := json.Unmarshal(reply.Data, &view); err != nil {
			t.Fatal(err)
		}
		return view
	}
	view := scan("/api/sunspec/scan", fmt.Sprintf(`{"address": %q, "timeout_ms": 5000}`, d.address))
	found := view.Units[0].Device
	if len(view.Units) != 1 || found == nil || found.Manufacturer != "Acme" || found.Serial != "B7" || len(found.Models) != 2 || len(found.Notes) > 0 {
		t.Fatalf("%+v", view.Units)
	}
	if d := view.Document; d["id"] != 4.0 || d["name"] != "Acme Store 5" || d["description"] != "serial number B7, version 2.0" || d["protocol"] != "modbus_tcp" {
		t.Errorf("%v", view.Document)
	}
	if len(view.Scales) != 7 || len(view.Absent) != 27 {
		t.Errorf("%d scales: %v; %d absent: %v", len(view.Scales), view.Scales, len(view.Absent), view.Absent)
	}
	text, err := json.Marshal(view.Document)
	if err != nil {
		t.Fatal(err)
	}
	p.eventually(func() error {
		if status, reply := p.call(http.MethodPost, "/api/channels", string(text)); status != http.StatusCreated {
			return fmt.Errorf("%d %+v", status, reply.Error)
		}
		return nil
	}, "the channel")
	want := map[string]string{
		"m1_SN": "B7", "m802_WHRtg": "5000", "m802_SoC": "87.5", "m802_V": "48.01", "m802_A": "-10", "m802_W": "-3000", "m802_State": "3",
	}
	p.eventually(func() error {
		_, reply := p.call(http.MethodGet, "/api/channels/4/points?limit=1000", "")
		got := map[string]string{}
		for _, point := range decode[[]pointView](t, reply) {
			if point.Quality != ems.Good {
				return fmt.Errorf("%s is %s: %s", point.Name, point.Quality, point.Reason)
			}
			switch {
			case want[point.Name] == "":
			case point.Text != nil:
				got[point.Name] = *point.Text
			default:
				got[point.Name] = fmt.Sprint(*point.Value)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("%s", diff)
		}
		return nil
	}, "the values")
	if count := p.count("voltage_comsrv_modbus_requests_total", 0); count != 0 {
		t.Errorf("a scan that is over is still counted: %v", count)
	}
	behind := scan("/api/channels/3/sunspec/scan", `{"units": [7, 2, 7], "all": true}`)
	if len(behind.Units) != 2 || behind.Units[0].Unit != 2 || behind.Units[1].Device == nil || behind.Document["id"] != 5.0 || len(behind.Absent) > 0 {
		t.Errorf("%+v", behind.Units)
	}
	if table := behind.Document["points"].(map[string]any)["telemetry"].(string); !strings.Contains(table, ",u2_m802_SoC,0.1,") || !strings.Contains(table, ",u7_m802_SoC,0.1,") {
		t.Errorf("%s", table)
	}
	other.set(func() { other.refuse[3] = 2 })
	if nothing := scan("/api/sunspec/scan", fmt.Sprintf(`{"address": %q}`, other.address)); nothing.Document != nil ||
		!strings.HasPrefix(nothing.Units[0].Reason, `no SunSpec device: none of the usual addresses holds "SunS" (40000: the device answered exception 2 (illegal data address)`) {
		t.Errorf("%+v", nothing)
	}
	other.off()
	if away := scan("/api/sunspec/scan", fmt.Sprintf(`{"address": %q}`, other.address)); away.Document != nil || !strings.Contains(away.Units[0].Reason, "connection refused") {
		t.Errorf("%+v", away)
	}
}

// TestAScanKeepsToWhatChannelsSayOfADevice: it goes over their connection, leaves out
// what they forbid and names it, and proposes the rest.
func TestAScanKeepsToWhatChannelsSayOfADevice(t *testing.T) {
	t.Parallel()
	d := sunspecDevice(t)
	enabled, disabled := field(1, d.address, mapped(ems.Telemetry, 1, "soc", config.Mapping{Function: 3, Address: 40079, DataType: config.Uint16})), field(2, d.address)
	enabled.Modbus.Spacing, disabled.Enabled = time.Millisecond, false
	for channel, at := range map[*config.Channel]uint16{&enabled: 50000, &disabled: 40100} {
		channel.Modbus.Reads = config.Reads{}.OrDefault()
		channel.Modbus.Reads.Forbidden = []config.ForbiddenRange{{Unit: -1, Function: 3, First: at, Last: at + 9}}
	}
	p := newPlant(t, enabled, disabled)
	p.start()
	p.awaitStatus(1, true, "")
	status, reply := p.call(http.MethodPost, "/api/sunspec/scan", fmt.Sprintf(`{"address": %q, "timeout_ms": 5000, "all": true}`, d.address))
	if status != http.StatusOK {
		t.Fatalf("%d %+v", status, reply.Error)
	}
	var view struct {
		Units    []scanned
		Document map[string]any
	}
	if err := json.Unmarshal(reply.Data, &view); err != nil {
		t.Fatal(err)
	}
	found := view.Units[0].Device
	if found == nil || found.Serial != "B7" || len(found.Models) != 2 {
		t.Fatalf("%+v", view.Units)
	}
	if diff := cmp.Diff([]string{
		"model 802 at 40070 cannot be read, and nothing of it is proposed: channel 2 forbids to read from there: leave its ranges (modbus.forbidden) out",
	}, found.Notes); diff != "" {
		t.Error(diff)
	}
	range3 := func(first float64) map[string]any {
		return map[string]any{"function": 3.0, "first": first, "last": first + 9}
	}
	if diff := cmp.Diff(map[string]any{"spacing": "1ms", "forbidden": []any{range3(50000), range3(40100)}}, view.Document["modbus"]); diff != "" {
		t.Error(diff)
	}
	text, err := json.Marshal(view.Document)
	if err != nil {
		t.Fatal(err)
	}
	if status, reply := p.call(http.MethodPost, "/api/channels?dry_run=true", string(text)); status >= 300 {
		t.Errorf("what is proposed is refused: %d %+v", status, reply.Error)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for first := range d.reads {
		if first > 40099 && first != 40134 { // where the next model is announced
			t.Errorf("registers from %d on were read", first)
		}
	}
	if d.accepted != 1 {
		t.Errorf("%d connections", d.accepted)
	}
}

// TestScansThatAreRefused by their body, or because of the channel.
func TestScansThatAreRefused(t *testing.T) {
	t.Parallel()
	disabled, line := field(2, "192.0.2.1:502"), field(3, "127.0.0.1:1")
	disabled.Enabled, line.Protocol = false, config.ProtocolModbusRTUOverTCP
	spaced, other := field(5, "127.0.0.1:2"), field(6, "127.0.0.1:2")
	other.Modbus.Spacing = time.Second
	p := newPlant(t, config.Channel{ID: 1, Name: "site", Protocol: "virtual", Enabled: true, PollPeriod: time.Second, Timeout: time.Second}, disabled, line, spaced, other)
	p.start()
	many := ""
	for unit := range maxScanUnits + 1 {
		many += fmt.Sprintf("%d,", unit)
	}
	for _, test := range [][3]string{
		{"/api/channels/1/sunspec/scan", "", "409 channel 1 has protocol virtual, which has no registers"},
		{"/api/channels/2/sunspec/scan", "", "409 channel 2 is not run: the channel is disabled; enable it where it is written"},
		{"/api/channels/3/sunspec/scan", `{"units": [0]}`, "400 unit 0 is every unit of the line, and none of them answers: name one"},
		{"/api/channels/3/sunspec/scan", `{"address": "127.0.0.1:1"}`, "400 the channel has an address and a timeout already: use /api/sunspec/scan for another"},
		{"/api/channels/4/sunspec/scan", "", "404 there is no channel 4"},
		{"/api/sunspec/scan", `{"address": "127.0.0.1"}`, `400 address: "127.0.0.1" is not host:port, for example 192.168.1.20:502`},
		{"/api/sunspec/scan", `{"address": "127.0.0.1:1"}`, "409 channel 3 talks to this address by modbus_rtu_over_tcp: scan by POST /api/channels/3/sunspec/scan, or disable it"},
		{"/api/sunspec/scan", `{"address": "127.0.0.1:2"}`, "409 channels 5 and 6 have this address with different spacing: scan by POST /api/channels/5/sunspec/scan"},
		{"/api/sunspec/scan", `{"address": "127.0.0.1:1", "timeout_ms": 10001}`, "400 timeout_ms 10001 is not between 1 and 10000"},
		{"/api/sunspec/scan", `{"address": "127.0.0.1:1", "units": [` + strings.TrimSuffix(many, ",") + `]}`, "400 33 units are more than the 32 of one scan"},
		{"/api/sunspec/scan", `{"address": "127.0.0.1:1", "units": [256]}`, "400 the body is not the JSON that is expected: units[0]: number 256 where a whole number from 0 to 255 is expected"},
	} {
		status, reply := p.call(http.MethodPost, test[0], test[1])
		if got := fmt.Sprintf("%d %s", status, reply.Error.Message); got != test[2] {
			t.Errorf("%s %s: %s", test[0], test[1], got)
		}
	}
	p.service.scanning <- struct{}{}
	if status, reply := p.call(http.MethodPost, "/api/sunspec/scan", `{"address": "127.0.0.1:4"}`); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, reply.Data)
	}
}
