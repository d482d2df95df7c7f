package alarmsrv

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// entryForm is the id of an entry of the journal.
var entryForm = regexp.MustCompile(`^\d{1,19}-\d{1,19}$`)

func checkEntry(what, text string) error {
	if !entryForm.MatchString(text) {
		return ems.Errorf(ems.CodeInvalid, "%s %q is not the id of an entry of the journal, such as 1782000000000-0", what, text)
	}
	return nil
}

// listJournal replies with a page of the journal, newest first: ?alarm= of one
// alarm, ?after= the entries that follow that one in the list, which are older,
// and ?limit=. With ?order=oldest the list begins with the oldest.
func (s *Service) listJournal(c echo.Context) error {
	count, alarm, cursor := httpserver.DefaultPage, c.QueryParam("alarm"), c.QueryParam("after")
	if text := c.QueryParam("limit"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 || number > rtdb.JournalPage {
			return ems.Errorf(ems.CodeInvalid, "limit %q is not a whole number from 1 to %d", text, rtdb.JournalPage)
		}
		count = number
	}
	if alarm != "" {
		if err := ems.CheckID("alarm", alarm); err != nil {
			return err
		}
	}
	if cursor != "" {
		if err := checkEntry("after", cursor); err != nil {
			return err
		}
	}
	order := c.QueryParam("order")
	if order != "" && order != "newest" && order != "oldest" {
		return ems.Errorf(ems.CodeInvalid, "unknown order %q: use newest or oldest", order)
	}
	entries, next, err := s.db.AlarmJournal(c.Request().Context(), alarm, order != "oldest", cursor, count)
	if err != nil {
		return err
	}
	return httpserver.OKPage(c, entries, next)
}

// Bounds of the live feed.
const (
	maxFollowers = 100
	recentSize   = 2048 // entries kept for all followers; who is further behind reads from Redis
	followWait   = time.Second
	followPause  = time.Second // after an error
)

// feed hands the journal to those who follow it. Each follower has a place of its
// own in the journal, so that a slow one is late and loses nothing.
type feed struct {
	mu        sync.Mutex
	recent    []ems.JournalEntry
	since     string        // recent holds all that came after this entry; empty while nothing is known
	grown     chan struct{} // closed when recent has grown
	followers int
	slow      prometheus.Counter
}

func newFeed(registry *prometheus.Registry) *feed {
	f := &feed{
		grown: make(chan struct{}),
		slow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voltage_alarmsrv_followers_dropped_total", Help: "Followers of the live events that were let go because they did not read.",
		}),
	}
	registry.MustRegister(f.slow, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "voltage_alarmsrv_followers", Help: "Clients that follow the live events of alarms.",
	}, func() float64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return float64(f.followers)
	}))
	return f
}

// begin notes from where on the feed knows everything.
func (f *feed) begin(since string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent, f.since = nil, since
}

func (f *feed) add(entries []ems.JournalEntry) {
	if len(entries) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.recent = append(f.recent, entries...)
	if surplus := len(f.recent) - recentSize; surplus > 0 {
		f.since = f.recent[surplus-1].ID
		f.recent = slices.Clone(f.recent[surplus:])
	}
	close(f.grown)
	f.grown = make(chan struct{})
}

// newest returns the last entry that the feed knows of, empty while it knows none.
func (f *feed) newest() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.recent) > 0 {
		return f.recent[len(f.recent)-1].ID
	}
	return f.since
}

// after returns what came after an entry, and what is closed when there is more.
// It is not known where the entry is older than what the feed keeps.
func (f *feed) after(id string) (entries []ems.JournalEntry, grown <-chan struct{}, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since == "" || earlier(id, f.since) {
		return nil, f.grown, false
	}
	first := slices.IndexFunc(f.recent, func(entry ems.JournalEntry) bool { return earlier(id, entry.ID) })
	if first < 0 {
		return nil, f.grown, true
	}
	return f.recent[first:min(len(f.recent), first+rtdb.JournalPage)], f.grown, true
}

// earlier reports whether entry a comes before entry b.
func earlier(a, b string) bool {
	aTime, aSequence := splitEntry(a)
	bTime, bSequence := splitEntry(b)
	return aTime < bTime || aTime == bTime && aSequence < bSequence
}

func splitEntry(id string) (at, sequence uint64) {
	time, rest, _ := strings.Cut(id, "-")
	at, _ = strconv.ParseUint(time, 10, 64)
	sequence, _ = strconv.ParseUint(rest, 10, 64)
	return at, sequence
}

func (f *feed) join() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers == maxFollowers {
		return ems.Errorf(ems.CodeUnavailable, "%d clients follow the alarms already: close some, or try again later", maxFollowers)
	}
	f.followers++
	return nil
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers--
}

// follow reads the journal into the feed until ctx ends. After an error it goes
// on where it was.
func (s *Service) follow(ctx context.Context) {
	timer := s.clock.NewTimer(0)
	defer timer.Stop()
	var lastFault ems.Code
	at := ""
	for ctx.Err() == nil {
		var entries []ems.JournalEntry
		var err error
		if at == "" {
			if at, err = s.db.LastJournal(ctx); err == nil {
				s.feed.begin(at)
			}
		} else if entries, err = s.db.AwaitJournal(ctx, at, followWait); len(entries) > 0 {
			at = entries[len(entries)-1].ID
			s.feed.add(entries)
		}
		if err == nil {
			lastFault = ""
			continue
		}
		if ctx.Err() == nil && ems.CodeOf(err) != lastFault {
			lastFault = ems.CodeOf(err)
			s.logger.Warn("the journal of alarms cannot be followed; trying again", "error", err)
		}
		timer.Reset(followPause)
		select {
		case <-ctx.Done():
		case <-timer.C():
		}
	}
}

// startOf returns the entry after which a follower begins: that of Last-Event-ID,
// or ?after=, or the newest. lost says that entries after it are no longer kept.
func (s *Service) startOf(c echo.Context) (at string, lost bool, err error) {
	ctx := c.Request().Context()
	at = c.Request().Header.Get("Last-Event-ID")
	if at == "" {
		at = c.QueryParam("after")
	}
	if at == "" {
		if at = s.feed.newest(); at == "" {
			at, err = s.db.LastJournal(ctx)
		}
		return at, false, err
	}
	if err := checkEntry("Last-Event-ID", at); err != nil {
		return "", false, err
	}
	counts, err := s.db.AlarmCounts(ctx, time.Time{})
	if err != nil || counts.JournalTrimmed == 0 {
		return at, false, err
	}
	oldest, err := s.db.JournalAfter(ctx, "", 1)
	return at, len(oldest) == 0 || earlier(at, oldest[0].ID), err
}

// next returns what a follower has not had yet, and what to wait for when that is
// nothing.
func (s *Service) next(ctx context.Context, at string) ([]ems.JournalEntry, <-chan struct{}, error) {
	entries, grown, known := s.feed.after(at)
	if known {
		return entries, grown, nil
	}
	entries, err := s.db.JournalAfter(ctx, at, rtdb.JournalPage)
	if err != nil {
		return nil, nil, fmt.Errorf("the journal cannot be read: %w", err)
	}
	return entries, grown, nil
}
