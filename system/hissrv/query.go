package hissrv

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// Bounds of one query, in points and in windows.
const (
	defaultLimit = 10_000
	largestLimit = 100_000
)

// aggregates are the ways to make one value of a window.
var aggregates = []string{"mean", "min", "max", "first", "last", "sum", "count"}

// question is the body of a query. The series is named by measurement, tags and
// field, or by channel, type and point, which the history mapping translates.
type question struct {
	Measurement string            `json:"measurement"`
	Tags        map[string]string `json:"tags"`
	Field       string            `json:"field"`

	Channel ems.ChannelID `json:"channel"`
	Type    ems.PointType `json:"type"`
	Point   ems.PointID   `json:"point"`

	Start     *instant `json:"start"`     // included
	Stop      *instant `json:"stop"`      // excluded
	Every     string   `json:"every"`     // length of a window, for example "10s"; empty for single samples
	Aggregate string   `json:"aggregate"` // one of aggregates; mean when there are windows and it is empty
	Limit     int      `json:"limit"`     // most points of the answer, earliest first; defaultLimit when 0
}

// instant is a time written as RFC 3339 or as Unix milliseconds.
type instant struct{ time.Time }

// latestMS is the last millisecond that InfluxDB can store.
const latestMS = math.MaxInt64/int64(time.Millisecond) - 1

// UnmarshalJSON reads either form.
func (i *instant) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		parsed, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return fmt.Errorf("time %q is not RFC 3339, for example 2024-05-01T12:00:00Z, or Unix milliseconds", text)
		}
		i.Time = parsed
	} else {
		ms, err := strconv.ParseInt(string(data), 10, 64)
		if err != nil {
			return fmt.Errorf("time %s is not RFC 3339, for example \"2024-05-01T12:00:00Z\", or Unix milliseconds", data)
		}
		i.Time = time.UnixMilli(ms)
	}
	if ms := i.UnixMilli(); ms < 0 || ms > latestMS {
		return fmt.Errorf("time %s is not between the years 1970 and 2262", data)
	}
	return nil
}

// answer is the reply to a query. The time of a window is its beginning.
type answer struct {
	Points    []sample `json:"points"` // in the order of time
	Truncated bool     `json:"truncated,omitempty"`
}

func (s *Service) query(c echo.Context) error {
	var asked question
	if err := httpserver.Body(c, &asked); err != nil {
		return err
	}
	if err := s.translate(&asked); err != nil {
		return err
	}
	flux, err := asked.flux(s.influx.settings.Bucket)
	if err != nil {
		return err
	}
	samples, more, err := s.influx.read(c.Request().Context(), flux, asked.Limit)
	if err != nil {
		return err
	}
	return httpserver.OK(c, answer{Points: samples, Truncated: more})
}

// translate turns channel, type and point into measurement, tags and field.
func (s *Service) translate(asked *question) error {
	byPoint := asked.Channel != 0 || asked.Type != 0 || asked.Point != 0
	byName := asked.Measurement != "" || asked.Field != "" || len(asked.Tags) > 0
	switch {
	case byPoint == byName:
		return ems.Errorf(ems.CodeInvalid, "name the series either by measurement, tags and field or by channel, type and point")
	case byName:
		return nil
	case asked.Channel == 0 || asked.Type == 0 || asked.Point == 0:
		return ems.Errorf(ems.CodeInvalid, "channel, type and point are needed together")
	}
	source := fmt.Sprintf("comsrv:%d:%s", asked.Channel, asked.Type)
	for _, mapping := range s.site.History {
		if mapping.Source != source {
			continue
		}
		asked.Measurement, asked.Field = mapping.Measurement, mapping.Fields[asked.Point]
		if asked.Field == "" {
			asked.Field = fmt.Sprintf("p%d", asked.Point)
		}
		asked.Tags = map[string]string{}
		maps.Copy(asked.Tags, mapping.Tags)
		// These two stand on every line that comes out of Redis.
		asked.Tags["channel"], asked.Tags["type"] = strconv.FormatUint(uint64(asked.Channel), 10), asked.Type.String()
		return nil
	}
	return ems.Errorf(ems.CodeNotFound, "%s has no history: add a mapping for it to history.yaml", source)
}

// flux checks the question, fills in what it leaves open and returns it in the
// query language of InfluxDB.
func (q *question) flux(bucket string) (string, error) {
	if err := q.checkNames(); err != nil {
		return "", err
	}
	window, err := q.checkRange()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "from(bucket: %s)\n", fluxString(bucket))
	// InfluxDB 1.8 includes the stop of a range and 2 does not; samples lie on
	// whole milliseconds, so a nanosecond before it both agree.
	fmt.Fprintf(&text, "  |> range(start: %s, stop: %s)\n", fluxTime(q.Start.Time), fluxTime(q.Stop.Add(-time.Nanosecond)))
	fmt.Fprintf(&text, "  |> filter(fn: (r) => r._measurement == %s and r._field == %s", fluxString(q.Measurement), fluxString(q.Field))
	for _, name := range slices.Sorted(maps.Keys(q.Tags)) {
		fmt.Fprintf(&text, " and r[%s] == %s", fluxString(name), fluxString(q.Tags[name]))
	}
	text.WriteString(")\n")
	if window > 0 {
		fmt.Fprintf(&text, "  |> aggregateWindow(every: %dms, fn: %s, timeSrc: \"_start\", createEmpty: false)\n", window.Milliseconds(), q.Aggregate)
	}
	// One point more than asked for tells that there are more.
	fmt.Fprintf(&text, "  |> limit(n: %d)\n", q.Limit+1)
	text.WriteString("  |> drop(columns: [\"_start\", \"_stop\", \"_measurement\", \"_field\"])\n")
	return text.String(), nil
}

func (q *question) checkNames() error {
	if q.Field == "" {
		return ems.Errorf(ems.CodeInvalid, "the query needs a field")
	}
	// A mapping has the same names, so it is the judge of them.
	return config.CheckHistoryMapping(&ems.HistoryMapping{
		ID: "query", Source: "comsrv:1:T", Measurement: q.Measurement, Tags: q.Tags,
		Fields: map[ems.PointID]string{1: q.Field},
	})
}

// checkRange returns the length of a window, 0 for single samples.
func (q *question) checkRange() (time.Duration, error) {
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	switch {
	case q.Limit < 1 || q.Limit > largestLimit:
		return 0, ems.Errorf(ems.CodeInvalid, "limit %d is not between 1 and %d", q.Limit, largestLimit)
	case q.Start == nil || q.Stop == nil:
		return 0, ems.Errorf(ems.CodeInvalid, "the query needs start and stop")
	case !q.Stop.After(q.Start.Time):
		return 0, ems.Errorf(ems.CodeInvalid, "stop %s is not after start %s", fluxTime(q.Stop.Time), fluxTime(q.Start.Time))
	case q.Every == "" && q.Aggregate != "":
		return 0, ems.Errorf(ems.CodeInvalid, `aggregate %q needs the length of a window in "every", for example "10s"`, q.Aggregate)
	case q.Every == "":
		return 0, nil
	}
	window, err := time.ParseDuration(q.Every)
	if err != nil || window < time.Millisecond || window%time.Millisecond != 0 {
		return 0, ems.Errorf(ems.CodeInvalid, "every %q is not a duration of whole milliseconds, for example 10s, 5m or 1h", q.Every)
	}
	if q.Aggregate == "" {
		q.Aggregate = aggregates[0]
	}
	if !slices.Contains(aggregates, q.Aggregate) {
		return 0, ems.Errorf(ems.CodeInvalid, "unknown aggregate %q: use one of %s", q.Aggregate, strings.Join(aggregates, ", "))
	}
	// Windows are aligned with the epoch: a range may touch one more than fit in it.
	if windows := int64(q.Stop.Sub(q.Start.Time)/window) + 1; windows > largestLimit {
		return 0, ems.Errorf(ems.CodeInvalid, "%d windows are more than %d: use a longer every or a shorter range", windows, largestLimit)
	}
	return window, nil
}

// fluxString quotes a text for Flux. A dollar sign begins an interpolation there,
// and control characters have no place in a query.
func fluxString(text string) string {
	var quoted strings.Builder
	quoted.WriteByte('"')
	for _, c := range []byte(text) {
		if c < ' ' || c == 0x7f || c == '"' || c == '\\' || c == '$' {
			fmt.Fprintf(&quoted, `\x%02x`, c)
		} else {
			quoted.WriteByte(c)
		}
	}
	quoted.WriteByte('"')
	return quoted.String()
}

func fluxTime(at time.Time) string { return at.UTC().Format(time.RFC3339Nano) }

// seriesOf names the series of a record by its tags.
func seriesOf(values map[string]any) string {
	var tags []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch name {
		case "result", "table", "_time", "_value":
		default:
			tags = append(tags, fmt.Sprintf("%s=%v", name, values[name]))
		}
	}
	return strings.Join(tags, ",")
}

func numberOf(value any) (float64, error) {
	switch number := value.(type) {
	case float64:
		return number, nil
	case int64:
		return float64(number), nil
	case uint64:
		return float64(number), nil
	default:
		return 0, ems.Errorf(ems.CodeInvalid, "the field holds %T, not numbers", value)
	}
}
