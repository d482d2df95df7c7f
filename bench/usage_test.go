package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestParseUsage(t *testing.T) {
	const info = "# Commandstats\r\ncmdstat_fcall:calls=3,usec=250,usec_per_call=83.33,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_fcall_ro:calls=9,usec=1,usec_per_call=0.11,rejected_calls=0,failed_calls=0\r\n"
	got, err := parseUsage(info, "fcall")
	if err != nil || got != (usage{calls: 3, spent: 250 * time.Microsecond}) {
		t.Errorf("%+v, %v", got, err)
	}
	if none, err := parseUsage(info, "ping"); err != nil || none != (usage{}) {
		t.Errorf("a command that was never called: %+v, %v", none, err)
	}
	if _, err := parseUsage("cmdstat_ping:calls=x,usec=1", "ping"); err == nil {
		t.Error("calls=x was taken for a number")
	}
	later := usage{calls: 5, spent: 451 * time.Microsecond}
	if each := later.since(got); each != 100500*time.Nanosecond {
		t.Errorf("two more calls in 201 us took %v each", each)
	}
	if each := got.since(got); each != 0 {
		t.Errorf("no calls took %v each", each)
	}
}

func TestUsageOfSeveralCommandsIsAddedUp(t *testing.T) {
	t.Parallel()
	server := own(t)
	ctx := t.Context()
	count := func() int64 {
		t.Helper()
		seen, err := server.look(ctx, []string{"echo", "time"})
		if err != nil {
			t.Fatal(err)
		}
		return seen.usage.calls
	}
	before := count()
	if err := errors.Join(server.raw.Echo(ctx, "x").Err(), server.raw.Echo(ctx, "x").Err(), server.raw.Time(ctx).Err(), server.raw.Ping(ctx).Err()); err != nil {
		t.Fatal(err)
	}
	if made := count() - before; made != 3 {
		t.Errorf("%d calls for 3", made)
	}
}

func TestTheLongestOfTheSlowLogIsOfTheCommandsAndTheTimeAskedFor(t *testing.T) {
	entry := func(id int64, took time.Duration, args ...string) redis.SlowLog {
		return redis.SlowLog{ID: id, Duration: took, Args: args}
	}
	log := []redis.SlowLog{
		entry(9, 90, "FCALL", "too late"), entry(8, 20, "fcall", "x"), entry(7, 30, "FCALL", "x"), entry(6, 80, "xtrim", "of the bench"),
		entry(5, 70), entry(4, 60, "fcall", "before"),
	}
	if got := longest(log, 4, 8, []string{"fcall", "ping"}); got != 30 {
		t.Errorf("%d", got)
	}
	if got := longest(log, 4, 8, []string{"hget"}); got != 0 {
		t.Errorf("%d of a command that was not slow", got)
	}
}

// A real slow command is found, and one of another time or name is not.
func TestASlowCommandIsFoundInTheSlowLog(t *testing.T) {
	t.Parallel()
	server := own(t)
	ctx := t.Context()
	look := func() int64 {
		t.Helper()
		seen, err := server.look(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		return seen.slow
	}
	count := func() {
		t.Helper()
		// A script that counts takes milliseconds on any machine.
		if err := server.raw.Eval(ctx, "for i = 1, 3000000 do end return 1", nil).Err(); err != nil {
			t.Fatal(err)
		}
	}
	first := look()
	count()
	second := look()
	if second <= first {
		t.Fatalf("the slow log ends at %d and %d", first, second)
	}
	found, err := server.slowest(ctx, first, second, []string{"eval"})
	if err != nil || found < slowFrom || found > time.Minute {
		t.Errorf("%v, %v", found, err)
	}
	count()
	for name, ask := range map[string]func() (time.Duration, error){
		"another command": func() (time.Duration, error) { return server.slowest(ctx, first, second, []string{"ping"}) },
		"nothing new":     func() (time.Duration, error) { return server.slowest(ctx, second, second, []string{"eval"}) },
		"an earlier slice": func() (time.Duration, error) {
			count()
			return server.slowest(ctx, second-1, second-1, []string{"eval"})
		},
	} {
		if found, err := ask(); err != nil || found != 0 {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
}

func TestARedisWithLongCompactHashesIsRefused(t *testing.T) {
	t.Parallel()
	shared := own(t)
	ctx := t.Context()
	if err := errors.Join(shared.removeKeys(ctx), shared.raw.ConfigSet(ctx, "hash-max-listpack-entries", "512").Err()); err != nil {
		t.Fatal(err)
	}
	options := options(&progress{})
	options.RedisURL = shared.url()
	_, err := Run(ctx, options)
	const want = "redis has hash-max-listpack-entries 512 and the limits hold for 64: set it in redis.conf, or with CONFIG SET"
	if ems.CodeOf(err) != ems.CodeConflict || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestAGivenRedisHasItsSettingsBack(t *testing.T) {
	t.Parallel()
	shared := own(t)
	ctx := t.Context()
	given := map[string]string{"slowlog-log-slower-than": "7000", "slowlog-max-len": "33", "auto-aof-rewrite-percentage": "77"}
	for name, value := range given {
		if err := shared.raw.ConfigSet(ctx, name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	server, err := openServer(ctx, ems.SystemClock{}, shared.url())
	// It was claimed by the one that shares it: its marker is known.
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"slowlog-log-slower-than": "1000", "slowlog-max-len": "10000", "auto-aof-rewrite-percentage": "77"} {
		if found, err := server.setting(ctx, name); err != nil || found != want {
			t.Errorf("%s is %s during a run, want %s, %v", name, found, want, err)
		}
	}
	if err := server.rewrite(ctx, ems.SystemClock{}); err != nil || strings.Contains(shared.raw.Info(ctx, "persistence").Val(), "aof_rewrite_in_progress:1") {
		t.Errorf("the file of a given Redis was rewritten, %v", err)
	}
	if err := server.close(context.Background()); err != nil {
		t.Fatal(err)
	}
	for name, want := range given {
		if found, err := shared.setting(ctx, name); err != nil || found != want {
			t.Errorf("%s is %s afterwards, want %s, %v", name, found, want, err)
		}
	}
}

func TestTheFileIsRewrittenBetweenRounds(t *testing.T) {
	t.Parallel()
	server := own(t)
	ctx := t.Context()
	if found, err := server.setting(ctx, "auto-aof-rewrite-percentage"); err != nil || found != "0" {
		t.Errorf("redis rewrites its file at %s %%, %v", found, err)
	}
	rewrites := func() string {
		t.Helper()
		info, err := server.raw.Info(ctx, "persistence").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(info, "\naof_rewrites:")
		count, _, _ := strings.Cut(rest, "\r")
		return count
	}
	before := rewrites()
	if err := server.rewrite(ctx, ems.SystemClock{}); err != nil {
		t.Fatal(err)
	}
	if after := rewrites(); before != "0" || after != "1" {
		t.Errorf("%s rewrites before and %s after", before, after)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := server.rewrite(ended, ems.SystemClock{}); err == nil {
		t.Error("a rewrite was waited for after the end")
	}
}
