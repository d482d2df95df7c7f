package rtdb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
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

// refusedWhileMoving returns how a call ends whose time is over while the slot
// moves. Where that cut an exchange, which says nothing, it calls again.
func refusedWhileMoving(ctx context.Context, s *site) (err error) {
	for range 20 {
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		_, err = s.ReadPoints(short, 1001, ems.Telemetry, []ems.PointID{1})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "did not answer") {
			break
		}
	}
	return err
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
	two := []string{s.namespace.Of("1001"), s.namespace.Of("voltage:life")}
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
			s.checkHalfMoved(t, source, target, two, moved)
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

// checkHalfMoved calls a function that reads the value 42, with one key and with
// both, wherever a call may end up while the slot is on its way.
func (s *site) checkHalfMoved(t *testing.T, source, target *redis.Client, keys, moved []string) {
	t.Helper()
	ctx := t.Context()
	args := []any{"T", time.Now().UnixMilli(), "1"}
	// What happens without the second key: the target runs the call and does not
	// find the value, or fails in the middle.
	if err := source.FCall(ctx, "comsrv_read", keys[:1], args...).Err(); err == nil || !strings.HasPrefix(err.Error(), "ASK ") {
		t.Errorf("one key at the source: %v", err)
	}
	torn, err := askingFor(ctx, target, "comsrv_read", keys[:1], args...).Result()
	if err == nil && strings.Contains(fmt.Sprint(torn), "42") || err != nil && !strings.Contains(err.Error(), "non local key") {
		t.Errorf("one key at the target: %v, %v; then there is nothing to guard against", torn, err)
	}
	// What the second key does.
	for where, err := range map[string]error{
		"source": source.FCall(ctx, "comsrv_read", keys, args...).Err(),
		"target": askingFor(ctx, target, "comsrv_read", keys, args...).Err(),
	} {
		word := ""
		if err != nil {
			word, _, _ = strings.Cut(err.Error(), " ")
		}
		if word != "TRYAGAIN" && (where == "target" || word != "ASK") {
			t.Errorf("two keys at the %s after %v was moved: %v", where, moved, err)
		}
	}
	if err := refusedWhileMoving(ctx, s); ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "is moving the slot of the site") {
		t.Errorf("the client, after %v was moved: %v", moved, err)
	}
}

// try makes the first example of a contract, which succeeds, while the slot of the
// site moves: the call begins when the first key has gone, and is served when all
// have.
func (s *site) try(ctx context.Context, function string, e *example) error {
	owner, err := s.cluster.Owner(ctx, s.slot)
	if err != nil {
		return err
	}
	if err := s.layOut(ctx, s.cluster.Clients[owner], e.before); err != nil {
		return err
	}
	move, err := s.cluster.BeginMove(ctx, s.slot, (owner+1)%len(s.cluster.Clients))
	if err != nil {
		return err
	}
	if _, err := move.Keys(ctx, 1); err != nil {
		return err
	}
	called := make(chan error, 1)
	go func() { called <- s.ride(ctx, function, e.key, e.args) }()
	return errors.Join(move.End(ctx), <-called)
}

// ride calls a function until no move is in its way.
func (s *site) ride(ctx context.Context, function, key string, args []string) error {
	words := make([]any, len(args))
	for i, arg := range args {
		words[i] = arg
	}
	err := ride(func() error { _, err := s.Call(ctx, function, key, words...); return err })
	if err != nil {
		return fmt.Errorf("%s %s %q: %w", function, key, args, err)
	}
	return nil
}

// layOut empties the site and takes the steps before an example. No slot moves.
func (s *site) layOut(ctx context.Context, master *redis.Client, steps []step) error {
	keys, err := master.Keys(ctx, string(s.namespace)+"*").Result()
	if err != nil {
		return err
	}
	if err := master.Del(ctx, append(keys, s.namespace.Of("nothing"))...).Err(); err != nil {
		return err
	}
	for _, one := range steps {
		name, key, args := one[0], s.namespace.Of(one[1]), one[2:]
		switch {
		case strings.ToLower(name) == name:
			err = s.ride(ctx, name, one[1], args)
		case name == "TAKE":
			err = errors.Join(
				master.XGroupCreate(ctx, key, args[0], "0").Err(),
				master.XReadGroup(ctx, &redis.XReadGroupArgs{Group: args[0], Consumer: args[1], Streams: []string{key, ">"}}).Err())
		default:
			command := []any{name, key}
			for _, arg := range args {
				command = append(command, arg)
			}
			err = master.Do(ctx, command...).Err()
		}
		if err != nil {
			return fmt.Errorf("step %q: %w", one, err)
		}
	}
	return nil
}

// Every function of the library serves sites on all masters while their slots
// move. What each is called with is the example of its contract.
func TestEveryFunctionServesASiteThatMoves(t *testing.T) {
	t.Parallel()
	all := contracts()
	known := map[string]bool{}
	for _, contract := range all {
		known[contract.function] = true
	}
	sites := newSites(t)
	for _, function := range sites[0].Library().Functions {
		if !known[function.Name] {
			t.Errorf("%s has no contract to be tried", function.Name)
		}
	}
	var running sync.WaitGroup
	for _, s := range sites {
		running.Go(func() {
			for _, contract := range all {
				if err := s.try(t.Context(), contract.function, &contract.examples[0]); err != nil {
					t.Errorf("%s: %s: %v", s.namespace, contract.function, err)
				}
			}
		})
	}
	running.Wait()
}

func TestAMasterWithoutTheLibraryIsNamed(t *testing.T) {
	t.Parallel()
	sites := newSites(t)
	toldApart(t, sites[0])
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

// toldApart uses a node of a cluster as a single Redis, and the other way around.
func toldApart(t *testing.T, s *site) {
	t.Helper()
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
