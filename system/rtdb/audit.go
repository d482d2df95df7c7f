package rtdb

import (
	"context"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/voltageems/voltageems-go/system/ems"
)

// CommandFilter selects commands that have ended. Empty fields select all.
type CommandFilter struct {
	Channels []ems.ChannelID
	Target   *ems.PointRef
	State    ems.CommandState
	Origin   string // the beginning of it: "api" is all callers of the API
}

func (f *CommandFilter) takes(record *ems.CommandRecord) bool {
	return (f.Target == nil || record.Target == *f.Target) && (f.State == "" || record.State == f.State) &&
		strings.HasPrefix(record.Origin, f.Origin)
}

// Bounds of one look at the audit.
const (
	auditScan  = 5000 // entries looked at for one page, about
	auditBatch = 200  // entries of one channel in one exchange
)

// CommandRecords returns a page of the commands that have ended, newest first.
// after is the cursor of the page before, "" for the first one; next is that of
// the following page, "" at the end. A page may be short, or empty, before it.
func (c *Client) CommandRecords(ctx context.Context, filter CommandFilter, after string, limit int) (records []ems.CommandRecord, next string, err error) {
	from, err := parsePlace(after)
	if err != nil {
		return nil, "", err
	}
	tails := make([]tail, len(filter.Channels))
	for i, channel := range filter.Channels {
		tails[i] = tail{channel: channel, end: from.end(channel)}
	}
	batch := min(auditBatch, max(1, auditScan/max(1, len(tails))))
	for scanned := 0; ; scanned++ {
		if err := c.fill(ctx, tails, batch); err != nil {
			return nil, "", err
		}
		newest := newestOf(tails)
		if newest == nil {
			return records, "", nil
		}
		if scanned >= auditScan || len(records) == limit {
			return records, next, nil
		}
		entry := newest.pop()
		next = place{entry.ID, newest.channel}.String()
		record, err := parseRecord(newest.channel, entry)
		if err != nil {
			c.logger.Error("a result of a command cannot be read", "channel", newest.channel, "entry", entry.ID, "error", err)
		} else if filter.takes(&record) {
			records = append(records, record)
		}
	}
}

// CommandsForgotten returns how many results of a channel are no longer kept.
func (c *Client) CommandsForgotten(ctx context.Context, channels []ems.ChannelID) (forgotten int64, err error) {
	for _, channel := range channels {
		info, err := c.redis.XInfoStream(ctx, c.namespace.Results(channel)).Result()
		if err != nil && strings.Contains(err.Error(), "no such key") {
			continue
		}
		if err != nil {
			return 0, c.fail("XINFO STREAM", err)
		}
		forgotten += info.EntriesAdded - info.Length
	}
	return forgotten, nil
}

// tail is what is left of the results of one channel, newest first.
type tail struct {
	channel ems.ChannelID
	end     string // where to read on
	over    bool   // there is nothing more to read
	entries []redis.XMessage
}

func (t *tail) pop() redis.XMessage {
	entry := t.entries[0]
	t.entries = t.entries[1:]
	return entry
}

// fill reads on in every channel of which nothing is at hand.
func (c *Client) fill(ctx context.Context, tails []tail, batch int) error {
	pipeline := c.redis.Pipeline()
	replies := map[int]*redis.XMessageSliceCmd{}
	for i := range tails {
		if one := &tails[i]; len(one.entries) == 0 && !one.over {
			replies[i] = pipeline.XRevRangeN(ctx, c.namespace.Results(one.channel), one.end, "-", int64(batch))
		}
	}
	if len(replies) == 0 {
		return nil
	}
	if _, err := pipeline.Exec(ctx); err != nil {
		return c.fail("XREVRANGE", err)
	}
	for i, reply := range replies {
		one := &tails[i]
		one.entries, one.over = reply.Val(), len(reply.Val()) < batch
		if len(one.entries) > 0 {
			one.end = "(" + one.entries[len(one.entries)-1].ID
		}
	}
	return nil
}

// newestOf returns the tail with the newest entry, nil when all are over. Of
// entries with the same id that of the lowest channel comes first.
func newestOf(tails []tail) *tail {
	var newest *tail
	for i := range tails {
		one := &tails[i]
		if len(one.entries) == 0 {
			continue
		}
		if newest == nil || isEarlier(newest.entries[0].ID, one.entries[0].ID) ||
			one.entries[0].ID == newest.entries[0].ID && one.channel < newest.channel {
			newest = one
		}
	}
	return newest
}

// place is an entry of one channel.
type place struct {
	entry   string
	channel ems.ChannelID
}

func (p place) String() string {
	return p.entry + "-" + strconv.FormatUint(uint64(p.channel), 10)
}

// end returns from where a channel is read for what comes after the place.
func (p place) end(channel ems.ChannelID) string {
	switch {
	case p.entry == "":
		return "+"
	case channel > p.channel:
		return p.entry
	default:
		return "(" + p.entry
	}
}

func parsePlace(text string) (place, error) {
	if text == "" {
		return place{}, nil
	}
	wrong := ems.Errorf(ems.CodeInvalid, "after %q is not the next of a page", text)
	parts := strings.Split(text, "-")
	if len(parts) != 3 {
		return place{}, wrong
	}
	for _, part := range parts[:2] {
		if _, err := strconv.ParseUint(part, 10, 63); err != nil {
			return place{}, wrong
		}
	}
	channel, err := ems.ParseChannelID(parts[2])
	if err != nil {
		return place{}, wrong
	}
	return place{parts[0] + "-" + parts[1], channel}, nil
}

func parseRecord(channel ems.ChannelID, entry redis.XMessage) (ems.CommandRecord, error) {
	field := func(name string) string { text, _ := entry.Values[name].(string); return text }
	result, err := parseResult(channel, []string{
		field("id"), field("type"), field("point"), field("value"), field("state"), field("read_back"), field("reason"), field("time"),
	})
	if err != nil {
		return ems.CommandRecord{}, err
	}
	record := ems.CommandRecord{CommandResult: result, Origin: field("origin"), Issued: ems.FromUnixMS(integer(field("issued")))}
	if begun := field("begun"); begun != "" {
		at := ems.FromUnixMS(integer(begun))
		record.Begun = &at
	}
	record.HoldMS = integer(field("hold"))
	return record, nil
}
