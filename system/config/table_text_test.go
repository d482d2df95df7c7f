package config_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

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
