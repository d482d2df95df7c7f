package comsrv

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestPointsAreFoundByPagesAndFilters.
func TestPointsAreFoundByPagesAndFilters(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() { d.refuse[2] = 1 })
	p := newPlant(t, field(1, d.address, allKinds()...))
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitQuality(1, ems.Signal, ems.Bad, 1)
	p.awaitQuality(1, ems.Adjustment, ems.Good, 1, 2)
	ask := func(query string) (names []string, next string) {
		t.Helper()
		status, reply := p.call(http.MethodGet, "/api/channels/1/points?"+query, "")
		if status != http.StatusOK {
			t.Fatalf("%s: %d %+v", query, status, reply.Error)
		}
		for _, point := range decode[[]pointView](t, reply) {
			names = append(names, point.Name)
		}
		return names, reply.Next
	}
	all := []string{"power", "temperature", "door_closed", "start", "remote", "limit", "setpoint"}
	for query, want := range map[string][]string{
		"":                            all,
		"type=C":                      {"start", "remote"},
		"name=EM":                     {"temperature", "remote"},
		"name=e&type=T":               {"power", "temperature"},
		"quality=bad":                 {"door_closed"},
		"quality=good":                slices.Concat(all[:2], all[3:]),
		"quality=good&after=T-2":      all[3:],
		"after=T-1":                   all[1:],
		"after=T-9":                   all[2:],
		"after=A-2":                   nil,
		"quality=good&type=A&name=it": {"limit"},
		"name=%25":                    nil,
	} {
		if names, next := ask(query); cmp.Diff(want, names) != "" || next != "" {
			t.Errorf("%q: %q, next %q", query, names, next)
		}
	}
	for limit := 1; limit <= 7; limit++ {
		for filter, want := range map[string][]string{"": all, "&quality=good": slices.Concat(all[:2], all[3:])} {
			var names []string
			for after, pages := "", 0; pages < 10; pages++ {
				page, next := ask(fmt.Sprintf("limit=%d&after=%s%s", limit, after, filter))
				names = append(names, page...)
				if after = next; after == "" {
					break
				}
				if len(page) != limit {
					t.Errorf("a page of %d instead of %d", len(page), limit)
				}
			}
			if diff := cmp.Diff(want, names); diff != "" {
				t.Errorf("pages of %d%s: %s", limit, filter, diff)
			}
		}
	}
	for query, want := range map[string]string{
		"type=X":      `unknown point type "X": use T (telemetry), S (signal), C (control) or A (adjustment)`,
		"quality=new": `unknown quality "new": use good, uncertain, stale or bad`,
		"after=T5":    `after "T5" is not the next of a page, for example T-5`,
		"after=T-0":   `after "T-0" is not the next of a page, for example T-5`,
		"limit=1001":  `limit "1001" is not a whole number from 1 to 1000`,
	} {
		if status, reply := p.call(http.MethodGet, "/api/channels/1/points?"+query, ""); status != http.StatusBadRequest || reply.Error.Message != want {
			t.Errorf("%s: %d %s", query, status, reply.Error.Message)
		}
	}
}

// TestWherePointsAreKeptIsShown, and what the device had there when it was read
// last, while it is away too.
func TestWherePointsAreKeptIsShown(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.set(func() { d.holding[0], d.holding[20] = 0x7fc0, 0x00a8 }) // NaN
	entry := field(1, d.address, allKinds()...)
	entry.Points = append(entry.Points, mapped(ems.Adjustment, 3, "mode", config.Mapping{
		Function: 6, Address: 20, DataType: config.Bits, ByteOrder: "AB", Bit: 4, Bits: 4,
	}))
	disabled := field(2, "192.0.2.1:502", mapped(ems.Telemetry, 1, "spare", config.Mapping{Function: 3, DataType: config.Uint16}))
	disabled.Enabled = false
	p := newPlant(t, entry, disabled)
	p.start()
	p.awaitStatus(1, true, "")
	lines := func(channel int) (lines []string) {
		_, reply := p.call(http.MethodGet, fmt.Sprintf("/api/channels/%d/points", channel), "")
		for _, point := range decode[[]map[string]any](t, reply) {
			lines = append(lines, fmt.Sprint(point["name"], " ", point["registers"], " ", point["mapping"], " ", point["reason"]))
		}
		return lines
	}
	want := []string{
		"power 7fc00000 map[byte_order:ABCD data_type:float32 function:3 register_address:0 unit:1] the device answered NaN or infinity, which is no value",
		"temperature 0000 map[byte_order:AB data_type:int16 function:4 register_address:0 unit:1] <nil>",
		"door_closed <nil> map[byte_order:AB data_type:bool function:2 register_address:0 unit:1] <nil>",
		"start <nil> map[byte_order:AB data_type:bool function:5 register_address:0 unit:1] <nil>",
		"remote 00a8 map[bit_position:3 byte_order:AB data_type:bool function:6 register_address:20 unit:1] <nil>",
		"limit 0000 map[byte_order:AB data_type:uint16 function:6 register_address:10 unit:1] <nil>",
		"setpoint 00000000 map[byte_order:ABCD data_type:float32 function:16 register_address:12 unit:1] <nil>",
		"mode 00a8 map[bit_position:4-7 byte_order:AB data_type:bits function:6 register_address:20 unit:1] <nil>",
	}
	p.eventually(func() error {
		if diff := cmp.Diff(want, lines(1)); diff != "" {
			return fmt.Errorf("%s", diff)
		}
		return nil
	}, "the points")
	d.off()
	p.eventually(func() error {
		if shown := lines(1)[4]; !strings.HasPrefix(shown, strings.TrimSuffix(want[4], "<nil>")) || strings.HasSuffix(shown, "<nil>") {
			return fmt.Errorf("%s", shown)
		}
		return nil
	}, "the reason")
	if diff := cmp.Diff([]string{"spare <nil> map[byte_order:AB data_type:uint16 function:3 register_address:0 unit:1] the channel is disabled"}, lines(2)); diff != "" {
		t.Error(diff)
	}
}

// TestManyPointsAreLookedThroughInFewCalls: of those that have another quality than
// the one asked for as many at once as Redis tells in one call.
func TestManyPointsAreLookedThroughInFewCalls(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	const count = 1000
	points, least := make([]config.MappedPoint, count), 1.0
	for i := range points {
		points[i] = mapped(ems.Telemetry, ems.PointID(i+1), fmt.Sprintf("value_%d", i+1), config.Mapping{Function: 3, DataType: config.Uint16})
	}
	points[count/2-1].Min, points[count-1].Min = &least, &least
	entry := field(1, d.address, points...)
	entry.PollPeriod = time.Minute
	p := newPlant(t, entry)
	p.start()
	p.awaitQuality(1, ems.Telemetry, ems.Uncertain, count/2, count)
	before := p.calls()
	for query, want := range map[string]string{"": "T-500", "&after=T-500": ""} {
		status, reply := p.call(http.MethodGet, "/api/channels/1/points?quality=uncertain&limit=1"+query, "")
		if found := decode[[]pointView](t, reply); status != http.StatusOK || len(found) != 1 || reply.Next != want {
			t.Errorf("%q: %d, %d points, next %q", query, status, len(found), reply.Next)
		}
	}
	if made := p.calls() - before; made > 40 { // five for each page, and what comsrv looks at meanwhile
		t.Errorf("%v calls", made)
	}
}
