package config_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
)

// tablesOf returns the tables of a channel of a site folder as text, by name.
func tablesOf(t *testing.T, dir, channel string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, name := range config.TableNames() {
		text, err := os.ReadFile(filepath.Join(dir, "points", channel, name+".csv"))
		if err == nil {
			texts[name] = string(text)
		} else if !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	return texts
}

// TestTablesMeanTheSameAsTextAndAsFiles, for every channel of the sites there are.
func TestTablesMeanTheSameAsTextAndAsFiles(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{sound, "testdata/commands", "testdata/drivers", "../../scenarios/microgrid"} {
		for _, channel := range readSite(t, dir).Channels {
			want := channel.Points
			channel.Points = nil
			if err := channel.ParsePoints(tablesOf(t, dir, strconv.FormatUint(uint64(channel.ID), 10))); err != nil {
				t.Fatalf("%s, channel %d: %v", dir, channel.ID, err)
			}
			if diff := cmp.Diff(want, channel.Points); diff != "" || len(want) == 0 {
				t.Errorf("%s, channel %d: %d points, %s", dir, channel.ID, len(want), diff)
			}
		}
	}
}

// TestFaultyTablesLeaveTheChannelAsItWas: every fault is told and nothing is used.
func TestFaultyTablesLeaveTheChannelAsItWas(t *testing.T) {
	t.Parallel()
	channel := readSite(t, "../../scenarios/microgrid").Channels[0]
	before := channel
	err := channel.ParsePoints(map[string]string{
		"telemetry":         pointHead + "1,sound,1,0,,0,\n2,b,0,0,,0,\n3,=c,1,0,,0,\n",
		"telemetry_mapping": mappingHead + "1,1,3,0,uint16,,\n2,1,3,1,uint16,ABBA,\n3,1,3,2,uint16,,\n",
		"signal":            pointHead + "1,a\x00,1,0,,0,\n",
		"signal_mapping":    mappingHead + "4,1,1,0,bool,,\n",
		"adjustment":        "\"",
		"control":           strings.Repeat("x", 16<<20+1),
		"controls":          "",
	})
	want := []string{
		`points/1001/: there is no table "controls": the tables are telemetry, telemetry_mapping, signal, signal_mapping, control, control_mapping, adjustment, adjustment_mapping`,
		"points/1001/adjustment.csv:1: the first line must name the columns: point_id,signal_name,scale,offset,unit,reverse,data_type",
		"points/1001/control.csv: larger than 16 MiB",
		"points/1001/signal.csv:2: column 4: a NUL byte: this is not a text file, save the table as CSV in UTF-8",
		"points/1001/telemetry.csv:3: scale is 0: a value could not be told from its offset, and a write could not be inverted",
		`points/1001/telemetry.csv:4: signal_name "=c" begins with =, and a spreadsheet would run it as a formula: begin with something else`,
		`points/1001/telemetry_mapping.csv:3: byte_order "ABBA" does not fit uint16: use one of AB, BA`,
	}
	if diff := cmp.Diff(want, details(t, err)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, channel); diff != "" {
		t.Errorf("the channel is another: %s", diff)
	}
}

// TestTablesComeOutAsTheyWentIn: what is in use, written and read again, is the
// same, for every channel of the sites there are.
func TestTablesComeOutAsTheyWentIn(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{sound, "testdata/commands", "testdata/drivers", "../../scenarios/microgrid"} {
		for _, channel := range readSite(t, dir).Channels {
			want, tables := channel.Points, channel.Tables()
			if err := channel.ParsePoints(tables); err != nil {
				t.Fatalf("%s, channel %d: %v", dir, channel.ID, err)
			}
			if diff := cmp.Diff(want, channel.Points); diff != "" {
				t.Errorf("%s, channel %d: %s", dir, channel.ID, diff)
			}
		}
	}
	channel := config.Channel{ID: 1, PollGroups: config.PollGroups{"fast": time.Second}, Modbus: config.Modbus{Reads: config.Reads{}.OrDefault()}}
	tables := map[string]string{
		"telemetry": "point_id,signal_name,scale,offset,unit,reverse,data_type,deadband,poll_group\n" +
			"1,\"a, b\",0.1,-40,°C,0,int16,0.5,fast\n2,\"say \"\"c\"\"\",1e-09,0,,0,string,,\n",
		"telemetry_mapping": longHead + "1,1,3,10,int16,BA,,,sunspec\n2,1,4,65535,string,AB,,1,\n",
		"control":           pointHead[:len(pointHead)-1] + ",safe_value,select_timeout\n7,open,1,0,,1,bits,0,1m30s\n",
		"control_mapping":   mappingHead[:len(mappingHead)-1] + ",sentinel\n7,0,22,4,bits,AB,4-7,0x8000\n",
	}
	if err := channel.ParsePoints(tables); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tables, channel.Tables()); diff != "" {
		t.Error(diff)
	}
	channel = config.Channel{ID: 1, Protocol: config.ProtocolVirtual}
	tables = map[string]string{"telemetry": pointHead + "1,a,1,0,kW,0,float\n2,b,1,0,,0,string\n3,c,1,0,,0,\n"}
	if err := channel.ParsePoints(tables); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tables, channel.Tables()); diff != "" {
		t.Error(diff)
	}
	other, err := channel.Revised(map[string]string{"telemetry": pointHead + "1,a,1,0,kW,0,int\n"}, true)
	if err != nil {
		t.Fatal(err)
	}
	want := []config.FieldChange{{Table: "telemetry", Column: "data_type", Before: "float", After: "int"}}
	if got := config.CompareTables(&channel, other); len(got.Changed) != 1 || cmp.Diff(want, got.Changed[0].Fields) != "" {
		t.Errorf("%+v", got)
	}
}

// base is a channel of two points.
func base(t *testing.T) *config.Channel {
	t.Helper()
	channel := config.Channel{ID: 1, Modbus: config.Modbus{Reads: config.Reads{}.OrDefault()}}
	if err := channel.ParsePoints(map[string]string{
		"telemetry":         pointHead[:len(pointHead)-1] + ",deadband\n1,power,0.1,0,kW,0,int16,2\n2,energy,1,0,kWh,0,uint32,\n",
		"telemetry_mapping": mappingHead + "1,1,3,10,int16,AB,\n2,1,3,20,uint32,CDAB,\n",
	}); err != nil {
		t.Fatal(err)
	}
	return &channel
}

// TestTablesAreMerged: rows take the place of those with their id, and columns that
// are left out keep what was there.
func TestTablesAreMerged(t *testing.T) {
	t.Parallel()
	before := base(t)
	after, err := before.Revised(map[string]string{
		"telemetry":         pointHead + "1,power,1,0,kW,0,\n\n3,voltage,1,0,V,0,\n",
		"telemetry_mapping": longHead + "3,1,4,5,uint16,,,,sunspec\n",
		"signal":            pointHead + "1,door,1,0,,1,\n", "signal_mapping": mappingHead + "1,1,2,0,bool,,\n",
	}, true)
	if err != nil {
		t.Fatal(err)
	}
	want := config.TableDifferences{
		Added: []config.PointName{{Type: 'T', ID: 3, Name: "voltage"}, {Type: 'S', ID: 1, Name: "door"}},
		Changed: []config.PointChange{{
			PointName: config.PointName{Type: 'T', ID: 1, Name: "power"},
			Fields:    []config.FieldChange{{Table: "telemetry", Column: "scale", Before: "0.1", After: "1"}},
		}},
		Removed: []config.PointName{}, Unchanged: 1,
	}
	if diff := cmp.Diff(want, config.CompareTables(before, after)); diff != "" {
		t.Error(diff)
	}
	if after.Points[0].Deadband != 2 || len(before.Points) != 2 {
		t.Errorf("%+v", after.Points[0])
	}
	whole, err := before.Revised(map[string]string{
		"telemetry": pointHead + "2,energy,1,0,kWh,0,\n", "telemetry_mapping": mappingHead + "2,1,3,22,int32,CDAB,\n",
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	want = config.TableDifferences{
		Added: []config.PointName{}, Removed: []config.PointName{{Type: 'T', ID: 1, Name: "power"}},
		Changed: []config.PointChange{{
			PointName: config.PointName{Type: 'T', ID: 2, Name: "energy"},
			Fields: []config.FieldChange{
				{Table: "telemetry_mapping", Column: "register_address", Before: "20", After: "22"},
				{Table: "telemetry_mapping", Column: "data_type", Before: "uint32", After: "int32"},
			},
		}},
	}
	if diff := cmp.Diff(want, config.CompareTables(before, whole)); diff != "" {
		t.Error(diff)
	}
}

// TestFaultsOfMergedTables name the line of the table that was given.
func TestFaultsOfMergedTables(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		given map[string]string
		want  []string
	}{
		"rows": {
			map[string]string{"telemetry": pointHead + "1,power,0,0,kW,0,\n\n\n3,a,1,0,V,0,\n3,b,1,0,V,0,\n4,c\n"},
			[]string{
				"points/1/telemetry.csv:2: scale is 0: a value could not be told from its offset, and a write could not be inverted",
				"points/1/telemetry.csv:5: point_id 3 has no row in points/1/telemetry_mapping.csv",
				"points/1/telemetry.csv:6: point_id 3 stands already in line 5: give each point of a table its own",
				"points/1/telemetry.csv:7: 3 columns where the first line names 8",
			},
		},
		"a name that there is": {
			map[string]string{"telemetry": pointHead + "3,energy,1,0,,0,", "telemetry_mapping": mappingHead + "3,1,3,0,uint16,,\n"},
			[]string{`points/1/telemetry.csv: beside the rows that the channel has already: signal_name "energy" is already used at points/1/telemetry.csv:2: names are unique in a channel`},
		},
		"another table":  {map[string]string{"points": "x"}, []string{`points/1/: there is no table "points": the tables are telemetry, telemetry_mapping, signal, signal_mapping, control, control_mapping, adjustment, adjustment_mapping`}},
		"no table":       {map[string]string{"telemetry": "\x00"}, []string{"points/1/telemetry.csv:1: column 1: a NUL byte: this is not a text file, save the table as CSV in UTF-8"}},
		"quote":          {map[string]string{"telemetry": pointHead + "1,\"a,1"}, []string{`points/1/telemetry.csv:2: column 7: extraneous or missing " in quoted-field`}},
		"no columns":     {map[string]string{"telemetry": "\ufeffid\n1\n"}, nil},
		"unknown column": {map[string]string{"telemetry_mapping": "point_id,where\n1,2\n"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			after, err := base(t).Revised(test.given, true)
			got := details(t, err)
			if test.want != nil {
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
			}
			if len(got) == 0 || cmp.Diff(base(t).Points, after.Points) != "" {
				t.Errorf("accepted, or applied in part: %q", got)
			}
		})
	}
}
