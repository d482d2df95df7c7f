package comsrv

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// crashSite is a site folder with one adjustment, A:1, of a device.
func crashSite(t *testing.T, address string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"site.yaml": "site: {name: crash}\n",
		"channels.yaml": "channels: [{id: 1, name: device, protocol: modbus_tcp, address: " + address + ", poll_period: 2s, timeout: 2s, " +
			"safe_state: {A:1: 1}}]\n",
		"points/1/adjustment.csv":         "point_id,signal_name,scale,offset,unit,reverse,data_type,safe_value\n1,limit,0.5,0,kW,0,float,3\n",
		"points/1/adjustment_mapping.csv": "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n1,1,6,10,uint16,AB,\n",
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

// TestProcess holds comsrv to what it promises of its end, as a process of its own.
func TestProcess(t *testing.T) {
	t.Parallel()
	voltage := testkit.Build(t, "github.com/voltageems/voltageems-go/system/cmd/voltage")
	t.Run("at most once over crashes", func(t *testing.T) { atMostOnceOverCrashes(t, voltage) })
	t.Run("values turn stale by themselves", func(t *testing.T) { valuesTurnStale(t, voltage) })
}

// process starts comsrv with a site folder as a process of its own.
func (p *plant) process(voltage, site string) *testkit.Program {
	p.t.Helper()
	return testkit.StartProgram(p.t, "/bin/sh", "-c", fmt.Sprintf(
		"COMSRV_LISTEN=$0 VOLTAGE_REDIS_URL=%s exec %s serve --site %s --target=comsrv", p.Redis.URL, voltage, site))
}

// atMostOnceOverCrashes kills the process of comsrv again and again in the
// midst of writes. No command reaches the device twice, each has an end that fits
// to what the device saw, and a value that was to hold for a time is followed by
// the safe one, once, though comsrv was down when it was due.
func atMostOnceOverCrashes(t *testing.T, voltage string) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t)
	comsrv := p.process(voltage, crashSite(t, d.address))
	const rounds, each = 8, 20
	asked := map[string]ems.Command{} // by what the device is written
	for round := range rounds {
		before := len(d.written())
		for i := range each {
			raw := 100 + round*each + i
			one := command(fmt.Sprintf("c%d", raw), ems.Adjustment, 1, float64(raw)/2)
			asked[fmt.Sprintf("6@10=%d", raw)] = one
			p.send(one)
		}
		p.eventually(func() error { // every round at another moment
			if written := len(d.written()) - before; written <= 2*round {
				return fmt.Errorf("%d writes", written)
			}
			return nil
		}, "some writes")
		comsrv.Kill()
		comsrv.Start()
	}
	states := map[ems.CommandState]int{}
	for write, one := range asked {
		state, times := p.await(one.ID).State, d.count(write)
		states[state]++
		if times > 1 || state == ems.CommandDone && times != 1 || state == ems.CommandExpired && times != 0 || state == ems.CommandFailed && times != 0 {
			t.Errorf("%s is %s and reached the device %d times", one.ID, state, times)
		}
	}
	t.Logf("%v", states)
	// Beside what a kill cut off, what a busy machine was late with is unknown too.
	if states[ems.CommandDone] < rounds || states[ems.CommandUnknown] > len(asked)/4 {
		t.Errorf("%v", states)
	}

	p.done(holding("held", 1, 50, 300*time.Millisecond))
	comsrv.Kill()
	passed(time.Now().Add(300 * time.Millisecond))
	if times := d.count("6@10=6"); times != 0 {
		t.Fatalf("the safe value was written %d times before comsrv was lost", times)
	}
	comsrv.Start()
	p.awaitShown("1", "3.000000")
	p.awaitNoHolds()
	comsrv.Kill()
	comsrv.Start()
	p.done(command("last", ems.Adjustment, 1, 60))
	if times := d.count("6@10=6"); times != 1 {
		t.Errorf("the safe value was written %d times", times)
	}
	if times := d.count("6@10=2"); times != 0 {
		t.Errorf("a crash wrote the safe state of an orderly end %d times", times)
	}
}
