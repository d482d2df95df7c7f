package comsrv

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// looks is what anybody may know of a channel.
type looks struct {
	Name     string
	Enabled  bool
	Origin   string
	Switched bool
	Aside    bool
}

// said is a channel as the site folder or a document has it.
type said struct {
	name    string
	enabled bool
}

// models is the plain reference of what the channels are.
type models struct {
	p        *plant
	site     map[ems.ChannelID]said
	made     map[ems.ChannelID]said
	switches map[ems.ChannelID]bool
}

func (m *models) says(id ems.ChannelID) (said, bool) {
	if one, inSite := m.site[id]; inSite {
		return one, true
	}
	one, made := m.made[id]
	return one, made
}

// settle forgets switches that say what the channel says.
func (m *models) settle() {
	for id, enabled := range m.switches {
		if one, found := m.says(id); !found || one.enabled == enabled {
			delete(m.switches, id)
		}
	}
}

func (m *models) want() map[ems.ChannelID]looks {
	all := map[ems.ChannelID]looks{}
	for id, one := range m.made {
		all[id] = looks{Name: one.name, Enabled: one.enabled, Origin: "api"}
	}
	for id, one := range m.site {
		_, aside := m.made[id]
		all[id] = looks{Name: one.name, Enabled: one.enabled, Origin: "site", Aside: aside}
	}
	for id, enabled := range m.switches {
		one := all[id]
		one.Enabled, one.Switched = enabled, true
		all[id] = one
	}
	return all
}

// aSaid draws a channel of the small world of the test.
func aSaid(t *rapid.T) said {
	return said{name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), enabled: rapid.Bool().Draw(t, "enabled")}
}

func anID(t *rapid.T) ems.ChannelID { return ems.ChannelID(rapid.IntRange(1, 5).Draw(t, "id")) }

func (one said) document(id ems.ChannelID) string {
	return fmt.Sprintf(`{"id": %d, "name": %q, "enabled": %v, "protocol": "virtual", "points": {"telemetry": %q}}`, id, one.name, one.enabled, powerTable)
}

func (one said) channel(id ems.ChannelID) config.Channel {
	channel := without(id)
	channel.Name, channel.Enabled = one.name, one.enabled
	return channel
}

func siteOf(channels map[ems.ChannelID]said) *config.Site {
	site := &config.Site{Name: "test"}
	for _, id := range slices.Sorted(maps.Keys(channels)) {
		site.Channels = append(site.Channels, channels[id].channel(id))
	}
	return site
}

// ask makes a request, which must end with a status.
func (m *models) ask(t *rapid.T, method, path, body string, want int) {
	status, reply, err := m.p.request(method, "/api/channels"+path, body)
	if err != nil || status != want {
		t.Fatalf("%s %s %s: %d %+v, %v; want %d", method, path, body, status, reply.Error, err, want)
	}
}

// put creates or replaces.
func (m *models) put(t *rapid.T, create bool) {
	id, one := anID(t), aSaid(t)
	_, inSite := m.site[id]
	_, made := m.made[id]
	method, path, want := http.MethodPut, fmt.Sprintf("/%d", id), http.StatusOK
	if create {
		method, path, want = http.MethodPost, "", http.StatusCreated
	}
	switch {
	case inSite, create && made:
		want = http.StatusConflict
	case !create && !made:
		want = http.StatusNotFound
	default:
		m.made[id] = one
		delete(m.switches, id)
	}
	m.ask(t, method, path, one.document(id), want)
}

func (m *models) flip(t *rapid.T) {
	id, enabled := anID(t), rapid.Bool().Draw(t, "start")
	want := http.StatusOK
	if _, found := m.says(id); found {
		m.switches[id] = enabled
		m.settle()
	} else {
		want = http.StatusNotFound
	}
	m.ask(t, http.MethodPost, fmt.Sprintf("/%d/%s", id, map[bool]string{true: "start", false: "stop"}[enabled]), "", want)
}

func (m *models) remove(t *rapid.T) {
	id := anID(t)
	_, inSite := m.site[id]
	_, made := m.made[id]
	want := http.StatusOK
	switch {
	case inSite && made: // set aside
		delete(m.made, id)
	case inSite:
		want = http.StatusConflict
	case !made:
		want = http.StatusNotFound
	default:
		delete(m.made, id)
		delete(m.switches, id)
	}
	m.ask(t, http.MethodDelete, fmt.Sprintf("/%d", id), "", want)
}

// reload reads another folder; a dry run changes nothing.
func (m *models) reload(t *rapid.T) {
	site := map[ems.ChannelID]said{}
	for range rapid.IntRange(0, 3).Draw(t, "channels") {
		site[anID(t)] = aSaid(t)
	}
	m.p.site = siteOf(site)
	m.ask(t, http.MethodPost, "/reload?dry_run=true", "", http.StatusOK)
	m.check(t)
	m.ask(t, http.MethodPost, "/reload", "", http.StatusOK)
	m.site = site
	m.settle()
}

// check compares what the API and Redis say with the reference.
func (m *models) check(t *rapid.T) {
	_, reply, err := m.p.request(http.MethodGet, "/api/channels", "")
	if err != nil {
		t.Fatal(err)
	}
	got := map[ems.ChannelID]looks{}
	for _, view := range decode[[]channelView](m.p.t, reply) {
		got[view.ID] = looks{Name: view.Name, Enabled: view.Enabled, Origin: view.Origin, Switched: view.Switched, Aside: view.Aside}
	}
	if diff := cmp.Diff(m.want(), got); diff != "" {
		t.Fatal(diff)
	}
	made, err := m.p.DB.MadeChannels(context.Background())
	if err != nil || len(made) != len(m.made) {
		t.Fatalf("%v, %v", made, err)
	}
	for _, one := range made {
		if want := m.made[one.ID].document(one.ID); one.Document != want {
			t.Fatalf("%q is not %q", one.Document, want)
		}
	}
	switches, err := m.p.DB.Switches(context.Background())
	if diff := cmp.Diff(m.switches, switches); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
}

// left makes sure that Redis holds nothing of channels that there are not.
func (m *models) left(t *rapid.T) {
	keys, err := m.p.Raw.Keys(context.Background(), "comsrv:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	want := m.want()
	for _, key := range keys {
		var id ems.ChannelID
		if _, err := fmt.Sscanf(strings.TrimPrefix(key, "comsrv:"), "%d:", &id); err != nil {
			continue
		}
		if _, there := want[id]; !there {
			t.Fatalf("redis holds %s", key)
		}
	}
}

// TestRandomChannels compares random changes, with restarts of comsrv and of Redis
// in between, with a plain reference.
func TestRandomChannels(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.readSite = func() (*config.Site, error) { return p.site, nil }
	p.start()
	rapid.Check(t, func(t *rapid.T) {
		p.stop()
		if err := p.Raw.FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		m := &models{p: p, site: map[ems.ChannelID]said{1: {"a", true}}, made: map[ems.ChannelID]said{}, switches: map[ems.ChannelID]bool{}}
		p.site = siteOf(m.site)
		p.start()
		t.Repeat(map[string]func(*rapid.T){
			"create":   func(t *rapid.T) { m.put(t, true) },
			"create 2": func(t *rapid.T) { m.put(t, true) },
			"replace":  func(t *rapid.T) { m.put(t, false) },
			"flip":     m.flip,
			"remove":   m.remove,
			"reload":   m.reload,
			"restart": func(t *rapid.T) { // which takes its time, so not always
				switch rapid.IntRange(0, 3).Draw(t, "what") {
				case 0:
					p.stop()
					p.start()
				case 1:
					p.Redis.Restart()
					_ = p.Raw.Ping(context.Background()).Err() // the connections of before are gone
					_ = p.DB.Ping(context.Background())
				}
			},
			"": m.check,
		})
		m.left(t)
	})
}
