package rtdb_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/testkit"
)

var start = time.UnixMilli(1_782_000_000_000)

// bench is a real Redis with the library, a typed client and a bare one beside.
type bench struct {
	*rtdb.Client
	raw    *redis.Client
	clock  *ems.ManualClock
	server *testkit.RedisServer
	ctx    context.Context
}

func newBench(t testing.TB, namespace ems.Namespace) *bench {
	t.Helper()
	server := testkit.Redis(t)
	clock := ems.NewManualClock(start)
	client, err := rtdb.Open(rtdb.Options{URL: server.URL, Namespace: namespace, Clock: clock, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	options, err := redis.ParseURL(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	raw := redis.NewClient(options)
	t.Cleanup(func() { _, _ = client.Close(), raw.Close() })
	b := &bench{Client: client, raw: raw, clock: clock, server: server, ctx: t.Context()}
	if err := client.Load(b.ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

// dump returns everything that Redis holds, by key, as text. Stream ids depend
// on the server's clock and are left out.
func (b *bench) dump(t testing.TB) map[string]string {
	t.Helper()
	keys, err := b.raw.Keys(b.ctx, "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	for _, key := range keys {
		contents[key] = b.show(t, key)
	}
	return contents
}

func (b *bench) show(t testing.TB, key string) string {
	t.Helper()
	var err error
	var text string
	switch kind := b.raw.Type(b.ctx, key).Val(); kind {
	case "string":
		text, err = b.raw.Get(b.ctx, key).Result()
	case "hash":
		var fields map[string]string
		fields, err = b.raw.HGetAll(b.ctx, key).Result()
		var pairs []string
		for name, value := range fields {
			pairs = append(pairs, name+"="+value)
		}
		slices.Sort(pairs)
		text = strings.Join(pairs, " ")
	case "set":
		var members []string
		members, err = b.raw.SMembers(b.ctx, key).Result()
		slices.Sort(members)
		text = strings.Join(members, " ")
	case "list":
		var items []string
		items, err = b.raw.LRange(b.ctx, key, 0, -1).Result()
		text = strings.Join(items, "\n")
	case "zset":
		var members []redis.Z
		members, err = b.raw.ZRangeWithScores(b.ctx, key, 0, -1).Result()
		for i, member := range members {
			members[i].Member = fmt.Sprintf("%v@%.0f", member.Member, member.Score)
			text += members[i].Member.(string) + " "
		}
		text = strings.TrimSpace(text)
	case "stream":
		var entries []redis.XMessage
		entries, err = b.raw.XRange(b.ctx, key, "-", "+").Result()
		var lines []string
		for _, entry := range entries {
			var pairs []string
			for name, value := range entry.Values {
				pairs = append(pairs, fmt.Sprintf("%s=%v", name, value))
			}
			slices.Sort(pairs)
			lines = append(lines, strings.Join(pairs, " "))
		}
		text = strings.Join(lines, "\n")
	default:
		t.Fatalf("key %s has unexpected type %s", key, kind)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func expect(t testing.TB, what string, got, want any) {
	t.Helper()
	if difference := cmp.Diff(want, got); difference != "" {
		t.Errorf("%s (-want +got):\n%s", what, difference)
	}
}

func ref(t testing.TB, text string) ems.PointRef {
	t.Helper()
	parsed, err := ems.ParsePointRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestEveryFunctionOfTheLibraryIsRegistered(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	libraries, err := b.raw.FunctionList(b.ctx, redis.FunctionListQuery{}).Result()
	if err != nil {
		t.Fatal(err)
	}
	registered := map[string][]string{}
	for _, function := range libraries[0].Functions {
		registered[function.Name] = function.Flags
	}
	want := 1 // voltage_version
	for _, function := range b.Library().Functions {
		for _, name := range append([]string{function.Name}, function.Aliases...) {
			want++
			flags, found := registered[name]
			if !found {
				t.Errorf("%s is not registered", name)
			}
			expect(t, "flags of "+name, strings.Join(flags, " "), strings.Join(function.Flags, " "))
		}
	}
	expect(t, "number of functions", len(registered), want)
	for _, name := range []string{
		"store_alarm", "acknowledge_alarm", "resolve_alarm", "get_active_alarms", "cleanup_old_alarms",
		"configure_mapping", "convert_to_line_protocol", "batch_collect", "get_batch_status",
	} {
		if _, found := registered[name]; !found {
			t.Errorf("the reference's name %s is not registered", name)
		}
	}
}

func TestAnErrorOfTheLibraryNamesItsSource(t *testing.T) {
	t.Parallel()
	b := newBench(t, "")
	// A key of the wrong type is a fault that no argument check can foresee.
	if err := b.raw.Set(b.ctx, "modsrv:model:m", "text", 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, err := b.Model(b.ctx, "m")
	if ems.CodeOf(err) != ems.CodeInternal || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("got %v", err)
	}
	library := b.Library()
	for number, line := range strings.Split(library.Code, "\n") {
		if strings.HasPrefix(line, "-- model_get:") {
			expect(t, "source of a line", library.Source(number+1), "lua/modsrv/model_get.lua:1")
		}
	}
}

func TestNamespacesKeepSitesApart(t *testing.T) {
	t.Parallel()
	north := newBench(t, "{north}:")
	batch := rtdb.Batch{Channel: 1001, Type: ems.Telemetry, Group: "default", Time: start, Samples: []rtdb.Sample{{Point: 1, Number: 2.5}}}
	if err := north.Ingest(north.ctx, batch); err != nil {
		t.Fatal(err)
	}
	expect(t, "keys", north.dump(t), map[string]string{
		"{north}:comsrv:1001:T":      "1=2.500000",
		"{north}:comsrv:1001:T:ts":   "1=1782000000000",
		"{north}:comsrv:1001:status": "group:default=1782000000000",
	})
}

func TestARedisThatIsAwayOrRefusesIsSaidSo(t *testing.T) {
	t.Parallel()
	client, err := rtdb.Open(rtdb.Options{URL: fmt.Sprintf("redis://127.0.0.1:%d", testkit.FreePort(t)), Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); ems.CodeOf(err) != ems.CodeUnavailable || !contains(err.Error(), "is it running") {
		t.Errorf("nobody listens: %v", err)
	}
	if _, err := rtdb.Open(rtdb.Options{URL: "http://x"}); ems.CodeOf(err) != ems.CodeInvalid {
		t.Errorf("a bad URL: %v", err)
	}
	server := newBench(t, "")
	wrong := strings.Replace(server.server.URL, "redis://", "redis://somebody:wrong@", 1)
	client, err = rtdb.Open(rtdb.Options{URL: wrong, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Ping(t.Context()); ems.CodeOf(err) != ems.CodeDenied || strings.Contains(err.Error(), "wrong@") {
		t.Errorf("wrong credentials: %v", err)
	}
}
