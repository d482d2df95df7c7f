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
)

// askingFor calls a function as a client does that was sent on with ASK.
func askingFor(ctx context.Context, target *redis.Client, function string, keys []string, args ...any) *redis.Cmd {
	pipeline := target.Pipeline()
	pipeline.Do(ctx, "ASKING")
	call := pipeline.FCall(ctx, function, keys, args...)
	_, _ = pipeline.Exec(ctx) // its error is that of the call
	return call
}

// A call with the one key alone is run by the target on what has arrived. With
// the mark of the site as its second key it waits until the move is over.
func TestNoCallSeesAHalfMovedSite(t *testing.T) {
	t.Parallel()
	s := newSites(t)[0]
	ctx := t.Context()
	samples := []rtdb.Sample{{Point: 1, Number: 42}}
	if err := s.Ingest(ctx, rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: time.Now(), Samples: samples}); err != nil {
		t.Fatal(err)
	}
	from, source := s.owner(t)
	to := (from + 1) % len(s.cluster.Clients)
	target := s.cluster.Clients[to]
	one := []string{s.namespace.Of("1001")}
	two := []string{s.namespace.Of("1001"), s.namespace.Of("voltage:life")}
	read := func() []any { return []any{"T", time.Now().UnixMilli(), "1"} }

	for _, withMark := range []bool{false, true} { // a site whose keys were lost has no mark for a moment
		if withMark {
			if err := source.Set(ctx, two[1], "mark", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		move, err := s.cluster.BeginMove(ctx, s.slot, to)
		if err != nil {
			t.Fatal(err)
		}
		for _, moved := range [][]string{nil, {s.namespace.Of("comsrv:1001:status")}, {two[1]}} {
			if len(moved) > 0 {
				if err := move.Key(ctx, moved...); err != nil {
					t.Fatal(err)
				}
			}
			// What happens without the second key: the value is at the source, and the
			// target says that it was never read.
			if err := source.FCall(ctx, "comsrv_read", one, read()...).Err(); err == nil || !strings.HasPrefix(err.Error(), "ASK ") {
				t.Errorf("one key at the source: %v", err)
			}
			if torn, err := askingFor(ctx, target, "comsrv_read", one, read()...).StringSlice(); err != nil || torn[0] != "" {
				t.Errorf("one key at the target: %q, %v; then there is nothing to guard against", torn, err)
			}
			// What the second key does, wherever a call ends up.
			answers := map[string]error{
				"source": source.FCall(ctx, "comsrv_read", two, read()...).Err(),
				"target": askingFor(ctx, target, "comsrv_read", two, read()...).Err(),
			}
			for where, err := range answers {
				word := ""
				if err != nil {
					word, _, _ = strings.Cut(err.Error(), " ")
				}
				if word != "TRYAGAIN" && (where == "target" || word != "ASK") {
					t.Errorf("two keys at the %s after %v was moved: %v", where, moved, err)
				}
			}
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			_, err := s.ReadPoints(short, 1001, ems.Telemetry, []ems.PointID{1})
			cancel()
			if ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "is moving the slot of the site") {
				t.Errorf("the client, after %v was moved: %v", moved, err)
			}
		}
		// A call that is under way when the move ends is served then.
		var waiting sync.WaitGroup
		waiting.Go(func() {
			values, err := s.ReadPoints(ctx, 1001, ems.Telemetry, []ems.PointID{1})
			if err != nil || len(values) != 1 || values[0].Number != 42 {
				t.Errorf("after the move: %v, %v", values, err)
			}
		})
		if err := move.End(ctx); err != nil {
			t.Fatal(err)
		}
		waiting.Wait()
		if err := s.cluster.MoveSlot(ctx, s.slot, from); err != nil {
			t.Fatal(err)
		}
	}
}

// use calls the functions of the library once each, as far as they have typed
// calls.
func use(ctx context.Context, t *testing.T, c *rtdb.Client, round int) error {
	now := time.Now()
	name := fmt.Sprintf("r%d", round)
	batch := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: now, Samples: []rtdb.Sample{{Point: 1, Number: 60}, {Point: 2, Number: 1, Quality: ems.Uncertain}}}
	command := ems.Command{ID: name, Target: ref(t, "comsrv:1001:A:2"), Value: 1, Issued: now, Deadline: now.Add(time.Minute), Origin: "api"}
	reader := c.ReadCommands("comsrv", []ems.ChannelID{1001, 1002})
	var alarm ems.Alarm
	var lines []rtdb.Line
	steps := []func() error{
		func() error { return c.ConfigureMapping(ctx, mapping()) },
		func() error { return c.UpsertRule(ctx, hot()) },
		func() error { return c.SetStatus(ctx, 1001, rtdb.ChannelStatus{Online: true, StaleAfter: time.Minute}) },
		func() error { return c.Ingest(ctx, batch, batch) },
		func() error { return c.Mark(ctx, 1001, ems.Bad) },
		func() error { _, err := c.ReadPoints(ctx, 1001, ems.Telemetry, []ems.PointID{1, 2}); return err },
		func() error { _, err := c.Status(ctx, 1001); return err },
		func() error { return c.SendCommand(ctx, command) },
		func() error { _, err := reader.Next(ctx, time.Millisecond); return err },
		func() error {
			deliveries, err := reader.Next(ctx, time.Millisecond)
			for _, delivery := range deliveries {
				err = errors.Join(err, ride(func() error { return c.BeginCommand(ctx, delivery) }))
				err = errors.Join(err, ride(func() error {
					return c.FinishCommand(ctx, delivery, ems.CommandResult{State: ems.CommandDone, Time: now})
				}))
			}
			return err
		},
		func() error { _, err := c.Command(ctx, 1001, name); return err },
		func() error { _, err := c.Rule(ctx, "hot"); return err },
		func() error { _, err := c.Rules(ctx, "", 10); return err },
		func() error { return c.EnableRule(ctx, "hot", false) },
		func() error { return c.EnableRule(ctx, "hot", true) },
		func() error { _, err := c.EvaluateRule(ctx, "hot"); return err },
		func() error { return c.DeleteRule(ctx, "hot") },
		func() error {
			_, err := c.NextActions(ctx, "me", false, time.Millisecond)
			return err
		},
		func() (err error) {
			alarm, err = c.StoreAlarm(ctx, ems.NewAlarm{Source: "here", Level: "Warning", Title: name})
			return err
		},
		func() error { _, err := c.Alarms(ctx, rtdb.AlarmFilter{Count: 10}); return err },
		func() error { _, err := c.Alarms(ctx, rtdb.AlarmFilter{Active: true, Count: 10}); return err },
		func() error { return c.AcknowledgeAlarm(ctx, alarm.ID, "me") },
		func() error { return c.ResolveAlarm(ctx, alarm.ID, "me") },
		func() error { _, err := c.CleanUpAlarms(ctx, time.Nanosecond, 1); return err },
		func() (err error) { lines, err = c.CollectLines(ctx, "hissrv", false, 10); return err },
		func() error { return c.FinishLines(ctx, lines) },
		func() error { return c.RejectLine(ctx, rtdb.Line{Entry: "1-1", Text: "x"}, "poison") },
		func() error { _, err := c.BatchStatus(ctx); return err },
		func() error { return c.RetainMappings(ctx, nil) },
		func() error { return c.UpsertTemplate(ctx, batteryTemplate()) },
		func() error { _, err := c.Template(ctx, "battery"); return err },
		func() error { return c.UpsertModel(ctx, battery("b1")) },
		func() error { _, err := c.Model(ctx, "b1"); return err },
		func() error { _, err := c.ReadModel(ctx, "b1"); return err },
		func() error { _, err := c.ModelsOfPoint(ctx, ref(t, "comsrv:1001:T:1")); return err },
		func() error {
			_, err := c.WriteModel(ctx, "b1", "power", ems.Command{ID: name + "w", Value: 1, Issued: now, Deadline: now.Add(time.Minute), Origin: "api"})
			return err
		},
		func() error { return c.DeleteModel(ctx, "b1") },
	}
	for i, step := range steps {
		if err := ride(step); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// Every function of the library is called for sites on all masters while their
// slots move. Those without a typed call, or not used above, are called without
// arguments: what they answer must not be about slots.
func TestEveryFunctionServesASiteThatMoves(t *testing.T) {
	t.Parallel()
	sites := newSites(t)
	var all sync.WaitGroup
	for _, s := range sites {
		all.Go(func() {
			called := sync.Map{}
			s.OnCall(func(function string) { called.Store(function, true) })
			moving, stop := context.WithCancel(t.Context())
			var progress atomic.Int64
			var mover sync.WaitGroup
			var moves int
			mover.Go(func() {
				var err error
				if moves, err = s.keepMoving(moving, &progress); err != nil {
					t.Errorf("%s: %v", s.namespace, err)
				}
			})
			rounds := 0
			for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); rounds++ {
				if err := use(t.Context(), t, s.Client, rounds); err != nil {
					t.Errorf("%s: %v", s.namespace, err)
					break
				}
				for _, function := range s.Library().Functions {
					if _, used := called.Load(function.Name); !used || rounds == 0 {
						_ = ride(func() error {
							_, err := s.Call(t.Context(), function.Name, "1001")
							if err != nil && !strings.Contains(err.Error(), "is moving the slot") && ems.CodeOf(err) != ems.CodeInvalid && ems.CodeOf(err) != ems.CodeNotFound {
								t.Errorf("%s: %s: %v", s.namespace, function.Name, err)
							}
							return err
						})
					}
				}
				progress.Add(3)
			}
			stop()
			mover.Wait()
			t.Logf("%s: %d rounds, %d moves", s.namespace, rounds, moves)
			if moves < 2 {
				t.Errorf("%s: only %d moves", s.namespace, moves)
			}
		})
	}
	all.Wait()
}

func TestAMasterWithoutTheLibraryIsNamed(t *testing.T) {
	t.Parallel()
	sites := newSites(t)
	s, last := sites[0], sites[2]
	_, master := last.owner(t)
	check := func() (string, error) { return s.CheckFunctions(t.Context()) }
	if said, err := check(); err != nil || said != "library "+strings.TrimPrefix(said, "library ") || strings.Contains(said, ",") {
		t.Errorf("all masters hold the library: %q, %v", said, err)
	}
	if said, err := s.CheckRedis(t.Context()); err != nil || !strings.HasPrefix(said, "redis 7.") {
		t.Errorf("all masters answer: %q, %v", said, err)
	}
	if err := master.FunctionFlush(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	want := "master " + master.Options().Addr + ": redis does not hold function voltage_version: run `voltage functions load`"
	if _, err := check(); ems.CodeOf(err) != ems.CodeUnavailable || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	nodes, err := s.Nodes(t.Context())
	if err != nil || len(nodes) != 3 {
		t.Fatalf("%v, %v", nodes, err)
	}
	for _, node := range nodes {
		if (node.Err != nil) != (node.Address == master.Options().Addr) || !strings.HasPrefix(node.Server, "redis 7.") {
			t.Errorf("node %+v", node)
		}
	}
	// Loading reaches all of them, and is told of the one that it does not reach.
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := check(); err != nil {
		t.Error(err)
	}
	owner, _ := last.owner(t)
	s.cluster.Masters[owner].Kill()
	if err := s.Load(t.Context()); ems.CodeOf(err) != ems.CodeUnavailable || !strings.HasPrefix(err.Error(), "master "+master.Options().Addr+": ") {
		t.Errorf("a master is away: %v", err)
	}
}

func TestAClusterAndASingleRedisAreToldApart(t *testing.T) {
	t.Parallel()
	s := newSites(t)[0]
	single := open(t, rtdb.Options{URL: "redis://" + s.cluster.Masters[0].Addr, Namespace: s.namespace})
	owner, _ := s.owner(t)
	other := open(t, rtdb.Options{URL: "redis://" + s.cluster.Masters[(owner+1)%3].Addr, Namespace: s.namespace})
	_, notOwned := other.Model(t.Context(), "m")
	_, checked := single.CheckRedis(t.Context())
	for what, err := range map[string]error{"health": checked, "a call": notOwned} {
		if ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "write redis+cluster://host:port in redis_url") {
			t.Errorf("%s of one node of a cluster: %v", what, err)
		}
	}
	b := newBench(t, "")
	cluster := open(t, rtdb.Options{URL: "redis+cluster://" + b.server.Addr, Namespace: "{a}:"})
	_, checked = cluster.CheckRedis(t.Context())
	_, called := cluster.Model(t.Context(), "m")
	for what, err := range map[string]error{"health": checked, "a call": called} {
		if ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "redis is not a cluster: write redis://host:port") {
			t.Errorf("%s of a single Redis: %v", what, err)
		}
	}
}
