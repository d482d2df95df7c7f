package rtdb

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

func milliseconds(at time.Time) string { return strconv.FormatInt(ems.UnixMS(at), 10) }

// ConfigureAlarms stores what the alarms of the site are treated by.
func (c *Client) ConfigureAlarms(ctx context.Context, s ems.AlarmSettings) error {
	args := []any{s.FloodLimit, s.ChatterCount, s.ChatterPeriod.Milliseconds(), s.ShelveMax.Milliseconds(), s.JournalLimit, s.NotificationLimit}
	for _, step := range s.Escalation {
		args = append(args, string(step.Level), step.After.Milliseconds(), string(step.To), step.Notify)
	}
	_, err := c.text(ctx, "alarm_configure", "all", args...)
	return err
}

// dueAtOnce bounds how long others of Redis wait for one call of TickAlarms.
const dueAtOnce = 50

// TickAlarms does what has become due for alarms, a bounded part of it, and
// reports whether there is more.
func (c *Client) TickAlarms(ctx context.Context) (done int, more bool, err error) {
	texts, err := c.texts(ctx, "alarm_tick", "all", c.now(), dueAtOnce)
	if err != nil {
		return 0, false, err
	}
	if len(texts) != 2 {
		return 0, false, ems.Errorf(ems.CodeInternal, "alarm_tick answered %d texts instead of 2", len(texts))
	}
	return int(integer(texts[0])), texts[1] == "1", nil
}

// AlarmCounts says how many alarms there are. Shelved, Suppressed and Chattering
// are of those that are not closed, Standing of the active ones that are neither
// shelved nor suppressed.
type AlarmCounts struct {
	Numbers              map[ems.AlarmState]map[ems.AlarmLevel]int64
	Shelved              int64
	Suppressed           int64
	Chattering           int64
	Standing             int64
	Stale                int64     // standing for longer than asked for, without a break
	RaisedLately         int64     // told to people within ten minutes, as of the last one
	FloodSince           time.Time // zero when there is no flood
	Journal              int64     // entries kept
	JournalTrimmed       int64     // entries that gave way to newer ones
	Notifications        int64     // that wait
	NotificationsDropped int64     // that nobody took in time
}

// State sums up a state.
func (a AlarmCounts) State(state ems.AlarmState) (sum int64) {
	for _, number := range a.Numbers[state] {
		sum += number
	}
	return sum
}

// AlarmCounts returns how many alarms there are. Those that stand since before a
// time are stale; where it is zero none are.
func (c *Client) AlarmCounts(ctx context.Context, before time.Time) (AlarmCounts, error) {
	counts := AlarmCounts{Numbers: map[ems.AlarmState]map[ems.AlarmLevel]int64{}}
	for _, state := range ems.AlarmStates {
		counts.Numbers[state] = map[ems.AlarmLevel]int64{}
	}
	texts, err := c.texts(ctx, "alarm_counts", "all", milliseconds(before))
	if err != nil {
		return counts, err
	}
	for i := 0; i+1 < len(texts); i += 2 {
		number := integer(texts[i+1])
		switch name := texts[i]; name {
		case "shelved":
			counts.Shelved = number
		case "suppressed":
			counts.Suppressed = number
		case "chattering":
			counts.Chattering = number
		case "standing":
			counts.Standing = number
		case "stale":
			counts.Stale = number
		case "raised_10min":
			counts.RaisedLately = number
		case "flood_since":
			counts.FloodSince = ems.FromUnixMS(number)
		case "journal":
			counts.Journal = number
		case "journal_trimmed":
			counts.JournalTrimmed = number
		case "notifications":
			counts.Notifications = number
		case "notifications_dropped":
			counts.NotificationsDropped = number
		default:
			state, level, found := strings.Cut(name, ":")
			if levels := counts.Numbers[ems.AlarmState(state)]; found && levels != nil {
				levels[ems.AlarmLevel(level)] = number
			}
		}
	}
	return counts, nil
}

// JournalPage is the most entries that AlarmJournal returns at once.
const JournalPage = 200

// AlarmJournal returns a page of the journal, of one alarm or, where that is
// empty, of all: the entries before the entry cursor, newest first, or after it,
// oldest first. next is empty at the end; before, a page may be short.
func (c *Client) AlarmJournal(ctx context.Context, alarm string, older bool, cursor string, count int) (entries []ems.JournalEntry, next string, err error) {
	const fields = 14
	direction := "newer"
	if older {
		direction = "older"
	}
	entries, next = []ems.JournalEntry{}, cursor
	for range listPatience {
		texts, err := c.texts(ctx, "alarm_journal", "all", alarm, direction, next, count-len(entries))
		if err != nil {
			return nil, "", err
		}
		if len(texts)%fields != 1 {
			return nil, "", ems.Errorf(ems.CodeInternal, "alarm_journal answered %d texts", len(texts))
		}
		next = texts[0]
		for i := 1; i < len(texts); i += fields {
			entry, err := parseJournal(texts[i], texts[i+1:i+fields])
			if err != nil {
				return nil, "", err
			}
			entries = append(entries, entry)
		}
		if next == "" || len(entries) >= count {
			break
		}
	}
	return entries, next, nil
}

// journalNames are the fields of an entry, in the order of parseJournal.
var journalNames = [...]string{"event", "alarm", "from", "to", "time", "by", "level", "source", "rule", "title", "occurrence", "value", "text"}

func parseJournal(id string, t []string) (ems.JournalEntry, error) {
	value, err := optionalNumber(t[11])
	return ems.JournalEntry{
		ID: id, Event: t[0], Alarm: t[1], From: ems.AlarmState(t[2]), To: ems.AlarmState(t[3]), Time: ems.FromUnixMS(integer(t[4])), By: t[5],
		Level: ems.AlarmLevel(t[6]), Source: t[7], Rule: t[8], Title: t[9], Occurrence: integer(t[10]), Value: value, Text: t[12],
	}, err
}

func journalEntries(messages []redis.XMessage) ([]ems.JournalEntry, error) {
	entries := make([]ems.JournalEntry, len(messages))
	for i, message := range messages {
		texts := make([]string, len(journalNames))
		for at, name := range journalNames {
			texts[at], _ = message.Values[name].(string)
		}
		entry, err := parseJournal(message.ID, texts)
		if err != nil {
			return nil, err
		}
		entries[i] = entry
	}
	return entries, nil
}

// JournalAfter returns up to count entries after one, oldest first; all that are
// kept where it is empty.
func (c *Client) JournalAfter(ctx context.Context, after string, count int) ([]ems.JournalEntry, error) {
	from := "-"
	if after != "" {
		from = "(" + after
	}
	messages, err := c.redis.XRangeN(ctx, c.namespace.AlarmsJournal(), from, "+", int64(count)).Result()
	if err != nil {
		return nil, c.fail("XRANGE", err)
	}
	return journalEntries(messages)
}

// LastJournal returns the id of the newest entry, "0-0" where there is none.
func (c *Client) LastJournal(ctx context.Context) (string, error) {
	messages, err := c.redis.XRevRangeN(ctx, c.namespace.AlarmsJournal(), "+", "-", 1).Result()
	if err != nil {
		return "", c.fail("XREVRANGE", err)
	}
	if len(messages) == 0 {
		return "0-0", nil
	}
	return messages[0].ID, nil
}

// AwaitJournal waits up to wait for entries after one, and returns them, oldest
// first; none when none came.
func (c *Client) AwaitJournal(ctx context.Context, after string, wait time.Duration) ([]ems.JournalEntry, error) {
	streams, err := c.redis.XRead(ctx, &redis.XReadArgs{Streams: []string{c.namespace.AlarmsJournal(), after}, Count: JournalPage, Block: wait}).Result()
	if isNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.fail("XREAD", err)
	}
	var entries []ems.JournalEntry
	for _, stream := range streams {
		found, err := journalEntries(stream.Messages)
		if err != nil {
			return nil, err
		}
		entries = append(entries, found...)
	}
	return entries, nil
}
