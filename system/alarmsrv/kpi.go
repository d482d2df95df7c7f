package alarmsrv

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// Bounds of one judgement of the alarm system.
const (
	judgedPeriod  = 10 * time.Minute // the unit of EEMUA 191 and ISA-18.2
	shortestSpan  = judgedPeriod
	longestSpan   = 31 * 24 * time.Hour
	usualSpan     = 24 * time.Hour
	staleAge      = 24 * time.Hour
	judgedEntries = 500_000 // of the journal
	clockSlack    = time.Hour
	topCount      = 10
	mostOperators = 100
)

// Performance is how the alarm system does by EEMUA 191 and ISA-18.2, over the
// alarms that people were told of: raised, returned or worse, neither shelved nor
// suppressed. What it is at the time of asking is marked as "now".
type Performance struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// JournalFrom is the oldest entry kept; Complete is false where the journal
	// begins later than From, or is too long to be read at once.
	JournalFrom *time.Time `json:"journal_from,omitempty"`
	Complete    bool       `json:"complete"`
	Alarms      int64      `json:"alarms"`
	Withheld    int64      `json:"withheld"` // raised while shelved or suppressed
	Operators   int        `json:"operators"`
	// AveragePer10Min is of the site. Of one operator 1 is acceptable, and 2 are the
	// most that can be managed.
	AveragePer10Min            float64    `json:"average_per_10_min"`
	AveragePer10MinPerOperator float64    `json:"average_per_10_min_per_operator"`
	PeakPer10Min               int64      `json:"peak_per_10_min"` // of the periods of 10 minutes from From on; 10 for each operator at most is the aim
	PeakAt                     *time.Time `json:"peak_at,omitempty"`
	// OverLimitPercent is the share of the periods with more alarms than FloodLimit;
	// 1 % at most is the aim, as it is of FloodPercent, the share of the time in a
	// flood: from a period with more alarms than FloodLimit on, up to the first one
	// with fewer than half of it.
	OverLimitPercent float64    `json:"over_limit_percent"`
	FloodPercent     float64    `json:"flood_percent"`
	FloodLimit       int        `json:"flood_limit"`
	ChatteringAlarms int64      `json:"chattering_alarms"` // different ones that began to chatter; 0 is the aim
	ChatteringNow    int64      `json:"chattering_now"`
	Standing         int64      `json:"standing"`   // now: active, neither shelved nor suppressed
	Stale            int64      `json:"stale"`      // now: standing for more than 24 hours without a break; 5 at most is the aim
	Shelved          int64      `json:"shelved"`    // now, of those that are not closed
	Suppressed       int64      `json:"suppressed"` // now, as well
	TopTen           []Frequent `json:"top_ten"`
	// TopTenPercent is the share of TopTen in all alarms; 1 to 5 % at most is the aim.
	TopTenPercent float64 `json:"top_ten_percent"`
	// ByLevel is the distribution by the level at which alarms were raised; the aim is
	// about 80 % of low, 15 % of medium and 5 % of high priority.
	ByLevel map[ems.AlarmLevel]Share `json:"by_level"`
}

// Frequent is one of the alarms that came most often.
type Frequent struct {
	Source  string  `json:"source"`
	Rule    string  `json:"rule,omitempty"`
	Title   string  `json:"title"` // of the last time
	Alarms  int64   `json:"alarms"`
	Percent float64 `json:"percent"`
}

// Share is a part of all alarms.
type Share struct {
	Alarms  int64   `json:"alarms"`
	Percent float64 `json:"percent"`
}

// judge replies with the performance between ?from= and ?to= (RFC 3339), the last
// 24 hours where they are not given, for so many ?operators=, one if not given.
func (s *Service) judge(c echo.Context) error {
	from, err := queryTime(c, "from")
	if err != nil {
		return err
	}
	to, err := queryTime(c, "to")
	if err != nil {
		return err
	}
	if to.IsZero() {
		to = s.clock.Now()
	}
	if from.IsZero() {
		from = to.Add(-usualSpan)
	}
	if span := to.Sub(from); span < shortestSpan || span > longestSpan {
		return ems.Errorf(ems.CodeInvalid, "from %s to %s is %v: from %v to %v are allowed",
			from.Format(time.RFC3339), to.Format(time.RFC3339), span, shortestSpan, longestSpan)
	}
	operators := 1
	if text := c.QueryParam("operators"); text != "" {
		if operators, err = strconv.Atoi(text); err != nil || operators < 1 || operators > mostOperators {
			return ems.Errorf(ems.CodeInvalid, "operators %q is not a whole number from 1 to %d", text, mostOperators)
		}
	}
	ctx := c.Request().Context()
	tally := newTally(from, to, s.settings.FloodLimit)
	complete, first, err := s.readJournal(ctx, from, tally.take)
	if err != nil {
		return err
	}
	counts, err := s.db.AlarmCounts(ctx, s.clock.Now().Add(-staleAge))
	if err != nil {
		return err
	}
	performance := tally.result()
	performance.Complete, performance.JournalFrom = complete, first
	performance.Operators, performance.AveragePer10MinPerOperator = operators, performance.AveragePer10Min/float64(operators)
	performance.Standing, performance.Stale, performance.ChatteringNow = counts.Standing, counts.Stale, counts.Chattering
	performance.Shelved, performance.Suppressed = counts.Shelved, counts.Suppressed
	return httpserver.OK(c, performance)
}

// readJournal hands over all entries that may lie after a time, and returns
// whether they are all there are and when the oldest one kept was written.
func (s *Service) readJournal(ctx context.Context, from time.Time, take func(ems.JournalEntry)) (complete bool, first *time.Time, err error) {
	counts, err := s.db.AlarmCounts(ctx, time.Time{})
	if err != nil {
		return false, nil, err
	}
	oldest, err := s.db.JournalAfter(ctx, "", 1)
	if err != nil {
		return false, nil, err
	}
	complete = counts.JournalTrimmed == 0
	if len(oldest) > 0 {
		first = &oldest[0].Time
		complete = complete || !first.After(from)
	}
	// Ids are the clock of Redis, and the times of entries that of the values:
	// the two may differ a little.
	at := strconv.FormatInt(max(0, from.Add(-clockSlack).UnixMilli()), 10) + "-0"
	for range judgedEntries / httpserver.LargestPage {
		entries, err := s.db.JournalAfter(ctx, at, httpserver.LargestPage)
		if err != nil {
			return false, nil, err
		}
		for _, entry := range entries {
			take(entry)
		}
		if len(entries) < httpserver.LargestPage {
			return complete, first, nil
		}
		at = entries[len(entries)-1].ID
	}
	return false, first, nil
}

// tally gathers what Performance tells.
type tally struct {
	from, to time.Time
	limit    int
	periods  []int64 // alarms in each 10 minutes, the last of which may be cut short
	found    Performance
	levels   map[ems.AlarmLevel]int64
	often    map[[2]string]*Frequent // by source and rule
	chatter  map[[2]string]bool
}

func newTally(from, to time.Time, limit int) *tally {
	count := (to.Sub(from) + judgedPeriod - 1) / judgedPeriod
	return &tally{
		from: from, to: to, limit: limit, periods: make([]int64, count),
		levels: map[ems.AlarmLevel]int64{}, often: map[[2]string]*Frequent{}, chatter: map[[2]string]bool{},
	}
}

func (t *tally) take(entry ems.JournalEntry) {
	if entry.Time.Before(t.from) || !entry.Time.Before(t.to) {
		return
	}
	switch {
	case entry.Event == ems.AlarmChatters:
		t.chatter[[2]string{entry.Source, entry.Rule}] = true
		return
	case entry.Event != ems.AlarmRaised && entry.Event != ems.AlarmReturned && entry.Event != ems.AlarmWorsened:
		return
	case strings.HasSuffix(entry.Text, "shelved") || strings.HasSuffix(entry.Text, "suppressed"):
		t.found.Withheld++
		return
	}
	t.found.Alarms++
	t.periods[entry.Time.Sub(t.from)/judgedPeriod]++
	t.levels[entry.Level]++
	key := [2]string{entry.Source, entry.Rule}
	if t.often[key] == nil {
		t.often[key] = &Frequent{Source: entry.Source, Rule: entry.Rule}
	}
	t.often[key].Title = entry.Title
	t.often[key].Alarms++
}

func (t *tally) percent(part int64) float64 {
	if t.found.Alarms == 0 {
		return 0
	}
	return 100 * float64(part) / float64(t.found.Alarms)
}

func (t *tally) result() Performance {
	r := t.found
	r.From, r.To, r.FloodLimit, r.ChatteringAlarms = t.from, t.to, t.limit, int64(len(t.chatter))
	r.AveragePer10Min = float64(r.Alarms) * float64(judgedPeriod) / float64(t.to.Sub(t.from))
	over, flooded, inFlood := 0, time.Duration(0), false
	for i, number := range t.periods {
		at := t.from.Add(time.Duration(i) * judgedPeriod)
		if number > r.PeakPer10Min {
			r.PeakPer10Min, r.PeakAt = number, &at
		}
		if number > int64(t.limit) {
			over, inFlood = over+1, true
		} else if 2*number < int64(t.limit) {
			inFlood = false
		}
		if inFlood {
			flooded += min(judgedPeriod, t.to.Sub(at))
		}
	}
	r.OverLimitPercent = 100 * float64(over) / float64(len(t.periods))
	r.FloodPercent = 100 * float64(flooded) / float64(t.to.Sub(t.from))
	r.ByLevel = map[ems.AlarmLevel]Share{}
	for _, level := range ems.AlarmLevels {
		r.ByLevel[level] = Share{Alarms: t.levels[level], Percent: t.percent(t.levels[level])}
	}
	r.TopTen = []Frequent{}
	for _, frequent := range t.often {
		frequent.Percent = t.percent(frequent.Alarms)
		r.TopTen = append(r.TopTen, *frequent)
	}
	slices.SortFunc(r.TopTen, func(a, b Frequent) int {
		return cmp.Or(cmp.Compare(b.Alarms, a.Alarms), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Rule, b.Rule))
	})
	r.TopTen = r.TopTen[:min(topCount, len(r.TopTen))]
	top := int64(0)
	for _, frequent := range r.TopTen {
		top += frequent.Alarms
	}
	r.TopTenPercent = t.percent(top)
	return r
}
