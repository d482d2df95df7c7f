package bench

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// siteName is the name of the first site of the bench, with which those of the
// others begin.
const siteName = "bench"

// site is one namespace under load: the typed calls, and a bare client for the
// native cases and for everything that is not measured.
type site struct {
	name  string
	db    *rtdb.Client
	raw   *redis.Client
	rules int              // how many it holds
	fired map[string]int64 // how often each rule was let fire, to prove that it can
	ready bool             // everything that its cases need is stored
}

func newSite(name string) *site { return &site{name: name, fired: map[string]int64{}} }

// connect makes the client of a site. Nothing is sent.
func (s *server) connect(one *site) error {
	namespace, err := ems.NewNamespace(one.name)
	if err != nil {
		return err
	}
	one.db, err = rtdb.Open(rtdb.Options{URL: s.address, Namespace: namespace, Clock: s.clock, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func(context.Context) error { return one.db.Close() })
	return nil
}

// prepare takes a site beside the first one into use and stores, once, what its
// cases need.
func (s *server) prepare(ctx context.Context, one *site, seed func() error) error {
	if one.ready {
		return nil
	}
	if err := s.connect(one); err != nil {
		return err
	}
	one.raw = s.raw
	if err := s.claim(ctx, one); err != nil {
		return err
	}
	err := seed()
	one.ready = err == nil
	return err
}

// marker is the key by which the bench knows its own namespaces again.
const marker = "bench:marker"

// claim empties the namespace of a site of what an interrupted run left, and
// refuses it where its keys are not those of a bench. They are gone after the run.
func (s *server) claim(ctx context.Context, one *site) error {
	mark := one.db.Namespace().Of(marker)
	marked, err := s.raw.Exists(ctx, mark).Result()
	if err != nil {
		return s.fault(err)
	}
	if marked == 0 {
		found, err := one.keys(ctx)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return ems.Errorf(ems.CodeConflict, "redis holds keys of a site named %s, such as %s: the bench would delete them; name another Redis", one.name, found[0])
		}
	}
	if err := one.removeKeys(ctx); err != nil {
		return err
	}
	if err := s.raw.Set(ctx, mark, "keys of this namespace are of voltlab bench and may be deleted", 0).Err(); err != nil {
		return s.fault(err)
	}
	s.closers = append(s.closers, one.removeKeys)
	return nil
}

// keysAtOnce bounds what one command lists or removes.
const keysAtOnce = 1000

// keys lists the keys of the namespace.
func (s *site) keys(ctx context.Context) ([]string, error) {
	var found []string
	var cursor uint64
	for {
		page, next, err := s.raw.Scan(ctx, cursor, s.db.Namespace().Of("*"), keysAtOnce).Result()
		if err != nil {
			return nil, s.fault(err)
		}
		found = append(found, page...)
		if cursor = next; cursor == 0 {
			return found, nil
		}
	}
}

// empty deletes the keys of the namespace but for the marker, so that an
// interrupted removal can be taken up again.
func (s *site) empty(ctx context.Context) error {
	found, err := s.keys(ctx)
	if err != nil {
		return err
	}
	mark := s.db.Namespace().Of(marker)
	found = slices.DeleteFunc(found, func(key string) bool { return key == mark })
	for part := range slices.Chunk(found, keysAtOnce) {
		if err := s.raw.Unlink(ctx, part...).Err(); err != nil {
			return s.fault(err)
		}
	}
	return nil
}

// removeKeys deletes all keys of the namespace.
func (s *site) removeKeys(ctx context.Context) error {
	if err := s.empty(ctx); err != nil {
		return err
	}
	return s.fault(s.raw.Unlink(ctx, s.db.Namespace().Of(marker)).Err())
}

func (s *site) fault(err error) error {
	if err == nil {
		return nil
	}
	return ems.Errorf(ems.CodeUnavailable, "redis of the bench: %w", err)
}

// freshFor keeps the values good for as long as a run may take.
const freshFor = 24 * time.Hour

// block is a channel with a number of points, all of them telemetry.
type block struct {
	channel ems.ChannelID
	size    int // points 1 to size
}

// seedBlock stores the channel of a block that goes to history, and the first
// value of every point.
func (s *site) seedBlock(ctx context.Context, clock ems.Clock, b block) error {
	if err := s.db.ConfigureMapping(ctx, historyOf(b.channel, b.size)); err != nil {
		return err
	}
	if err := s.db.SetStatus(ctx, b.channel, rtdb.ChannelStatus{Online: true, StaleAfter: freshFor}); err != nil {
		return err
	}
	return s.db.Ingest(ctx, b.batch(clock.Now(), 0, 0, b.size))
}

// source names a point, counted from 0, as a rule does.
func (b block) source(point int) string {
	return ems.PointRef{Channel: b.channel, Type: ems.Telemetry, Point: ems.PointID(point + 1)}.String()
}

// number is the value of a point, counted from 0, in call n: from 0 to 1000 with
// three decimals, and another one in each of a million calls in a row.
func number(n, point int) float64 { return float64((n*1009+point*7919)%1_000_000) / 1000 }

// batch is what a poll brings in call n: count points from first on, wrapping
// round at the end of the block.
func (b block) batch(at time.Time, n, first, count int) rtdb.Batch {
	samples := make([]rtdb.Sample, count)
	for i := range samples {
		point := (first + i) % b.size
		samples[i] = rtdb.Sample{Point: ems.PointID(point + 1), Number: number(n, point)}
	}
	return rtdb.Batch{Channel: b.channel, Type: ems.Telemetry, Group: group, Time: at, Samples: samples}
}

// trimHistory does the part of hissrv, which takes entries away as fast as they
// come: the stream must not grow to its limit, where ingest has less to do.
func (s *site) trimHistory(ctx context.Context) error {
	return s.fault(s.raw.XTrimMaxLen(ctx, s.db.Namespace().HistoryStream(), 0).Err())
}
