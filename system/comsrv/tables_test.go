package comsrv

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// diffOf is the body of a request that compares tables.
func diffOf(t *testing.T, mode string, tables map[string]string) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"mode": mode, "tables": tables})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTablesAreTriedAndPut: what is merged is told before, nothing happens until
// the document is put, and what is exported then is what was told.
func TestTablesAreTriedAndPut(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	d.float(0, 21.5)
	d.set(func() { d.inputs[9] = 77 })
	p := newPlant(t)
	p.start()
	p.eventually(func() error { // until Redis was asked which channels were made before
		if status, reply := p.call(http.MethodPost, "/api/channels", documentOf(t, 7, d, nil)); status != http.StatusCreated {
			return fmt.Errorf("%d %+v", status, reply.Error)
		}
		return nil
	}, "the channel")
	p.awaitPoint(7, "T", 21.5)
	export := func() map[string]string {
		_, reply := p.call(http.MethodGet, "/api/channels/7/tables", "")
		return decode[map[string]string](t, reply)
	}
	before := export()
	const path = "/api/channels/7/tables/diff"
	_, reply := p.call(http.MethodPost, path, diffOf(t, "overwrite", before))
	same := decode[tablesTrial](t, reply)
	if d := same.Differences; len(d.Added)+len(d.Changed)+len(d.Removed) > 0 || d.Unchanged != 2 || cmp.Diff(before, same.Tables) != "" {
		t.Errorf("what came out is another when it goes in: %s", reply.Data)
	}
	status, reply := p.call(http.MethodPost, path, diffOf(t, "merge", map[string]string{
		"telemetry":         "point_id,signal_name,scale,offset,unit,reverse,data_type\n2,count,0.5,0,,0,\n",
		"telemetry_mapping": "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n2,1,4,9,uint16,,\n",
	}))
	merged := decode[tablesTrial](t, reply)
	want := config.TableDifferences{
		Added: []config.PointName{{Type: ems.Telemetry, ID: 2, Name: "count"}}, Changed: []config.PointChange{}, Removed: []config.PointName{}, Unchanged: 2,
	}
	if diff := cmp.Diff(want, merged.Differences); status != http.StatusOK || diff != "" {
		t.Errorf("%d %s", status, diff)
	}
	if diff := cmp.Diff(before, export()); diff != "" {
		t.Errorf("a dry run changed something: %s", diff)
	}
	if status, reply := p.call(http.MethodPut, "/api/channels/7", merged.Document); status != http.StatusOK {
		t.Fatalf("%d %+v", status, reply.Error)
	}
	if diff := cmp.Diff(merged.Tables, export()); diff != "" {
		t.Error(diff)
	}
	p.eventually(func() error {
		values, err := p.values(7, ems.Telemetry, 1, 2)
		if err == nil && (values[0].Number != 21.5 || values[1].Number != 38.5) {
			err = fmt.Errorf("%+v", values)
		}
		return err
	}, "the point that was added")
}

// TestTablesThatAreRefused tell every fault, and of a channel of the site folder
// there is no document.
func TestTablesThatAreRefused(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	disabled := field(2, "192.0.2.1:502", allKinds()...)
	disabled.Enabled, disabled.Modbus.Reads = false, config.Reads{}.OrDefault()
	p := newPlant(t, field(1, d.address, allKinds()...), disabled)
	p.start()
	const head = "point_id,signal_name,scale,offset,unit,reverse,data_type\n"
	for _, test := range []struct {
		path, body string
		want       []string
	}{
		{"9/tables/diff", `{"mode": "merge", "tables": {"telemetry": ""}}`, []string{"404 there is no channel 9"}},
		{"1/tables/diff", `{"tables": {"telemetry": ""}}`, []string{`400 mode "": use merge, or overwrite, which removes what the tables do not name`}},
		{"1/tables/diff", `{"mode": "merge"}`, []string{`400 there are no tables: send {"mode": "merge", "tables": {"telemetry": "point_id,…"}}`}},
		{"1/tables/diff", `{"mode": "merge", "tables": {"telemetry": 1}}`, []string{"400 the body is not the JSON that is expected: tables.telemetry: number where a text is expected"}},
		{"2/tables/diff", diffOf(t, "merge", map[string]string{"telemetry": head + "1,power,0,0,,0,\n3,=x,1,0,,0,\n", "signals": ""}), []string{
			`400 points/2/: there is no table "signals": the tables are telemetry, telemetry_mapping, signal, signal_mapping, control, control_mapping, adjustment, adjustment_mapping`,
			"400 points/2/telemetry.csv:2: scale is 0: a value could not be told from its offset, and a write could not be inverted",
			`400 points/2/telemetry.csv:3: signal_name "=x" begins with =, and a spreadsheet would run it as a formula: begin with something else`,
			"400 points/2/telemetry.csv:3: point_id 3 has no row in points/2/telemetry_mapping.csv",
		}},
	} {
		status, reply := p.call(http.MethodPost, "/api/channels/"+test.path, test.body)
		got := []string{fmt.Sprintf("%d %s", status, reply.Error.Message)}
		if len(reply.Error.Details) > 1 {
			got = nil
			for _, detail := range reply.Error.Details {
				got = append(got, fmt.Sprintf("%d %s", status, detail))
			}
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", test.path, diff)
		}
	}
	_, reply := p.call(http.MethodPost, "/api/channels/2/tables/diff", diffOf(t, "overwrite", map[string]string{
		"telemetry": head + "1,power,2,0,,0,\n", "telemetry_mapping": "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n1,1,3,0,float32,,\n",
	}))
	trial := decode[tablesTrial](t, reply)
	if d := trial.Differences; len(d.Removed) != 6 || len(d.Changed) != 1 || trial.Document != "" {
		t.Errorf("%s", reply.Data)
	}
}
