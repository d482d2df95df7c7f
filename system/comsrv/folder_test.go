package comsrv

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// The tables of one telemetry and one adjustment, as text.
const (
	powerTable   = "point_id,signal_name,scale,offset,unit,reverse,data_type\n1,power,1,0,kW,,\n"
	powerMapping = "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n1,1,3,0,float32,ABCD,\n"
	limitTable   = "point_id,signal_name,scale,offset,unit,reverse,data_type\n1,limit,0.5,0,kW,,\n"
	limitMapping = "point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n1,1,6,10,uint16,AB,\n"
)

// folder is a site folder that a test writes.
type folder struct {
	t   *testing.T
	dir string
}

// newFolderPlant returns a plant that has its channels from a folder.
func newFolderPlant(t *testing.T, channels ...string) (*plant, *folder) {
	t.Helper()
	f := &folder{t: t, dir: t.TempDir()}
	f.write("site.yaml", "site: {name: test}\n")
	f.channels(channels...)
	p := newPlant(t)
	p.readSite = func() (*config.Site, error) {
		site, err := config.ReadSite(f.dir, nil, Protocols())
		if err == nil { // a busy machine takes longer than the poll period, which bounds the timeout in a file
			for i := range site.Channels {
				site.Channels[i].Timeout = 10 * time.Second
			}
		}
		return site, err
	}
	site, err := p.readSite()
	if err != nil {
		t.Fatal(err)
	}
	p.site = site
	return p, f
}

func (f *folder) write(name, text string) {
	f.t.Helper()
	path := filepath.Join(f.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// channels writes channels.yaml of entries that are written in one line each.
func (f *folder) channels(entries ...string) {
	f.t.Helper()
	f.write("channels.yaml", "channels:\n"+strings.Join(append(entries, ""), "\n"))
}

// onUnit is a mapping table of a unit that has the number of its channel: what two
// channels of a device write are two things.
func onUnit(id ems.ChannelID, mapping string) string {
	return strings.Replace(mapping, "\n1,1,", fmt.Sprintf("\n1,%d,", id), 1)
}

// field writes the entry of a channel of a device, and its tables.
func (f *folder) field(id ems.ChannelID, d *device, more string) string {
	for name, text := range map[string]string{
		"telemetry": powerTable, "telemetry_mapping": onUnit(id, powerMapping), "adjustment": limitTable, "adjustment_mapping": onUnit(id, limitMapping),
	} {
		f.write(fmt.Sprintf("points/%d/%s.csv", id, name), text)
	}
	return fmt.Sprintf("  - {id: %d, name: c%d, protocol: modbus_tcp, address: %q, poll_period: 100ms, timeout: 100ms%s}", id, id, d.address, more)
}

// documentOf is the document of a channel of a device, as JSON.
func documentOf(t *testing.T, id ems.ChannelID, d *device, change func(document map[string]any)) string {
	t.Helper()
	document := map[string]any{
		"id": id, "name": fmt.Sprintf("c%d", id), "protocol": "modbus_tcp", "address": d.address, "poll_period": "100ms", "timeout": "100ms",
		"points": map[string]string{
			"telemetry": powerTable, "telemetry_mapping": onUnit(id, powerMapping), "adjustment": limitTable, "adjustment_mapping": onUnit(id, limitMapping),
		},
	}
	if change != nil {
		change(document)
	}
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// witness watches a channel that must not notice what is done to others.
type witness struct {
	p        *plant
	d        *device
	id       ems.ChannelID
	began    time.Time
	polls    int
	overruns float64
	accepted int
}

func (p *plant) watch(id ems.ChannelID, d *device) *witness {
	p.t.Helper()
	p.awaitStatus(id, true, "")
	w := &witness{p: p, d: d, id: id, began: time.Now(), polls: d.polled(), overruns: p.count("voltage_comsrv_overruns_total", id)}
	d.set(func() { w.accepted = d.accepted })
	return w
}

// undisturbed makes sure that every slot since the beginning had its poll, but for
// those that a busy machine was too slow for, and that the connection is the same.
// Each poll is one request.
func (w *witness) undisturbed() {
	w.p.t.Helper()
	due := int(time.Since(w.began) / (100 * time.Millisecond))
	if w.p.count("voltage_comsrv_modbus_failures_total", w.id) > 0 { // then there were pauses
		due = 0
	}
	if polls := w.d.polled() - w.polls + int(w.p.count("voltage_comsrv_overruns_total", w.id)-w.overruns); polls < due-1 {
		w.p.t.Errorf("channel %d: %d polls of %d that were due", w.id, polls, due)
	}
	w.connected(w.id)
}

// connected makes sure that the connection of some channels is the same as before,
// unless the device was too slow for them.
func (w *witness) connected(channels ...ems.ChannelID) {
	w.p.t.Helper()
	more, slow := 0, 0.0
	w.d.set(func() { more = w.d.accepted - w.accepted })
	for _, id := range channels {
		slow += w.p.count("voltage_comsrv_modbus_failures_total", id)
	}
	if float64(more) > slow {
		w.p.t.Errorf("%d more connections, and %v requests that had no answer", more, slow)
	}
}

// count adds all series of a name that a channel has.
func (p *plant) count(name string, channel ems.ChannelID) (sum float64) {
	p.t.Helper()
	for _, metric := range p.seriesOf(channel) {
		if metric.name == name {
			sum += metric.value
		}
	}
	return sum
}

// metric is one series and what it counts, if it is a counter.
type metric struct {
	name  string
	value float64
}

// seriesOf returns all series that a channel has.
func (p *plant) seriesOf(channel ems.ChannelID) (found []metric) {
	p.t.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, family := range families {
		for _, one := range family.GetMetric() {
			for _, label := range one.GetLabel() {
				if label.GetName() == "channel" && label.GetValue() == fmt.Sprint(channel) {
					found = append(found, metric{family.GetName(), one.GetCounter().GetValue()})
				}
			}
		}
	}
	return found
}

// wantNothingOf makes sure that nothing is left of a channel in Redis, but for the
// memory of its commands, which ends by itself.
func (p *plant) wantNothingOf(id ems.ChannelID) {
	p.t.Helper()
	keys, err := p.Raw.Keys(p.t.Context(), fmt.Sprintf("comsrv:%d:*", id)).Result()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, key := range keys {
		if !strings.Contains(key, ":command:") {
			p.t.Errorf("redis still holds %s", key)
		}
	}
	if known, err := p.Raw.SIsMember(p.t.Context(), "comsrv:channels", uint32(id)).Result(); known || err != nil {
		p.t.Errorf("redis still knows channel %d: %v", id, err)
	}
	if left := p.seriesOf(id); len(left) != 0 {
		p.t.Errorf("series of channel %d: %v", id, left)
	}
}

// reload puts the folder in use.
func (p *plant) reload() differences {
	p.t.Helper()
	status, reply := p.call(http.MethodPost, "/api/channels/reload", "")
	if status != http.StatusOK {
		p.t.Fatalf("%d %+v", status, reply.Error)
	}
	return decode[differences](p.t, reply)
}
