package comsrv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// TestAReloadIsWholeOrNotAtAll: faults have file and line, and nothing is applied
// of a folder that has one.
func TestAReloadIsWholeOrNotAtAll(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p, f := newFolderPlant(t)
	one, two := f.field(1, d, ""), f.field(2, d, "")
	f.channels(one)
	p.site, _ = p.readSite()
	p.start()
	other := p.watch(1, d)
	f.channels(one, two)
	f.write("points/2/telemetry.csv", powerTable+"1,other,0,0,,,\n")
	f.write("rules.yaml", "rules:\n  - {id: hot, nam: x}\n")
	status, reply := p.call(http.MethodPost, "/api/channels/reload", "")
	want := []string{
		"points/2/telemetry.csv:3: scale is 0: a value could not be told from its offset, and a write could not be inverted",
		"points/2/telemetry.csv:3: point_id 1 stands already in line 2: give each point of a table its own",
	}
	if diff := cmp.Diff(want, reply.Error.Details[:2]); diff != "" || status != http.StatusBadRequest {
		t.Error(status, diff)
	}
	if last := reply.Error.Details[len(reply.Error.Details)-1]; last != `rules.yaml:2: unknown key "nam": check its spelling and indentation` {
		t.Error(last)
	}
	f.write("points/2/telemetry.csv", powerTable)
	f.write("rules.yaml", "")
	f.write("site.yaml", "site: {name: test, namespace: north}\n")
	p.Refused(http.MethodPost, "/api/channels/reload", "", http.StatusConflict, ems.CodeConflict, `site.yaml now names the namespace "north"`)
	f.write("site.yaml", "site: {name: test}\n")
	p.Refused(http.MethodPost, "/api/channels/reload?dryrun=true", "", http.StatusBadRequest, ems.CodeInvalid, `unknown parameter "dryrun"`)
	status, reply = p.call(http.MethodPost, "/api/channels/reload?dry_run=true", "")
	if got := decode[differences](t, reply); status != http.StatusOK || !got.DryRun || fmt.Sprint(got.Added, got.Unchanged) != "[2] [1]" {
		t.Errorf("%d %+v", status, got)
	}
	p.wantNothingOf(2)
	if got := p.reload(); got.DryRun || fmt.Sprint(got.Added, got.Unchanged) != "[2] [1]" {
		t.Errorf("%+v", got)
	}
	p.awaitStatus(2, true, "")
	if got := p.reload(); fmt.Sprint(got.Added, got.Changed, got.Removed, got.Unchanged) != "[] [] [] [1 2]" {
		t.Errorf("%+v", got)
	}
	other.connected(1, 2)
}

// TestTheFolderGoesBeforeTheAPI: what was made is kept aside while channels.yaml
// names the same id, and used again afterwards; also over a restart.
func TestTheFolderGoesBeforeTheAPI(t *testing.T) {
	t.Parallel()
	p := newPlant(t, without(1))
	p.readSite = func() (*config.Site, error) { return p.site, nil }
	p.start()
	p.ok(http.MethodPost, "/api/channels", said{"made", true}.document(7))
	p.site = &config.Site{Name: "test", Channels: []config.Channel{without(1), without(7)}}
	if got := p.reload(); fmt.Sprint(got.Changed, got.Aside) != "[7] [7]" {
		t.Errorf("%+v", got)
	}
	want := channelView{Name: "virtual", Origin: "site", Aside: true}
	same := func() {
		t.Helper()
		_, reply := p.call(http.MethodGet, "/api/channels/7", "")
		got := decode[channelView](t, reply)
		if diff := cmp.Diff(want, channelView{Name: got.Name, Origin: got.Origin, Aside: got.Aside, Switched: got.Switched}); diff != "" {
			t.Error(diff)
		}
	}
	same()
	p.Refused(http.MethodPut, "/api/channels/7", said{"made", true}.document(7), http.StatusConflict, ems.CodeConflict, "belongs to the site folder")
	p.stop()
	p.start()
	same()
	p.site = &config.Site{Name: "test", Channels: []config.Channel{without(1)}}
	p.reload()
	want = channelView{Name: "made", Origin: "api"}
	same()
	p.Refused(http.MethodDelete, "/api/channels/1", "", http.StatusConflict, ems.CodeConflict, "channel 1 belongs to the site folder: change it in channels.yaml")
	if status, text := p.Ask(http.MethodGet, "/api/channels/7/document", "", nil); status != http.StatusOK || text != (said{"made", true}).document(7) {
		t.Errorf("%d %s", status, text)
	}
	p.site = &config.Site{Name: "test", Channels: []config.Channel{without(1), without(7)}}
	p.reload()
	p.ok(http.MethodPost, "/api/channels/7/stop", "")
	if got := decode[differences](t, p.ok(http.MethodDelete, "/api/channels/7", "")); fmt.Sprint(got.Unchanged, got.Aside) != "[1 7] []" {
		t.Errorf("%+v", got)
	}
	want = channelView{Name: "virtual", Origin: "site", Switched: true}
	same()
	p.Refused(http.MethodDelete, "/api/channels/7", "", http.StatusConflict, ems.CodeConflict, "channel 7 belongs to the site folder")
	p.site = &config.Site{Name: "test", Channels: []config.Channel{without(1)}}
	if got := p.reload(); fmt.Sprint(got.Removed) != "[7]" {
		t.Errorf("%+v", got)
	}
}

// ok makes a request that must succeed.
func (p *plant) ok(method, path, body string) envelope {
	p.t.Helper()
	status, reply := p.call(method, path, body)
	if status >= http.StatusBadRequest {
		p.t.Fatalf("%s %s: %d %+v", method, path, status, reply.Error)
	}
	return reply
}

// TestCommandsOfAChannelThatIsRemoved: the write under way comes to its end, what
// waits fails and was not sent, and whoever waits hears of it.
func TestCommandsOfAChannelThatIsRemoved(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p, _ := newFolderPlant(t)
	p.start()
	p.ok(http.MethodPost, "/api/channels", documentOf(t, 7, d, func(document map[string]any) {
		document["poll_period"], document["timeout"] = "2s", "2s"
	}))
	p.awaitStatus(7, true, "")
	d.hold(6)
	channel := p.service.commands.roster.Load().byID[7]
	type answer struct {
		status int
		reply  envelope
		err    error
	}
	ask := func(method, path, body string) chan answer {
		answers := make(chan answer, 1)
		go func() {
			var got answer
			got.status, got.reply, got.err = p.request(method, path, body)
			answers <- got
		}()
		return answers
	}
	under := ask(http.MethodPost, "/api/channels/7/points/A/1", `{"value": 1}`)
	d.awaitHeld()
	waits := ask(http.MethodPost, "/api/channels/7/points/A/1", `{"value": 2}`)
	p.eventually(func() error {
		if len(channel.orders) != 1 {
			return errors.New("no command waits")
		}
		return nil
	}, "a command that waits")
	removed := ask(http.MethodDelete, "/api/channels/7", "")
	p.eventually(func() error {
		if channel.refusal() == nil {
			return errors.New("the channel goes on")
		}
		return nil
	}, "the end of the channel")
	p.Refused(http.MethodPost, "/api/channels/7/points/A/1", `{"value": 3}`, http.StatusConflict, ems.CodeConflict, "nothing was sent: the channel was removed")
	d.release()
	if got := <-under; got.err != nil || got.status != http.StatusOK || decode[ems.CommandResult](t, got.reply).State != ems.CommandDone {
		t.Errorf("the command under way: %+v", got)
	}
	if got := <-waits; got.status != http.StatusConflict || got.reply.Error.Message != "the command failed: nothing was sent: the channel was removed" {
		t.Errorf("the command that waited: %+v", got)
	}
	if got := <-removed; got.err != nil || got.status != http.StatusOK {
		t.Errorf("the removal: %+v", got)
	}
	if diff := cmp.Diff([]string{"6@10=2"}, d.written()); diff != "" {
		t.Error(diff)
	}
	p.wantNothingOf(7)
}

// TestTheSafeStateIsWritten to a device that comsrv leaves, and not to one that
// goes on under another name.
func TestTheSafeStateIsWritten(t *testing.T) {
	t.Parallel()
	d, next := newDevice(t), newDevice(t)
	p, _ := newFolderPlant(t)
	p.start()
	document := func(name string, d *device) string {
		return documentOf(t, 7, d, func(document map[string]any) {
			document["name"], document["safe_state"] = name, map[string]any{"A:1": 5}
		})
	}
	written := func(d *device, want ...string) {
		t.Helper()
		if diff := cmp.Diff(strings.Join(want, " "), strings.Join(d.written(), " ")); diff != "" {
			t.Error(diff)
		}
	}
	p.ok(http.MethodPost, "/api/channels", document("a", d))
	p.awaitStatus(7, true, "")
	polled := d.polled()
	p.ok(http.MethodPut, "/api/channels/7", document("b", d))
	p.awaitPolled(d, polled)
	written(d)
	p.ok(http.MethodPut, "/api/channels/7", document("b", next))
	written(d, "6@10=10")
	p.awaitPolled(next, 0)
	p.awaitStatus(7, true, "")
	p.ok(http.MethodPost, "/api/channels/7/stop", "")
	written(next, "6@10=10")
}

// TestAHoldEndsWithItsChannel: nobody would write the safe value later.
func TestAHoldEndsWithItsChannel(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, held(d.address))
	p.readSite = func() (*config.Site, error) { return p.site, nil }
	p.start()
	p.awaitStatus(1, true, "")
	p.done(holding("a", 1, 20, time.Hour))
	p.done(command("b", ems.Adjustment, 2, 30))
	p.site = &config.Site{Name: "test"}
	p.reload()
	if diff := cmp.Diff([]string{"6@10=40", "16@12=2", "6@10=6"}, d.written()); diff != "" {
		t.Error(diff)
	}
	p.wantNothingOf(1)
	p.awaitNoHolds()
}

// TestAHoldEndsWhereItsPointBecomesAnother: the new point would not know of it, or
// would write the safe value elsewhere. A point that stays keeps its hold.
func TestAHoldEndsWhereItsPointBecomesAnother(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(points []config.MappedPoint) []config.MappedPoint
		want   []string
	}{
		"gone":      {func(points []config.MappedPoint) []config.MappedPoint { return slices.Delete(points, 5, 6) }, []string{"6@10=40", "6@10=6"}},
		"moved":     {func(points []config.MappedPoint) []config.MappedPoint { points[5].Mapping.Address = 11; return points }, []string{"6@10=40", "6@10=6"}},
		"not safe":  {func(points []config.MappedPoint) []config.MappedPoint { points[5].SafeValue = nil; return points }, []string{"6@10=40", "6@10=6"}},
		"as it was": {func(points []config.MappedPoint) []config.MappedPoint { points[0].Name = "renamed"; return points }, []string{"6@10=40"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDevice(t)
			p := newPlant(t, held(d.address))
			p.readSite = func() (*config.Site, error) { return p.site, nil }
			p.start()
			p.awaitStatus(1, true, "")
			p.done(holding("a", 1, 20, time.Hour))
			entry := held(d.address)
			entry.Points = test.change(entry.Points)
			p.site = &config.Site{Name: "test", Channels: []config.Channel{entry}}
			p.reload()
			if diff := cmp.Diff(test.want, d.written()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// awaitPolled waits until a device was asked twice more, so that the channel has
// been online since.
func (p *plant) awaitPolled(d *device, before int) {
	p.t.Helper()
	p.eventually(func() error {
		if more := d.polled() - before; more < 2 {
			return fmt.Errorf("%d requests more", more)
		}
		return nil
	}, "polls")
}

// interlocked is a document with an interlock on a point of another channel.
func interlocked(t *testing.T, id, on ems.ChannelID, d *device) string {
	return documentOf(t, id, d, func(document map[string]any) {
		document["interlocks"] = []any{map[string]any{
			"point": "A:1", "conditions": []any{map[string]any{"source": fmt.Sprintf("comsrv:%d:T:1", on), "operator": ">", "value": 0}},
		}}
	})
}

// TestChannelsThatNeedOneAnother: none is taken away that another one asks; where
// that happened while comsrv was away, what does not fit is not used and says so.
func TestChannelsThatNeedOneAnother(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	p := newPlant(t, without(1))
	p.readSite = func() (*config.Site, error) { return p.site, nil }
	p.start()
	p.Refused(http.MethodPost, "/api/channels", interlocked(t, 8, 7, d), http.StatusBadRequest, ems.CodeInvalid,
		"channel 8:1: interlocks[0].conditions[0].source: there is no point comsrv:7:T:1")
	p.ok(http.MethodPost, "/api/channels", said{"made", true}.document(7))
	p.ok(http.MethodPost, "/api/channels", interlocked(t, 8, 7, d))
	p.ok(http.MethodPost, "/api/channels", interlocked(t, 9, 1, d))
	p.Refused(http.MethodDelete, "/api/channels/7", "", http.StatusConflict, ems.CodeConflict,
		"nothing is changed, because it leaves another channel unfit: channel 8: channel 8:1: interlocks[0].conditions[0].source: there is no point comsrv:7:T:1")
	whole := p.site
	p.site = &config.Site{Name: "test"}
	p.Refused(http.MethodPost, "/api/channels/reload", "", http.StatusConflict, ems.CodeConflict, "channel 9: ")
	p.awaitStatus(9, true, "")
	slower := documentOf(t, 10, d, func(document map[string]any) { document["modbus"] = map[string]any{"spacing": "1ms"} })
	p.Refused(http.MethodPost, "/api/channels", slower, http.StatusBadRequest, ems.CodeInvalid,
		"channel 10:1: address: channel 8 has the same address and another modbus.spacing: they share one connection")

	p.stop()
	p.start() // without channel 1
	_, reply := p.call(http.MethodGet, "/api/channels/9", "")
	if view := decode[channelView](t, reply); view.Enabled || !strings.HasPrefix(view.Reason, "it cannot be used: channel 9:1: interlocks[0]") {
		t.Errorf("%+v", view)
	}
	p.awaitStatus(8, true, "")
	p.site = whole
	p.reload()
	p.awaitStatus(9, true, "")
	p.ok(http.MethodDelete, "/api/channels/8", "")
	p.ok(http.MethodDelete, "/api/channels/7", "")
}

// TestMadeChannelsOutliveRedis: one that lost everything is told again, and one
// that was away when comsrv began tells of them later.
func TestMadeChannelsOutliveRedis(t *testing.T) {
	t.Parallel()
	p := newPlant(t, without(1))
	p.start()
	p.ok(http.MethodPost, "/api/channels", said{"made", true}.document(7))
	p.ok(http.MethodPost, "/api/channels/1/stop", "")
	if err := p.Raw.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	p.eventually(func() error {
		made, err := p.DB.MadeChannels(context.Background())
		switches, fault := p.DB.Switches(context.Background())
		if len(made) != 1 || len(switches) != 1 {
			return errors.Join(err, fault, fmt.Errorf("%v %v", made, switches))
		}
		return nil
	}, "what was made is in Redis again")
	p.stop()
	p.Redis.Stop()
	p.start()
	p.Refused(http.MethodPost, "/api/channels", said{"made", true}.document(8), http.StatusServiceUnavailable, ems.CodeUnavailable,
		"redis was not asked yet which channels were made through the API")
	p.Refused(http.MethodGet, "/api/channels/7", "", http.StatusNotFound, ems.CodeNotFound, "there is no channel 7")
	p.Redis.Start()
	p.awaitStatus(7, true, "")
	p.awaitStatus(1, false, "the channel was stopped by hand")
}

// TestAModelHoldsItsChannel and its points.
func TestAModelHoldsItsChannel(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.start()
	p.ok(http.MethodPost, "/api/channels", said{"made", true}.document(7))
	model := ems.Model{ID: "api-m", Mapping: ems.ModelMapping{Channel: 7, Data: map[string]ems.ModelPoint{"power": "1"}}}
	if err := p.DB.UpsertModel(t.Context(), model); err != nil {
		t.Fatal(err)
	}
	p.Refused(http.MethodDelete, "/api/channels/7", "", http.StatusConflict, ems.CodeConflict, "model api-m names channel 7")
	empty := `{"id": 7, "name": "made", "protocol": "virtual"}`
	p.Refused(http.MethodPut, "/api/channels/7", empty, http.StatusConflict, ems.CodeConflict, "model api-m names comsrv:7:T:1")
	p.ok(http.MethodPut, "/api/channels/7", said{"other", true}.document(7))
	if err := p.DB.DeleteModel(t.Context(), "api-m"); err != nil {
		t.Fatal(err)
	}
	p.ok(http.MethodPut, "/api/channels/7", empty)
	p.ok(http.MethodDelete, "/api/channels/7", "")
}

func TestDocumentsAreBounded(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	p.start()
	status, _ := p.call(http.MethodPost, "/api/channels", `{"id": 7, "name": "`+strings.Repeat("x", 2<<20)+`"}`)
	if status != http.StatusRequestEntityTooLarge {
		t.Error(status)
	}
	err := p.service.change(t.Context(), func() error {
		p.service.wanted.made[9] = document{text: strings.Repeat("x", maxDocuments), fault: "too long"}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Refused(http.MethodPost, "/api/channels", said{"made", true}.document(7), http.StatusInsufficientStorage, ems.CodeFull, "more than the 67108864 that fit")
}

// TestPhases: channels are polled apart, those that come later in the widest gap,
// and one that is started again keeps its phase.
func TestPhases(t *testing.T) {
	t.Parallel()
	p := phases{origin: epoch, of: map[ems.ChannelID]float64{}}
	list := func(ids ...ems.ChannelID) (channels []*channel) {
		for _, id := range ids {
			channels = append(channels, &channel{Channel: config.Channel{ID: id}})
		}
		return channels
	}
	p.take(list(1, 2, 3, 4))
	p.take(list(1, 2, 4, 5, 6))
	if diff := cmp.Diff(map[ems.ChannelID]float64{1: 0, 2: 0.25, 4: 0.75, 5: 0.5, 6: 0.125}, p.of); diff != "" {
		t.Error(diff)
	}
	for _, test := range []struct {
		id            ems.ChannelID
		after, period time.Duration
		want          time.Duration // from then on, of the first slot
	}{
		{1, 0, 100 * time.Millisecond, 0},
		{2, 0, 100 * time.Millisecond, 25 * time.Millisecond},
		{2, 10 * time.Millisecond, 100 * time.Millisecond, 15 * time.Millisecond},
		{2, 1030 * time.Millisecond, 100 * time.Millisecond, 95 * time.Millisecond},
		{4, 10 * time.Second, time.Minute, 750 * time.Millisecond},
	} {
		now := epoch.Add(test.after)
		first := newSchedules(now, []time.Duration{test.period}, p.place(test.id, now, test.period), phasePlaces)[0].start.Sub(now)
		if off := first - test.want; off < -time.Microsecond || off > time.Microsecond {
			t.Errorf("channel %d after %v: the first slot is %v ahead, want %v", test.id, test.after, first, test.want)
		}
	}
}

// TestAPollUnderWayIsFinished when its channel is changed: to cut it would cost
// others the connection that they share.
func TestAPollUnderWayIsFinished(t *testing.T) {
	t.Parallel()
	d := newDevice(t)
	once, often := field(1, d.address, telemetry(1)...), field(2, d.address, telemetry(1)...)
	once.PollPeriod = time.Hour
	p := newPlant(t, once, often)
	p.readSite = func() (*config.Site, error) { return p.site, nil }
	p.start()
	p.awaitStatus(1, true, "")
	p.awaitStatus(2, true, "")
	d.hold(3)
	d.awaitHeld()
	before := p.service.commands.roster.Load().byID[2]
	often.Description = "another"
	p.site = &config.Site{Name: "test", Channels: []config.Channel{once, often}}
	ended := make(chan error, 1)
	go func() {
		status, reply, err := p.request(http.MethodPost, "/api/channels/reload", "")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("%d %+v", status, reply.Error)
		}
		ended <- err
	}()
	p.eventually(func() error {
		if before.refusal() == nil {
			return errors.New("the channel goes on")
		}
		return nil
	}, "the end of the channel")
	d.release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	p.awaitPolled(d, d.polled())
	connections := 0
	d.set(func() { connections = d.accepted })
	if connections != 1 {
		t.Errorf("%d connections", connections)
	}
}

// TestASwitchEnds when the folder says the same, and not when it is merely read.
func TestASwitchEnds(t *testing.T) {
	t.Parallel()
	one := without(1)
	p := newPlant(t, one)
	p.readSite = func() (*config.Site, error) { return p.site, nil }
	p.start()
	p.ok(http.MethodPost, "/api/channels/1/stop", "")
	for _, step := range []struct{ folder, enabled, switched bool }{{true, false, true}, {false, false, false}, {true, true, false}} {
		one.Enabled = step.folder
		p.site = &config.Site{Name: "test", Channels: []config.Channel{one}}
		p.reload()
		_, reply := p.call(http.MethodGet, "/api/channels/1", "")
		if view := decode[channelView](t, reply); view.Enabled != step.enabled || view.Switched != step.switched {
			t.Errorf("%+v: %+v", step, view)
		}
		switches, err := p.DB.Switches(t.Context())
		if _, found := switches[1]; found != step.switched || err != nil {
			t.Errorf("%+v: %v, %v", step, switches, err)
		}
	}
}
