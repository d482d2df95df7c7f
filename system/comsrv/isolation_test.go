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
	"github.com/voltageems/voltageems-go/system/testkit"
)

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
