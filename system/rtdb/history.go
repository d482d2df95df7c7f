package rtdb

import (
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/voltageems/voltageems-go/system/ems"
)

// RetainMappings ends the feed of every source whose mapping is not named. What
// waits in the stream is still delivered.
func (c *Client) RetainMappings(ctx context.Context, ids []string) error {
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	_, err := c.text(ctx, "hissrv_retain", "all", args...)
	return err
}

// finishedAtOnce bounds how long other clients of Redis wait for one call.
const finishedAtOnce = 100

// ConfigureMapping sends the points of a source to history from now on, in place
// of any other mapping of that source.
func (c *Client) ConfigureMapping(ctx context.Context, mapping ems.HistoryMapping) error {
	args := []any{mapping.Source, mapping.Measurement, len(mapping.Tags)}
	for _, name := range slices.Sorted(maps.Keys(mapping.Tags)) {
		args = append(args, name, mapping.Tags[name])
	}
	for _, point := range slices.Sorted(maps.Keys(mapping.Fields)) {
		args = append(args, strconv.FormatUint(uint64(point), 10), mapping.Fields[point])
	}
	_, err := c.text(ctx, "hissrv_configure", mapping.ID, args...)
	return about("history mapping", mapping.ID, err)
}

// Line is one line of InfluxDB line protocol and the stream entry it came from.
type Line struct {
	Entry string
	Text  string
}

// CollectLines takes up to count entries of the history stream. again asks for
// those that were delivered before and never finished.
func (c *Client) CollectLines(ctx context.Context, consumer string, again bool, count int) ([]Line, error) {
	mode := "new"
	if again {
		mode = "pending"
	}
	texts, err := c.texts(ctx, "hissrv_collect", consumer, mode, count)
	if err != nil {
		return nil, err
	}
	lines := make([]Line, 0, len(texts)/2)
	for i := 0; i+1 < len(texts); i += 2 {
		lines = append(lines, Line{Entry: texts[i], Text: texts[i+1]})
	}
	return lines, nil
}

// FinishLines says that lines are in history for good.
func (c *Client) FinishLines(ctx context.Context, lines []Line) error {
	for part := range slices.Chunk(lines, finishedAtOnce) {
		args := make([]any, len(part))
		for i, line := range part {
			args[i] = line.Entry
		}
		if _, err := c.text(ctx, "hissrv_finish", "batch", args...); err != nil {
			return err
		}
	}
	return nil
}

// RejectLine moves a line that history refuses to the dead letters.
func (c *Client) RejectLine(ctx context.Context, line Line, reason string) error {
	_, err := c.text(ctx, "hissrv_reject", "batch", line.Entry, line.Text, reason, c.now())
	return err
}

// HistoryStatus is how the feed stands.
type HistoryStatus struct {
	Waiting int64 `json:"waiting"` // entries not yet in history
	Written int64 `json:"written"` // entries written since the counters began
	Dropped int64 `json:"dropped"` // entries refused because the stream was full
	Dead    int64 `json:"dead"`    // dead letters kept
}

// BatchStatus returns how the history feed stands.
func (c *Client) BatchStatus(ctx context.Context) (HistoryStatus, error) {
	texts, err := c.texts(ctx, "hissrv_status", "all")
	if err != nil {
		return HistoryStatus{}, err
	}
	if len(texts) != 4 {
		return HistoryStatus{}, ems.Errorf(ems.CodeInternal, "hissrv_status answered %d texts instead of 4", len(texts))
	}
	return HistoryStatus{Waiting: integer(texts[0]), Written: integer(texts[1]), Dropped: integer(texts[2]), Dead: integer(texts[3])}, nil
}
