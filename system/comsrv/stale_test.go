package comsrv

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// staleSite is a site of one channel with a point in each of three poll groups.
func staleSite(t *testing.T, address string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"site.yaml": "site: {name: stale}\n",
		"channels.yaml": "channels: [{id: 1, name: device, protocol: modbus_tcp, address: '" + address + "', timeout: 50ms, " +
			"poll_period: 1s, poll_groups: {fast: 100ms, slow: 1m}}]\n",
		"points/1/telemetry.csv": "point_id,signal_name,scale,offset,unit,reverse,data_type,poll_group\n" +
			"1,current,1,0,A,0,float,fast\n2,power,1,0,kW,0,float,\n3,energy,1,0,kWh,0,float,slow\n",
		"points/1/telemetry_mapping.csv": "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n" +
			"1,1,3,0,float32,ABCD,\n2,1,3,100,float32,ABCD,\n3,1,3,200,float32,ABCD,\n",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// staleness is how long the values of each poll group of staleSite stay fresh, by
// the id of their point.
var staleness = map[ems.PointID]struct {
	group string
	after time.Duration
}{
	1: {"fast", 250 * time.Millisecond}, 2: {"default", 2050 * time.Millisecond}, 3: {"slow", 2*time.Minute + 50*time.Millisecond},
}

// wantStaleness expects of what lies in Redis, whoever left it there, that each
// value turns stale by itself in its own time. It returns the state of the channel.
func (p *plant) wantStaleness() (online bool, reason string) {
	p.t.Helper()
	if err := p.Raw.Ping(p.t.Context()).Err(); err != nil { // what was sent before has been stored
		p.t.Fatal(err)
	}
	status, err := p.DB.Status(p.t.Context(), 1)
	if err != nil {
		p.t.Fatal(err)
	}
	clock := ems.NewManualClock(epoch)
	reader := p.Open(clock)
	for id, of := range staleness {
		last := status.Groups[of.group].LastSuccess
		if last.IsZero() || status.Groups[of.group].StaleAfter != of.after {
			p.t.Fatalf("group %s: %+v", of.group, status.Groups[of.group])
		}
		for late, want := range map[time.Duration]ems.Quality{0: ems.Good, time.Millisecond: ems.Stale} {
			clock.Advance(last.Add(of.after + late).Sub(clock.Now())) // back, too
			values, err := reader.ReadPoints(p.t.Context(), 1, ems.Telemetry, []ems.PointID{id})
			if err != nil {
				p.t.Fatal(err)
			}
			if values[0].Quality != want || values[0].Number != float64(id) {
				p.t.Errorf("group %s, %v after its time: %+v, want %s", of.group, late, values[0], want)
			}
		}
	}
	return status.Online, status.Reason
}

// awaitAllGood waits until each value of staleSite was read since a time.
func (p *plant) awaitAllGood(since time.Time) {
	p.t.Helper()
	p.eventually(func() error {
		status, err := p.DB.Status(p.t.Context(), 1)
		if err != nil {
			return err
		}
		for _, of := range staleness {
			if last := status.Groups[of.group].LastSuccess; last.Before(since) || !status.Online {
				return fmt.Errorf("group %s was read last at %v", of.group, last)
			}
		}
		if marks := p.hash("comsrv:1:T:q"); len(marks) > 0 {
			return fmt.Errorf("%v", marks)
		}
		return nil
	}, "all groups are read")
}

// valuesTurnStale: when comsrv is stopped, when it hangs and when it
// is killed, each value is good up to the end of its group's own time and stale from
// then on, whatever Redis was told last.
func valuesTurnStale(t *testing.T, voltage string) {
	t.Parallel()
	d := newDevice(t)
	for i := range 3 {
		d.float(uint16(100*i), float32(i+1))
	}
	p := newPlant(t)
	dir := staleSite(t, d.address)
	site, err := config.ReadSite(dir, nil, Protocols())
	if err != nil {
		t.Fatal(err)
	}
	p.site = site
	p.start()
	p.awaitAllGood(time.Time{})
	p.stop()
	if online, reason := p.wantStaleness(); online || reason != "comsrv was stopped" {
		t.Errorf("online %v, %q", online, reason)
	}

	began := time.Now()
	comsrv := p.process(voltage, dir)
	p.awaitAllGood(began)
	comsrv.Freeze()
	if online, _ := p.wantStaleness(); !online {
		t.Error("who hangs says that the device is away")
	}
	comsrv.Thaw()
	p.awaitAllGood(began)
	comsrv.Kill()
	p.wantStaleness()
	if diff := cmp.Diff(map[string]string{"1": "1.000000", "2": "2.000000", "3": "3.000000"}, p.hash("comsrv:1:T")); diff != "" {
		t.Error(diff)
	}
}
