package rtdb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/lua"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// release returns the library as another release would bring it: with that
// version, and with more at its end.
func (b *bench) release(version, more string) string {
	library := b.Library()
	return strings.Replace(library.Code, "'"+lua.Version+":"+library.Hash+"'", "'"+version+":other'", 1) + more
}

func (b *bench) loadCode(t testing.TB, code string) {
	t.Helper()
	if err := b.raw.FunctionLoadReplace(b.ctx, code).Err(); err != nil {
		t.Fatal(err)
	}
}

// beside returns a version that differs from this binary's.
func beside(t testing.TB, major, minor int) string {
	t.Helper()
	first, second, _ := strings.Cut(lua.Version, ".")
	one, err := strconv.Atoi(first)
	two, secondErr := strconv.Atoi(second)
	if err := errors.Join(err, secondErr); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d.%d", one+major, two+minor)
}

func TestAnOlderBinaryWorksBesideALibraryWithAdditions(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	newer := beside(t, 0, 1)
	b.loadCode(t, b.release(newer, "redis.register_function('voltage_addition', function() return 'new' end)\n"))
	if said, err := b.CheckFunctions(b.ctx); err != nil || !strings.HasPrefix(said, "library "+newer+":other, which fits ") {
		t.Errorf("readiness: %q, %v", said, err)
	}
	if got, err := b.raw.FCall(b.ctx, "voltage_addition", nil).Text(); got != "new" || err != nil {
		t.Errorf("the addition: %q, %v", got, err)
	}
	await(t, watch(t, b.server, func() error { return nil }), "a library that fits")
	b.ingest(t, 1001, rtdb.Sample{Point: 1, Number: 60})
	values, err := b.ReadPoints(b.ctx, 1001, ems.Telemetry, []ems.PointID{1})
	if err != nil || values[0].Number != 60 {
		t.Errorf("points: %v, %v", values, err)
	}
	if err := errors.Join(b.UpsertTemplate(b.ctx, batteryTemplate()), b.UpsertModel(b.ctx, battery("b1")), b.UpsertRule(b.ctx, hot())); err != nil {
		t.Error(err)
	}
	if state, err := b.Rule(b.ctx, "hot"); err != nil || state.Status != ems.RuleActive {
		t.Errorf("the rule: %v, %v", state, err)
	}
}

func TestALibraryThatDoesNotFitIsRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ loaded, needed, want string }{
		{"2.3", "2.3", ""},
		{"2.4", "2.3", ""},
		{"2.10", "2.9", ""},
		{"2.2", "2.3", "redis holds library version 2.2 and this binary needs 2.3: run `voltage functions load` of this release"},
		{"2.9", "2.10", "redis holds library version 2.9 and this binary needs 2.10: run `voltage functions load` of this release"},
		{"1.9", "2.0", "redis holds library version 1.9 and this binary needs 2.0: run `voltage functions load` of this release"},
		{"", "2.0", "redis holds library version  and this binary needs 2.0: run `voltage functions load` of this release"},
		{"3.0", "2.3", "redis holds library version 3.0 of a newer release and this binary needs 2.3: run a newer release of this service, or go back with `voltage functions load` of this release"},
	} {
		err := rtdb.CheckVersion(test.loaded, test.needed)
		if test.want == "" && err != nil || test.want != "" && (ems.CodeOf(err) != ems.CodeUnavailable || err.Error() != test.want) {
			t.Errorf("%s for %s: %v\nwant %s", test.loaded, test.needed, err, test.want)
		}
	}
	b := newBench(t, "")
	for _, version := range []string{beside(t, 1, 0), beside(t, -1, 0)} {
		b.loadCode(t, b.release(version, ""))
		if err := b.Verify(b.ctx); ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "holds library version "+version) {
			t.Errorf("%s: %v", version, err)
		}
		line := warnings(t, b.server.URL, func() error { t.Error("the site was stored beside " + version); return nil })
		if !strings.Contains(line, "redis holds library version "+version) {
			t.Errorf("%s is logged as %s", version, line)
		}
	}
	// A library of this version keeps its contract, whatever its content, and both
	// are told.
	b.loadCode(t, b.release(lua.Version, ""))
	told, err := b.CheckFunctions(b.ctx)
	if want := "library " + lua.Version + ":other, which fits the " + lua.Version + ":" + b.Library().Hash + " of this binary"; err != nil || !strings.Contains(told, want) {
		t.Errorf("got %q, %v, want %q", told, err, want)
	}
	if err := b.raw.FunctionFlush(b.ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Verify(b.ctx); ems.CodeOf(err) != ems.CodeUnavailable || err.Error() != "redis does not hold function voltage_version: run `voltage functions load`" {
		t.Errorf("no library: %v", err)
	}
}

// probe answers the mark of the library that serves the call twice, the second
// time through a helper and after a write.
func probe(mark string) string {
	return `
local function helper_mark() return '` + mark + `' end
redis.register_function('voltage_probe', function(keys)
  local first = '` + mark + `'
  local count = redis.call('INCR', keys[1])
  return {first, helper_mark(), tostring(count)}
end)
`
}

// writers call functions of every kind until ctx ends, and count their steps.
type writers struct {
	*bench
	sync.WaitGroup
	steps map[string]*atomic.Int64
}

func (w *writers) write(ctx context.Context, t *testing.T, name string, step func(n int64) error) {
	done := &atomic.Int64{}
	w.steps[name] = done
	w.Go(func() {
		for n := int64(1); ctx.Err() == nil; n++ {
			if err := step(n); err != nil {
				t.Errorf("%s, step %d: %v", name, n, err)
				return
			}
			done.Store(n)
		}
	})
}

func (w *writers) sample(channel ems.ChannelID, n int64) error {
	return w.Ingest(w.ctx, rtdb.Batch{Channel: channel, Type: ems.Telemetry, Group: "default", Time: start.Add(time.Duration(n) * time.Millisecond), Samples: []rtdb.Sample{
		{Point: 1, Number: float64(n)}, {Point: 3, Number: float64((n + 1) % 2)},
	}})
}

func (w *writers) start(ctx context.Context, t *testing.T) {
	w.write(ctx, t, "ingest", func(n int64) error { return w.sample(1001, n) })
	w.write(ctx, t, "more ingest", func(n int64) error { return w.sample(1002, n) })
	w.write(ctx, t, "models", func(int64) error {
		if err := w.UpsertModel(w.ctx, battery("b1")); err != nil {
			return err
		}
		_, err := w.ReadModel(w.ctx, "b1")
		return err
	})
	w.write(ctx, t, "rules", func(n int64) error {
		rule := hot()
		rule.Conditions[0].Value = ems.Number(float64(1000 + n%2))
		if err := w.UpsertRule(w.ctx, rule); err != nil {
			return err
		}
		_, err := w.EvaluateRule(w.ctx, "hot")
		return err
	})
	w.write(ctx, t, "alarms", func(int64) error {
		alarm, err := w.StoreAlarm(w.ctx, ems.NewAlarm{Source: "here", Level: "Warning", Title: "replaced"})
		if err != nil {
			return err
		}
		return errors.Join(w.AcknowledgeAlarm(w.ctx, alarm.ID, alarm.Occurrences, "me"), w.ResolveAlarm(w.ctx, alarm.ID, "me"))
	})
	w.write(ctx, t, "probe", func(n int64) error {
		said, err := w.raw.FCall(w.ctx, "voltage_probe", []string{"probe"}).StringSlice()
		if err == nil && (said[0] != said[1] || said[2] != strconv.FormatInt(n, 10)) {
			return fmt.Errorf("a mixed reply: %q", said)
		}
		return err
	})
}

// Two releases replace each other every 5 ms below writers of every kind: each
// call is served by one of them, whole, and none fails.
func TestReplacingTheLibraryDisturbsNobody(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	releases := []string{b.release(lua.Version, probe("one")), b.release(beside(t, 0, 1), probe("two"))}
	b.loadCode(t, releases[0])
	if err := errors.Join(b.ConfigureMapping(b.ctx, mapping()), b.UpsertRule(b.ctx, counting()), b.UpsertTemplate(b.ctx, batteryTemplate())); err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithTimeout(b.ctx, 3*time.Second)
	defer stop()
	w := &writers{bench: b, steps: map[string]*atomic.Int64{}}
	w.start(running, t)
	replaced := 0
	for tick := time.NewTicker(5 * time.Millisecond); running.Err() == nil; replaced++ {
		b.loadCode(t, releases[replaced%2])
		select {
		case <-tick.C:
		case <-running.Done():
			tick.Stop()
		}
	}
	w.Wait()
	n := w.steps["ingest"].Load()
	t.Logf("%d times replaced below %d ingests", replaced, n)
	for name, done := range w.steps {
		if done.Load() < 5 || replaced < 20 {
			t.Errorf("%s: only %d steps below %d replacements", name, done.Load(), replaced)
		}
	}
	expect(t, "the values", b.show(t, "comsrv:1001:T"), fmt.Sprintf("1=%d.000000 3=%d.000000", n, (n+1)%2))
	if lines := b.raw.XLen(b.ctx, "hissrv:stream").Val(); lines != n {
		t.Errorf("%d lines of history for %d batches", lines, n)
	}
	if state, err := b.Rule(b.ctx, "even"); err != nil || state.Fired != n/2 {
		t.Errorf("the rule fired %d times in %d steps (%v)", state.Fired, n, err)
	}
}

// The library goes while services run: they say so, and go on by themselves when
// it is back.
func TestServicesRecoverWhenTheLibraryIsBack(t *testing.T) {
	t.Parallel()
	for _, lose := range map[string]func(raw *redis.Client, ctx context.Context) error{
		"flush":  func(raw *redis.Client, ctx context.Context) error { return raw.FunctionFlush(ctx).Err() },
		"delete": func(raw *redis.Client, ctx context.Context) error { return raw.FunctionDelete(ctx, lua.Name).Err() },
	} {
		b := newBench(t, "")
		lines := make(allLines, 100)
		client, err := rtdb.Open(rtdb.Options{URL: b.server.URL, Clock: ems.SystemClock{}, Logger: slog.New(slog.NewTextHandler(lines, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.ctx)
		ready := make(chan struct{}, 100)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			client.Watch(ctx, func(ctx context.Context) error {
				err := client.UpsertRule(ctx, hot())
				ready <- struct{}{}
				return err
			})
		}()
		await(t, ready, "at the start")
		if err := lose(b.raw, b.ctx); err != nil {
			t.Fatal(err)
		}
		lines.await(t, `msg="redis is not usable; trying again" error="redis does not hold function voltage_version: run `+"`voltage functions load`")
		if _, err := client.CheckFunctions(b.ctx); ems.CodeOf(err) != ems.CodeUnavailable {
			t.Errorf("readiness without the library: %v", err)
		}
		if _, err := client.CheckRedis(b.ctx); err != nil {
			t.Errorf("the connection without the library: %v", err)
		}
		sample := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: start, Samples: []rtdb.Sample{{Point: 1, Number: 60}}}
		if err := client.Ingest(b.ctx, sample); ems.CodeOf(err) != ems.CodeUnavailable || !strings.Contains(err.Error(), "run `voltage functions load`") {
			t.Errorf("ingest without the library: %v", err)
		}
		if err := b.Load(b.ctx); err != nil {
			t.Fatal(err)
		}
		await(t, ready, "the library is back")
		lines.await(t, "redis is usable again, and the site is stored")
		if _, err := client.CheckFunctions(b.ctx); err != nil {
			t.Errorf("readiness with the library: %v", err)
		}
		if err := client.Ingest(b.ctx, sample); err != nil {
			t.Errorf("ingest with the library: %v", err)
		}
		if state, err := b.Rule(b.ctx, "hot"); err != nil || state.Status != ems.RuleActive {
			t.Errorf("the rule is %v, %v", state.Status, err)
		}
		cancel()
		<-ended
		_ = client.Close()
	}
}

// allLines keeps every line that is written to it.
type allLines chan string

func (l allLines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// await drops lines until one holds the text.
func (l allLines) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case line := <-l:
			if strings.Contains(line, text) {
				return
			}
		case <-deadline:
			t.Fatalf("not logged: %s", text)
		}
	}
}
