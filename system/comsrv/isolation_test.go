package comsrv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// TestDevicesInTroubleCostTheirChannelsAlone: at some addresses nobody listens, some
// devices never answer, some answer a byte every second. The polls of all others
// come in each period, while those devices are still waited for.
func TestDevicesInTroubleCostTheirChannelsAlone(t *testing.T) {
	t.Parallel()
	const (
		sound   = 32
		each    = 3 // of every trouble
		periods = 6
		period  = 10 * time.Second
	)
	clock := ems.NewManualClock(time.Now())
	devices := make([]*device, sound+3*each)
	trouble := make([]string, len(devices))
	channels := make([]config.Channel, len(devices))
	for i := range devices {
		d := newDevice(t)
		// In turn, so that the troubled ones are not the last to be asked.
		place := (i*7 + 3) % len(devices)
		devices[place], channels[place] = d, field(ems.ChannelID(place+1), d.address, telemetry(2)...)
		channels[place].PollPeriod, channels[place].Timeout = period, time.Minute
		if i < sound {
			continue
		}
		switch trouble[place] = []string{"dead", "hung", "dripping"}[i%3]; trouble[place] {
		case "dead":
			d.off()
		case "hung":
			d.silent[3] = true
		default:
			// No timeout is as long as all of such an answer takes.
			d.drips, channels[place].Points = true, telemetry(60)
		}
	}
	p := newPlant(t, channels...)
	p.clock = clock
	p.start()
	shown := func(i int) (rtdb.ChannelStatus, []groupState) {
		return p.service.commands.roster.Load().byID[ems.ChannelID(i+1)].shown()
	}
	first := make([]int, len(devices))
	for passed := range periods + 1 {
		if passed > 0 {
			clock.Advance(period)
		}
		for i, d := range devices {
			if trouble[i] != "" {
				continue
			}
			p.eventually(func() error {
				_, groups := shown(i)
				polls := d.polled()
				if passed == 0 && polls == 0 {
					clock.Advance(period / 1000) // to its first slot
				}
				if polls == 0 || polls != first[i]+passed && passed > 0 || !groups[0].due.After(clock.Now()) {
					return fmt.Errorf("%d polls after %d, the next is due at %v", polls, first[i], groups[0].due)
				}
				return nil
			}, fmt.Sprintf("channel %d is polled in period %d", i+1, passed))
		}
		if passed == 0 {
			for i, d := range devices {
				first[i] = d.polled()
			}
		}
	}
	for i, d := range devices {
		status, groups := shown(i)
		switch {
		case trouble[i] == "":
			if !status.Online || status.Errors != 0 || groups[0].missed != 0 {
				t.Errorf("channel %d: %+v, %d polls left out", i+1, status, groups[0].missed)
			}
		case status.Online:
			t.Errorf("channel %d of a %s device is online", i+1, trouble[i])
		case trouble[i] != "dead" && d.polled() != 1: // it is waited for all the while
			t.Errorf("channel %d: a %s device was asked %d times", i+1, trouble[i], d.polled())
		}
	}
}

// TestADriverProcessCostsItsChannelAlone: it hangs, it crashes, it is away, and the
// polls of another channel go on as if nothing were; it comes back, and its channel
// does too.
func TestADriverProcessCostsItsChannelAlone(t *testing.T) {
	t.Parallel()
	driver := testkit.StartProgram(t, testkit.Build(t, "github.com/voltageems/voltageems-go/system/comsrv/protocol/grpc/example"), "--listen")
	folder := t.TempDir()
	hold := func(text string) {
		if err := os.WriteFile(filepath.Join(folder, "level"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hold("7")
	d := newDevice(t)
	far := field(2, driver.Addr, plain(ems.Telemetry, 1, "level"))
	far.Timeout = 2 * time.Second
	far.Protocol, far.GRPC = "grpc", config.GRPC{Settings: map[string]string{"folder": folder}}
	p := newPlant(t, field(1, d.address, telemetry(1)...), far)
	p.start()
	p.awaitHash("comsrv:2:T", map[string]string{"1": "7.000000"})
	round := 0
	undisturbed := func(during string) {
		t.Helper()
		before := d.polled()
		for range 5 { // what the device holds comes through, each time
			round++
			d.float(0, float32(round))
			p.awaitHash("comsrv:1:T", map[string]string{"1": fmt.Sprintf("%d.000000", round)})
		}
		p.eventually(func() error {
			if polls := d.polled() - before; polls < 20 {
				return fmt.Errorf("%d polls", polls)
			}
			return nil
		}, during+": polls of the other channel")
		p.eventually(func() error {
			status, err := p.DB.Status(t.Context(), 1)
			if err == nil && (!status.Online || status.Errors != 0 || time.Since(status.LastSuccess) > status.StaleAfter) {
				err = fmt.Errorf("%+v", status)
			}
			return err
		}, during+": the other channel is online, without a failed poll, and fresh")
	}
	undisturbed("sound")
	for _, trouble := range []struct {
		name, reason string
		begin, end   func()
	}{
		{"hangs", "did not answer within 2s", driver.Freeze, driver.Thaw},
		{"crashed", "cannot be reached: ", driver.Kill, driver.Start},
	} {
		trouble.begin()
		p.eventually(func() error {
			status, err := p.DB.Status(t.Context(), 2)
			if err == nil && (status.Online || !strings.Contains(status.Reason, trouble.reason)) {
				err = fmt.Errorf("%+v", status)
			}
			return err
		}, trouble.name+": the channel of the driver process is not online")
		p.awaitQuality(2, ems.Telemetry, ems.Bad, 1)
		undisturbed(trouble.name)
		hold(fmt.Sprint(len(trouble.name)))
		trouble.end()
		p.awaitStatus(2, true, "")
		p.awaitHash("comsrv:2:T", map[string]string{"1": fmt.Sprintf("%d.000000", len(trouble.name))})
		p.awaitQuality(2, ems.Telemetry, ems.Good, 1)
	}
}
