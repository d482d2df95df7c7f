package comsrv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestAChannelThroughTheAPIAlone is validated, made, polled, browsed, written,
// stopped, started, replaced and removed, and another one misses no poll of it.
func TestAChannelThroughTheAPIAlone(t *testing.T) {
	t.Parallel()
	stable, d := newDevice(t), newDevice(t)
	d.float(0, 21.5)
	p, f := newFolderPlant(t)
	f.channels(f.field(1, stable, ""))
	p.site, _ = p.readSite()
	p.start()
	other := p.watch(1, stable)

	// Bad: everything that is wrong is told with its place, and nothing is there.
	bad := documentOf(t, 7, d, func(document map[string]any) {
		document["adr"] = "x"
	})
	p.Refused(http.MethodPost, "/api/channels/validate", bad, http.StatusBadRequest, ems.CodeInvalid, `channel:1: unknown key "adr"`)
	bad = documentOf(t, 7, d, func(document map[string]any) {
		document["poll_period"] = "1ms"
		tables := document["points"].(map[string]string)
		tables["telemetry"] = powerTable + "2,x,0,0,,,\n"
		tables["control"], tables["sums"] = "point_id\n", ""
	})
	_, reply := p.call(http.MethodPost, "/api/channels/validate", bad)
	want := []string{
		"channel:1: points.sums: no table has this name: use one of telemetry, telemetry_mapping, signal, signal_mapping, control, control_mapping, adjustment, adjustment_mapping",
		"channel:1: poll_period: 1ms is not between 10ms and 24h0m0s",
		`points/7/control.csv:1: column "signal_name" is missing`,
	}
	for _, fault := range append(want, "points/7/telemetry.csv:3: scale is 0: a value could not be told from its offset, and a write could not be inverted",
		"points/7/telemetry.csv:3: point_id 2 has no row in points/7/telemetry_mapping.csv") {
		if !strings.Contains(strings.Join(reply.Error.Details, "\n"), fault) {
			t.Errorf("%q is not told in %q", fault, reply.Error.Details)
		}
	}
	p.Refused(http.MethodPost, "/api/channels", bad, http.StatusBadRequest, ems.CodeInvalid, "faults")
	p.Refused(http.MethodGet, "/api/channels/7", "", http.StatusNotFound, ems.CodeNotFound, "there is no channel 7")

	good := documentOf(t, 7, d, nil)
	for _, path := range []string{"/api/channels/validate", "/api/channels?dry_run=true"} {
		status, reply := p.call(http.MethodPost, path, good)
		if would := decode[trial](t, reply); status != http.StatusOK || !would.DryRun || would.Channel.Points["A"] != 1 || len(would.Changes.Added) != 1 {
			t.Errorf("%d %+v", status, would)
		}
	}
	p.wantNothingOf(7)
	if d.polled() != 0 {
		t.Error("a dry run asked the device")
	}

	status, reply := p.call(http.MethodPost, "/api/channels", good)
	if view := decode[channelView](t, reply); status != http.StatusCreated || view.ID != 7 || view.Origin != "api" || !view.Enabled {
		t.Fatalf("%d %+v", status, view)
	}
	p.awaitPoint(7, "T", 21.5)
	status, reply = p.call(http.MethodPost, "/api/channels/7/points/A/1", `{"value": 30}`)
	if result := decode[ems.CommandResult](t, reply); status != http.StatusOK || result.State != ems.CommandDone || *result.ReadBack != 30 {
		t.Errorf("%d %+v", status, result)
	}
	status, reply = p.call(http.MethodPost, "/api/channels/7/stop", "")
	view := decode[channelView](t, reply)
	if status != http.StatusOK || view.Enabled || !view.Switched || view.Reason != "the channel was stopped by hand" {
		t.Errorf("%d %+v", status, view)
	}
	p.awaitStatus(7, false, "the channel was stopped by hand")
	p.Refused(http.MethodPost, "/api/channels/7/points/A/1", `{"value": 31}`, http.StatusConflict, ems.CodeConflict, "channel 7 is not run: the channel was stopped by hand; start it with POST /api/channels/7/start")
	d.float(0, 22)
	status, reply = p.call(http.MethodPost, "/api/channels/7/start", "")
	if view := decode[channelView](t, reply); status != http.StatusOK || !view.Enabled || view.Switched {
		t.Errorf("%d %+v", status, view)
	}
	p.awaitPoint(7, "T", 22)

	// Another table in its place: what the new one lacks is not shown as if it lived.
	without := documentOf(t, 7, d, func(document map[string]any) {
		document["points"] = map[string]string{"telemetry": powerTable, "telemetry_mapping": powerMapping}
	})
	p.Refused(http.MethodPut, "/api/channels/8", without, http.StatusBadRequest, ems.CodeInvalid, "id 7 in the body is not 8 as in the path")
	p.Refused(http.MethodPost, "/api/channels", without, http.StatusConflict, ems.CodeConflict, "there is a channel 7 already")
	if status, reply := p.call(http.MethodPut, "/api/channels/7", without); status != http.StatusOK {
		t.Errorf("%d %+v", status, reply.Error)
	}
	if diff := cmp.Diff(map[string]string{}, p.hash("comsrv:7:A")); diff != "" {
		t.Error(diff)
	}
	d.float(0, 23)
	p.awaitPoint(7, "T", 23)

	status, reply = p.call(http.MethodDelete, "/api/channels/7", "")
	if done := decode[differences](t, reply); status != http.StatusOK || len(done.Removed) != 1 || len(done.Unchanged) != 1 {
		t.Errorf("%d %+v", status, done)
	}
	p.wantNothingOf(7)
	p.Refused(http.MethodDelete, "/api/channels/7", "", http.StatusNotFound, ems.CodeNotFound, "there is no channel 7")
	if diff := cmp.Diff([]string{"6@10=60"}, d.written()); diff != "" {
		t.Error(diff)
	}
	other.undisturbed()
}

// awaitPoint waits until the only point of a type has a value.
func (p *plant) awaitPoint(id ems.ChannelID, kind string, value float64) {
	p.t.Helper()
	p.eventually(func() error {
		_, reply := p.call(http.MethodGet, fmt.Sprintf("/api/channels/%d/points?type=%s", id, kind), "")
		points := decode[[]pointView](p.t, reply)
		if len(points) != 1 || points[0].Value == nil || *points[0].Value != value || points[0].Quality != ems.Good {
			return fmt.Errorf("%s", reply.Data)
		}
		return nil
	}, fmt.Sprintf("channel %d %s is %v", id, kind, value))
}

// TestChannelsOfADeviceWriteNothingTwice: whoever asks for a second point that writes
// the same is told, and nothing changes.
func TestChannelsOfADeviceWriteNothingTwice(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p, f := newFolderPlant(t)
	f.channels(f.field(1, d, ""))
	p.site, _ = p.readSite()
	p.start()
	const twice = "A:1 (limit) writes to 10 of unit 1, as A:1 (limit) of channel 1 does at the same device"
	again := documentOf(t, 7, d, func(document map[string]any) {
		document["address"] = strings.Replace(d.address, "127.0.0.1", "localhost", 1)
		document["points"].(map[string]string)["adjustment_mapping"] = limitMapping
	})
	p.Refused(http.MethodPost, "/api/channels/validate", again, http.StatusBadRequest, ems.CodeInvalid, twice)
	p.Refused(http.MethodPost, "/api/channels", again, http.StatusBadRequest, ems.CodeInvalid, twice)
	p.ok(http.MethodPost, "/api/channels", documentOf(t, 7, d, nil))
	p.Refused(http.MethodPut, "/api/channels/7", again, http.StatusBadRequest, ems.CodeInvalid, twice)
	f.write("points/1/adjustment_mapping.csv", onUnit(7, limitMapping))
	p.Refused(http.MethodPost, "/api/channels/reload", "", http.StatusConflict, ems.CodeConflict,
		"A:1 (limit) writes to 10 of unit 7, as A:1 (limit) of channel 1 does at the same device")
	p.ok(http.MethodDelete, "/api/channels/7", "")
	p.reload()
}

// TestWhatDoesNotFitHeals with the reload of a site that it fits. Until then it may be
// stopped, which holds, and not be started; a document set aside is not looked at.
func TestWhatDoesNotFitHeals(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p, f := newFolderPlant(t)
	variable := ""
	p.readSite = func() (*config.Site, error) { return config.ReadSite(f.dir, []string{variable}, Protocols()) }
	p.start()
	p.ok(http.MethodPost, "/api/channels", documentOf(t, 7, d, nil))
	p.stop()
	variable = "COMSRV_CHANNEL_7_ADDRESS=nowhere"
	p.site, _ = p.readSite()
	p.start()
	shown := func() channelView {
		_, reply := p.call(http.MethodGet, "/api/channels/7", "")
		return decode[channelView](t, reply)
	}
	const fault = `environment: COMSRV_CHANNEL_7_ADDRESS: "nowhere" is not host:port`
	if view := shown(); view.Enabled || !strings.HasPrefix(view.Reason, "it cannot be used: "+fault) {
		t.Errorf("%+v", view)
	}
	p.Refused(http.MethodPost, "/api/channels/7/start", "", http.StatusBadRequest, ems.CodeInvalid, fault)
	p.ok(http.MethodPost, "/api/channels/7/stop", "")
	if view := shown(); !view.Switched || !strings.HasPrefix(view.Reason, "it cannot be used: ") {
		t.Errorf("%+v", view)
	}
	p.reload()
	p.stop()
	variable = ""
	p.start()
	if got := p.reload(); fmt.Sprint(got.Changed) != "[7]" {
		t.Errorf("%+v", got)
	}
	if view := shown(); view.Enabled || !view.Switched {
		t.Errorf("%+v", view)
	}
	p.ok(http.MethodPost, "/api/channels/7/start", "")
	p.awaitStatus(7, true, "")
	variable = "COMSRV_CHANNEL_7_ADDRESS=nowhere"
	p.Refused(http.MethodPost, "/api/channels/reload", "", http.StatusConflict, ems.CodeConflict, "it leaves another channel unfit: channel 7: "+fault)
	f.channels("  - {id: 7, name: folder, protocol: virtual}")
	if got := p.reload(); fmt.Sprint(got.Changed, got.Aside) != "[7] [7]" {
		t.Errorf("%+v", got)
	}
	p.ok(http.MethodPost, "/api/channels/7/stop", "")
	if view := shown(); view.Enabled || !view.Switched || view.Name != "folder" {
		t.Errorf("%+v", view)
	}
}

// TestAModelHoldsTheFolder: a reload takes nothing away that a model made through the
// API names. Models of the folder change with it.
func TestAModelHoldsTheFolder(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p, f := newFolderPlant(t)
	whole := f.field(1, d, "")
	f.channels(whole)
	p.site, _ = p.readSite()
	p.start()
	for _, model := range []ems.Model{
		{ID: "api-m", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"power": "1"}}},
		{ID: "folder", Mapping: ems.ModelMapping{Channel: 1, Data: map[string]ems.ModelPoint{"power": "1"}}},
	} {
		if err := p.DB.UpsertModel(t.Context(), model); err != nil {
			t.Fatal(err)
		}
	}
	f.write("points/1/telemetry.csv", strings.Replace(powerTable, "1,power", "2,power", 1))
	f.write("points/1/telemetry_mapping.csv", strings.Replace(powerMapping, "1,1,3", "2,1,3", 1))
	p.Refused(http.MethodPost, "/api/channels/reload", "", http.StatusConflict, ems.CodeConflict, "model api-m names comsrv:1:T:1: change or remove the model first")
	f.channels()
	p.Refused(http.MethodPost, "/api/channels/reload?dry_run=true", "", http.StatusConflict, ems.CodeConflict, "model api-m names channel 1")
	p.awaitStatus(1, true, "")
	if err := p.DB.DeleteModel(t.Context(), "api-m"); err != nil {
		t.Fatal(err)
	}
	f.channels(whole)
	if got := p.reload(); fmt.Sprint(got.Changed) != "[1]" {
		t.Errorf("%+v", got)
	}
	f.channels()
	p.reload()
}

// TestNothingStaysOfAPollGroup that a change took away: neither its series nor what
// Redis holds of it.
func TestNothingStaysOfAPollGroup(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p, f := newFolderPlant(t)
	grouped := func(groups string) {
		f.channels(f.field(1, d, ", poll_groups: "+groups))
		table := "point_id,signal_name,scale,offset,unit,reverse,data_type,poll_group\n1,power,1,0,kW,,,fast\n2,energy,1,0,kWh,,,"
		if strings.Contains(groups, "slow") {
			table += "slow"
		}
		f.write("points/1/telemetry.csv", table+"\n")
		f.write("points/1/telemetry_mapping.csv", powerMapping+"2,1,3,2,float32,ABCD,\n")
	}
	holds := func(want ...string) {
		t.Helper()
		p.eventually(func() error {
			var got []string
			fields, err := p.Raw.HKeys(context.Background(), "comsrv:1:status").Result()
			for _, field := range fields {
				if strings.Contains(field, ":") {
					got = append(got, field)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				return errors.Join(err, errors.New(diff))
			}
			return err
		}, "the poll groups in Redis")
	}
	overruns := func() (count int) {
		for _, series := range p.seriesOf(1) {
			if series.name == "voltage_comsrv_overruns_total" {
				count++
			}
		}
		return count
	}
	grouped("{fast: 150ms, slow: 200ms}")
	p.site, _ = p.readSite()
	p.start()
	holds("group:default", "group:fast", "group:slow", "stale_after_ms:fast", "stale_after_ms:slow")
	if got := overruns(); got != 3 {
		t.Errorf("%d series", got)
	}
	grouped("{fast: 150ms}")
	p.reload()
	holds("group:default", "group:fast", "stale_after_ms:fast")
	if got := overruns(); got != 2 {
		t.Errorf("%d series", got)
	}
}

// What a person has switched stays so over a restart, also when the document that was
// set aside is removed: the channel of the folder goes on, switched as it was.
func TestASwitchOutlivesADocumentSetAside(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.site = siteOf(nil)
	p.readSite = func() (*config.Site, error) { return p.site, nil }
	p.start()
	ask := func(method, path, body string, want int) {
		t.Helper()
		if status, reply, err := p.request(method, "/api/channels"+path, body); err != nil || status != want {
			t.Fatalf("%s %s: %d %+v, %v", method, path, status, reply.Error, err)
		}
	}
	ask(http.MethodPost, "", said{"a", false}.document(4), http.StatusCreated)
	ask(http.MethodPost, "/4/start", "", http.StatusOK)
	p.site = siteOf(map[ems.ChannelID]said{4: {"b", false}})
	ask(http.MethodPost, "/reload", "", http.StatusOK)
	ask(http.MethodDelete, "/4", "", http.StatusOK)
	p.stop()
	p.start()
	switches, err := p.DB.Switches(t.Context())
	if diff := cmp.Diff(map[ems.ChannelID]bool{4: true}, switches); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
