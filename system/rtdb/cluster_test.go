package rtdb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// site is one site of a cluster.
type site struct {
	*rtdb.Client
	cluster   *testkit.RedisCluster
	namespace ems.Namespace
	slot      int
}

// newSites returns a cluster that holds the library, and one site on each of its
// masters.
func newSites(t *testing.T) []*site {
	t.Helper()
	cluster := testkit.Cluster(t)
	loader := open(t, rtdb.Options{URL: cluster.URL, OnlyFunctions: true})
	if err := loader.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	sites := make([]*site, len(cluster.Masters))
	for i, missing := 0, len(sites); missing > 0; i++ {
		namespace, err := ems.NewNamespace(fmt.Sprintf("site%d", i))
		if err != nil {
			t.Fatal(err)
		}
		slot, err := cluster.Slot(t.Context(), namespace.Of("x"))
		if err != nil {
			t.Fatal(err)
		}
		owner, err := cluster.Owner(t.Context(), slot)
		if err != nil {
			t.Fatal(err)
		}
		if sites[owner] == nil {
			client := open(t, rtdb.Options{URL: cluster.URL, Namespace: namespace})
			sites[owner] = &site{Client: client, cluster: cluster, namespace: namespace, slot: slot}
			missing--
		}
	}
	return sites
}

func open(t *testing.T, options rtdb.Options) *rtdb.Client {
	t.Helper()
	options.Clock, options.Logger = ems.SystemClock{}, testkit.Logger(t)
	client, err := rtdb.Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// owner returns which master holds the site, and a bare client of it.
func (s *site) owner(t *testing.T) (int, *redis.Client) {
	t.Helper()
	owner, err := s.cluster.Owner(t.Context(), s.slot)
	if err != nil {
		t.Fatal(err)
	}
	return owner, s.cluster.Clients[owner]
}

// keepMoving moves the site from master to master, one key at a time, until ctx
// ends. Between two moves it waits until progress has grown by some steps, so
// that the writers get their turn whatever the machine is doing.
func (s *site) keepMoving(ctx context.Context, progress *atomic.Int64) (moves int, err error) {
	for ; ctx.Err() == nil; moves++ {
		owner, err := s.cluster.Owner(context.WithoutCancel(ctx), s.slot)
		if err != nil {
			return moves, err
		}
		move, err := s.cluster.BeginMove(context.WithoutCancel(ctx), s.slot, (owner+1)%len(s.cluster.Masters))
		if err != nil {
			return moves, err
		}
		for count := 1; count > 0; {
			if count, err = move.Keys(context.WithoutCancel(ctx), 1); err != nil {
				return moves, err
			}
		}
		if err := move.End(context.WithoutCancel(ctx)); err != nil {
			return moves, err
		}
		for next := progress.Load() + 3; progress.Load() < next && ctx.Err() == nil; {
			time.Sleep(time.Millisecond)
		}
	}
	return moves, nil
}

const count = "comsrv:1001:T:3"

// counting is a rule that fires on every second value of the writer.
func counting() ems.Rule {
	return ems.Rule{
		ID: "even", Name: "Even", Conditions: []ems.Condition{{Source: count, Operator: ">", Value: ems.Number(0.5)}},
		Actions: []ems.Action{{Type: ems.ActionNotify, Params: map[string]any{"message": "even"}}},
	}
}

// ride repeats a call that was refused because a move took longer than a call
// waits, as it may on a machine that is busy. It was not executed.
func ride(call func() error) (err error) {
	for range 10 {
		if err = call(); err == nil || !strings.Contains(err.Error(), "is moving the slot of the site") {
			return err
		}
	}
	return err
}

// write ingests counting values and sends a command with every tenth until ctx
// ends.
func (s *site) write(ctx context.Context, t *testing.T, progress *atomic.Int64) {
	calls := context.WithoutCancel(ctx)
	for n := progress.Load() + 1; ctx.Err() == nil; n++ {
		at := start.Add(time.Duration(n) * time.Millisecond)
		counted := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: at, Samples: []rtdb.Sample{
			{Point: 1, Number: float64(n)}, {Point: 2, Number: float64(2 * n)}, {Point: 3, Number: float64((n + 1) % 2)},
		}}
		if err := ride(func() error { return s.Ingest(calls, counted) }); err != nil {
			t.Errorf("%s: value %d: %v", s.namespace, n, err)
			return
		}
		// Three batches with the same point: the last one has to stay.
		var batches []rtdb.Batch
		for part := range 3 {
			batches = append(batches, rtdb.Batch{Channel: 1002, Type: ems.Signal, Group: "default", Time: at, Samples: []rtdb.Sample{{Point: 1, Number: float64(3*n) + float64(part)}}})
		}
		if err := ride(func() error { return s.Ingest(calls, batches...) }); err != nil {
			t.Errorf("%s: batches %d: %v", s.namespace, n, err)
			return
		}
		if n%10 == 0 {
			command := ems.Command{ID: fmt.Sprintf("c%d", n), Target: ref(t, "comsrv:1001:A:2"), Value: float64(n), Issued: time.Now(), Deadline: time.Now().Add(time.Minute), Origin: "api"}
			if err := ride(func() error { return s.SendCommand(calls, command) }); err != nil {
				t.Errorf("%s: command %d: %v", s.namespace, n, err)
				return
			}
		}
		progress.Store(n)
	}
}

// read asks for the values of the writer until ctx ends: they are always of one
// batch, and never go back.
func (s *site) read(ctx context.Context, t *testing.T) {
	last := 0.0
	for ctx.Err() == nil {
		var values []ems.Value
		err := ride(func() (err error) {
			values, err = s.ReadPoints(context.WithoutCancel(ctx), 1001, ems.Telemetry, []ems.PointID{1, 2, 3})
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", s.namespace, err)
			return
		}
		n := values[0].Number
		if values[1].Number != 2*n || n > 0 && !values[0].Time.Equal(start.Add(time.Duration(n)*time.Millisecond)) || n < last {
			t.Errorf("%s: after %v came the torn values %+v", s.namespace, last, values)
			return
		}
		last = n
	}
}

// execute takes commands and finishes each until ctx ends.
func (s *site) execute(ctx context.Context, t *testing.T, done *atomic.Int64) {
	calls := context.WithoutCancel(ctx)
	reader := s.ReadCommands("comsrv", []ems.ChannelID{1001, 1002})
	for ctx.Err() == nil {
		var deliveries []rtdb.Delivery
		err := ride(func() (err error) { deliveries, err = reader.Next(calls, 50*time.Millisecond); return err })
		if err != nil {
			t.Errorf("%s: %v", s.namespace, err)
			return
		}
		for _, delivery := range deliveries {
			result := ems.CommandResult{State: ems.CommandDone, Time: start}
			err := ride(func() error { return s.BeginCommand(calls, delivery) })
			if err == nil {
				err = ride(func() error { return s.FinishCommand(calls, delivery, result) })
			}
			if err != nil {
				t.Errorf("%s: command %s: %v", s.namespace, delivery.ID, err)
			}
			done.Add(1)
		}
	}
}

// model is what the keys of a site hold after n steps of its writer, without the
// commands.
func (s *site) model(n int64) map[string]string {
	ms := func(n int64) int64 { return start.UnixMilli() + n }
	var history []string
	for i := int64(1); i <= n; i++ {
		history = append(history, fmt.Sprintf("%d %d %d %d", ms(i), i, 2*i, (i+1)%2))
	}
	group := fmt.Sprintf("group:default=%d", ms(n))
	return map[string]string{
		"comsrv:1001:T":      fmt.Sprintf("1=%d.000000 2=%d.000000 3=%d.000000", n, 2*n, (n+1)%2),
		"comsrv:1001:T:ts":   fmt.Sprintf("1=%d 2=%d 3=%d", ms(n), ms(n), ms(n)),
		"comsrv:1001:status": group,
		"comsrv:1002:S":      fmt.Sprintf("1=%d.000000", 3*n+2),
		"comsrv:1002:S:ts":   fmt.Sprintf("1=%d", ms(n)),
		"comsrv:1002:status": group,
		"history":            strings.Join(history, "\n"),
		"fired":              fmt.Sprint(n / 2),
		"commands":           fmt.Sprintf("%d done, 0 waiting", n/10),
	}
}

// found returns the same of the keys that a master holds.
func (s *site) found(t *testing.T, master *redis.Client, n int64) map[string]string {
	t.Helper()
	b := &bench{raw: master, ctx: t.Context()}
	found := map[string]string{}
	for key := range s.model(0) {
		if strings.HasPrefix(key, "comsrv") {
			found[key] = b.show(t, s.namespace.Of(key))
		}
	}
	var history []string
	for _, entry := range master.XRange(b.ctx, s.namespace.Of("hissrv:stream"), "-", "+").Val() {
		var one, two, three float64
		points := strings.Fields(entry.Values["points"].(string))
		if _, err := fmt.Sscan(points[1]+" "+points[3]+" "+points[5], &one, &two, &three); err != nil || len(points) != 6 {
			t.Errorf("history entry %v: %v", entry, err)
		}
		history = append(history, fmt.Sprintf("%s %.0f %.0f %.0f", entry.Values["time"], one, two, three))
	}
	found["history"] = strings.Join(history, "\n")
	state, err := s.Rule(b.ctx, "even")
	if err != nil {
		t.Fatal(err)
	}
	found["fired"] = fmt.Sprint(state.Fired)
	done := 0
	for i := int64(10); i <= n; i += 10 {
		result, err := s.Command(b.ctx, 1001, fmt.Sprintf("c%d", i))
		if err != nil || result.State != ems.CommandDone {
			t.Errorf("%s: command %d: %+v, %v", s.namespace, i, result, err)
		}
		done++
	}
	found["commands"] = fmt.Sprintf("%d done, %d waiting", done, master.XLen(b.ctx, s.namespace.Commands(1001)).Val())
	return found
}

// Three sites, one on each master, whose slots move all the time: what is written
// meanwhile is complete in the end and never torn, and whoever listens goes on
// to hear.
func TestSitesLoseNothingWhileTheirSlotsMove(t *testing.T) {
	t.Parallel()
	sites := newSites(t)
	var all sync.WaitGroup
	for _, s := range sites {
		if err := errors.Join(s.ConfigureMapping(t.Context(), mapping()), s.UpsertRule(t.Context(), counting())); err != nil {
			t.Fatal(err)
		}
		all.Go(func() { s.live(t, 3*time.Second) })
	}
	all.Wait()
	for _, s := range sites {
		if _, master := s.owner(t); len(master.Keys(t.Context(), string(s.namespace)+"*").Val()) == 0 {
			t.Errorf("%s is not where its slot is", s.namespace)
		}
	}
}

// live runs the writer, the listeners and the moves of one site for a while, and
// then compares its keys with the model.
func (s *site) live(t *testing.T, period time.Duration) {
	var progress, done, ready, heard atomic.Int64
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	var listeners sync.WaitGroup
	defer listeners.Wait()
	defer stop()
	listeners.Go(func() { s.Watch(watching, func(context.Context) error { ready.Add(1); return nil }) })
	listeners.Go(func() { s.execute(watching, t, &done) })
	listeners.Go(func() {
		if err := s.Subscribe(watching, func(rtdb.Event) { heard.Add(1) }); err != nil {
			t.Error(err)
		}
	})
	writing, cancel := context.WithTimeout(t.Context(), period)
	defer cancel()
	var writers sync.WaitGroup
	writers.Go(func() { s.write(writing, t, &progress) })
	writers.Go(func() { s.read(writing, t) })
	moves, err := s.keepMoving(writing, &progress)
	if err != nil {
		t.Errorf("%s: %v", s.namespace, err)
	}
	writers.Wait()
	n := progress.Load()
	t.Logf("%s: %d steps, %d moves, %d events", s.namespace, n, moves, heard.Load())
	if moves < 3 || n < 10 {
		t.Errorf("%s: only %d moves and %d steps", s.namespace, moves, n)
	}
	testkit.Eventually(t, 20*time.Second, func() error {
		if done.Load() != n/10 {
			return fmt.Errorf("%d commands are finished, want %d", done.Load(), n/10)
		}
		return nil
	}, "every command is executed")
	_, master := s.owner(t)
	expect(t, "the keys of "+string(s.namespace), s.found(t, master, n), s.model(n))

	// Watch and Subscribe are still there: they notice that a key was lost, and one
	// more move. (Watch need not notice a move there and back, so it has to know
	// first where the site is.)
	testkit.Eventually(t, 20*time.Second, func() error {
		home, err := s.Home(t.Context())
		if err == nil && home != master.Options().Addr {
			err = errors.New("it looks on " + home)
		}
		return err
	}, "the client knows where the site is")
	for _, change := range []func() error{
		func() error { return master.Del(t.Context(), s.namespace.Of("voltage:life")).Err() },
		func() error {
			owner, _ := s.owner(t)
			return s.cluster.MoveSlot(t.Context(), s.slot, (owner+1)%len(s.cluster.Masters))
		},
	} {
		readyBefore, heardBefore := ready.Load(), heard.Load()
		if err := change(); err != nil {
			t.Error(err)
		}
		testkit.Eventually(t, 20*time.Second, func() error {
			batch := rtdb.Batch{Channel: 1003, Type: ems.Telemetry, Group: "default", Time: start, Samples: []rtdb.Sample{{Point: 1, Number: 1}}}
			if err := ride(func() error { return s.Ingest(t.Context(), batch) }); err != nil {
				return err
			}
			if ready, heard := ready.Load()-readyBefore, heard.Load()-heardBefore; ready == 0 || heard == 0 {
				return fmt.Errorf("ready was called %d times and %d events were heard since", ready, heard)
			}
			return nil
		}, "Watch and Subscribe go on")
	}
}
