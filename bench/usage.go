package bench

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// hashEntries is how many fields a hash may have in the compact encoding, in
// which writing 100 fields takes ten times as long: the limits of the bench hold
// for this number alone.
const hashEntries = "64"

// The slow log during a run: it holds every command that took as long as
// slowFrom, and more of them than one slice has time for.
const (
	slowFrom    = time.Millisecond
	slowEntries = int(mostSlice / slowFrom)
)

// configure refuses a Redis that is set up otherwise than the system demands,
// and sets the slow log until the end of the run.
func (s *server) configure(ctx context.Context) error {
	found, err := s.setting(ctx, "hash-max-listpack-entries")
	if err != nil {
		return err
	}
	if found != hashEntries {
		return ems.Errorf(ems.CodeConflict, "redis has hash-max-listpack-entries %s and the limits hold for %s: set it in redis.conf, or with CONFIG SET", found, hashEntries)
	}
	if err := s.set(ctx, "slowlog-log-slower-than", strconv.FormatInt(slowFrom.Microseconds(), 10)); err != nil {
		return err
	}
	if err := s.set(ctx, "slowlog-max-len", strconv.Itoa(slowEntries)); err != nil {
		return err
	}
	if !s.owned {
		return nil
	}
	return s.set(ctx, "auto-aof-rewrite-percentage", "0")
}

// rewrite lets a Redis of the bench rewrite its append-only file between two
// rounds. A plant makes it do so once in hours; the bench writes as much in
// seconds, and would measure little else.
func (s *server) rewrite(ctx context.Context, clock ems.Clock) error {
	if !s.owned {
		return nil
	}
	if err := s.raw.BgRewriteAOF(ctx).Err(); err != nil {
		return s.fault(err)
	}
	timer := clock.NewTimer(rewritePoll)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C():
		}
		info, err := s.raw.Info(ctx, "persistence").Result()
		if err != nil {
			return s.fault(err)
		}
		if strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0") {
			return nil
		}
		timer.Reset(rewritePoll)
	}
}

// rewritePoll is how often the bench looks whether a rewrite has ended.
const rewritePoll = 5 * time.Millisecond

func (s *server) setting(ctx context.Context, name string) (string, error) {
	found, err := s.raw.ConfigGet(ctx, name).Result()
	return found[name], s.fault(err)
}

// set changes a setting of Redis until the end of the run.
func (s *server) set(ctx context.Context, name, value string) error {
	before, err := s.setting(ctx, name)
	if err != nil {
		return err
	}
	if err := s.raw.ConfigSet(ctx, name, value).Err(); err != nil {
		return s.fault(err)
	}
	s.closers = append(s.closers, func(ctx context.Context) error { return s.fault(s.raw.ConfigSet(ctx, name, before).Err()) })
	return nil
}

// usage is what Redis has spent on some commands since it started.
type usage struct {
	calls int64
	spent time.Duration
}

// since returns the time that each call took on average since an earlier usage.
func (u usage) since(before usage) time.Duration {
	if u.calls == before.calls {
		return 0
	}
	return (u.spent - before.spent) / time.Duration(u.calls-before.calls)
}

// view is what Redis tells before and after a slice.
type view struct {
	usage usage
	slow  int64 // id of the newest entry of the slow log; -1 where there is none
}

func (s *server) look(ctx context.Context, commands []string) (view, error) {
	used, err := s.commandUsage(ctx, commands)
	if err != nil {
		return view{}, err
	}
	newest, err := s.raw.SlowLogGet(ctx, 1).Result()
	if err != nil {
		return view{}, s.fault(err)
	}
	seen := view{usage: used, slow: -1}
	if len(newest) > 0 {
		seen.slow = newest[0].ID
	}
	return seen, nil
}

// slowest returns the longest time of one of the commands in the slow log, among
// the entries after one up to another; 0 where there is none.
func (s *server) slowest(ctx context.Context, after, last int64, commands []string) (time.Duration, error) {
	if last == after {
		return 0, nil
	}
	entries, err := s.raw.SlowLogGet(ctx, last-after+slowMargin).Result()
	if err != nil {
		return 0, s.fault(err)
	}
	return longest(entries, after, last, commands), nil
}

// slowMargin is how many entries may come while the slow log is read.
const slowMargin = 16

func longest(entries []redis.SlowLog, after, last int64, commands []string) time.Duration {
	var found time.Duration
	for _, entry := range entries {
		if entry.ID > after && entry.ID <= last && len(entry.Args) > 0 && slices.Contains(commands, strings.ToLower(entry.Args[0])) {
			found = max(found, entry.Duration)
		}
	}
	return found
}

// commandUsage adds up the lines of some commands in INFO commandstats.
func (s *server) commandUsage(ctx context.Context, commands []string) (usage, error) {
	text, err := s.raw.Info(ctx, "commandstats").Result()
	if err != nil {
		return usage{}, s.fault(err)
	}
	var all usage
	for _, command := range commands {
		one, err := parseUsage(text, command)
		if err != nil {
			return usage{}, err
		}
		all.calls += one.calls
		all.spent += one.spent
	}
	return all, nil
}

// parseUsage reads "cmdstat_fcall:calls=2,usec=150,…". A command without a line
// was never called.
func parseUsage(text, command string) (usage, error) {
	for line := range strings.Lines(text) {
		fields, found := strings.CutPrefix(strings.TrimSpace(line), "cmdstat_"+command+":")
		if !found {
			continue
		}
		numbers := map[string]int64{}
		for _, field := range strings.Split(fields, ",") {
			name, value, _ := strings.Cut(field, "=")
			if name == "calls" || name == "usec" {
				number, err := strconv.ParseInt(value, 10, 64)
				if err != nil {
					return usage{}, ems.Errorf(ems.CodeInternal, "redis tells %q of %s", field, command)
				}
				numbers[name] = number
			}
		}
		return usage{calls: numbers["calls"], spent: time.Duration(numbers["usec"]) * time.Microsecond}, nil
	}
	return usage{}, nil
}
