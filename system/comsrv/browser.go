package comsrv

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// pointView is a point and its value as Redis holds it. Time is Unix ms; value
// and time are null if the point was never read. Raw and text are as the device
// last answered, and left out where it does not: raw in decimal digits, all of
// them where the value is rounded; text of a point that has no number.
type pointView struct {
	ID        ems.PointID   `json:"id"`
	Type      ems.PointType `json:"type"`
	Name      string        `json:"name"`
	Unit      string        `json:"unit"`
	Value     *float64      `json:"value"`
	Raw       string        `json:"raw,omitempty"`
	Text      *string       `json:"text,omitempty"`
	Registers string        `json:"registers,omitempty"` // as the last poll that had them found them, in hex
	Time      *int64        `json:"time"`
	Quality   ems.Quality   `json:"quality"`
	Reason    string        `json:"reason,omitempty"` // why it is not good
	Mapping   *mappingView  `json:"mapping,omitempty"`
}

// mappingView is where the device keeps a point: a place in its register map, or
// an address in the words of its driver.
type mappingView struct {
	Unit      *uint8           `json:"unit,omitempty"`
	Function  uint8            `json:"function,omitempty"` // that the table names
	Register  *uint16          `json:"register_address,omitempty"`
	DataType  config.DataType  `json:"data_type,omitempty"`
	ByteOrder config.ByteOrder `json:"byte_order,omitempty"`
	Bits      string           `json:"bit_position,omitempty"`
	Length    int              `json:"length,omitempty"`
	Address   string           `json:"address,omitempty"`
}

// viewMapping returns nil for a point of which nothing is said.
func viewMapping(mapping *config.Mapping) *mappingView {
	switch {
	case mapping.Text != "":
		return &mappingView{Address: mapping.Text}
	case mapping.Function == 0:
		return nil
	default:
		return &mappingView{
			Unit: &mapping.Unit, Function: mapping.Function, Register: &mapping.Address,
			DataType: mapping.DataType, ByteOrder: mapping.ByteOrder, Bits: mapping.BitsText(), Length: mapping.Length,
		}
	}
}

// pointFilter selects points. Empty fields select all.
type pointFilter struct {
	kind    ems.PointType
	name    string // in lower case, a part of it
	quality *ems.Quality
}

func readFilter(c echo.Context) (filter pointFilter, err error) {
	filter.name = strings.ToLower(c.QueryParam("name"))
	if text := c.QueryParam("type"); text != "" {
		if filter.kind, err = ems.ParsePointType(text); err != nil {
			return filter, err
		}
	}
	if text := c.QueryParam("quality"); text != "" {
		quality, err := ems.ParseQuality(text)
		if err != nil {
			return filter, err
		}
		filter.quality = &quality
	}
	return filter, nil
}

// pointsOf returns the indexes of the points that a filter takes whatever their
// values are, after the one that a cursor names, "T-5".
func (c *channel) pointsOf(filter pointFilter, after string) ([]int, error) {
	first := 0
	if after != "" {
		kindText, idText, _ := strings.Cut(after, "-")
		kind, kindErr := ems.ParsePointType(kindText)
		id, idErr := ems.ParsePointID(idText)
		if kindErr != nil || idErr != nil {
			return nil, ems.Errorf(ems.CodeInvalid, "after %q is not the next of a page, for example T-5", after)
		}
		first = len(c.Points)
		for i := range c.Points {
			if at := slices.Index(ems.PointTypes[:], c.Points[i].Type) - slices.Index(ems.PointTypes[:], kind); at > 0 || at == 0 && c.Points[i].ID > id {
				first = i
				break
			}
		}
	}
	var indexes []int
	for i := first; i < len(c.Points); i++ {
		point := &c.Points[i]
		if (filter.kind == 0 || point.Type == filter.kind) && strings.Contains(strings.ToLower(point.Name), filter.name) {
			indexes = append(indexes, i)
		}
	}
	return indexes, nil
}

// listPoints replies with points in the order of their tables: at most ?limit=,
// those after ?after=, with ?type=, ?quality= and a part of the name, ?name=.
func (s *Service) listPoints(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	filter, err := readFilter(c)
	if err != nil {
		return err
	}
	indexes, err := channel.pointsOf(filter, after)
	if err != nil {
		return err
	}
	views, most := []pointView{}, limit+1
	if filter.quality != nil { // many may have another one: as many at once as Redis tells in one call
		most = max(most, rtdb.MaxBatch)
	}
	for len(indexes) > 0 && len(views) <= limit {
		part := indexes[:min(len(indexes), most)]
		indexes = indexes[len(part):]
		found, err := s.readPoints(c.Request().Context(), channel, part)
		if err != nil {
			return err
		}
		for i := range found {
			if filter.quality == nil || found[i].Quality == *filter.quality {
				views = append(views, found[i])
			}
		}
	}
	next := ""
	if len(views) > limit {
		views = views[:limit]
		last := &views[limit-1]
		next = fmt.Sprintf("%s-%d", last.Type, last.ID)
	}
	return httpserver.OKPage(c, views, next)
}

// readPoints returns points, by index, in that order, with their values.
func (s *Service) readPoints(ctx context.Context, channel *channel, indexes []int) ([]pointView, error) {
	values := make([]ems.Value, 0, len(indexes))
	for rest := indexes; len(rest) > 0; {
		kind := channel.Points[rest[0]].Type
		var ids []ems.PointID
		for len(ids) < len(rest) && channel.Points[rest[len(ids)]].Type == kind {
			ids = append(ids, channel.Points[rest[len(ids)]].ID)
		}
		rest = rest[len(ids):]
		read, err := s.db.ReadPoints(ctx, channel.ID, kind, ids)
		if err != nil {
			return nil, err
		}
		values = append(values, read...)
	}
	// What comsrv knows is looked at after Redis: it shows why a point is not good
	// before Redis is told that it is not.
	answered := channel.answered(indexes)
	status, _ := channel.shown()
	now := s.clock.Now()
	var wires [][]byte
	if driver, can := channel.driver.(protocol.Inspectable); can {
		wires = driver.LastRead(indexes)
	}
	views := make([]pointView, len(indexes))
	for i, index := range indexes {
		point, value := &channel.Points[index], values[i]
		view := &views[i]
		*view = pointView{
			ID: point.ID, Type: point.Type, Name: point.Name, Unit: point.Unit, Quality: value.Quality, Mapping: viewMapping(&point.Mapping),
		}
		if !value.Time.IsZero() {
			view.Value, view.Time = &value.Number, unixMS(value.Time)
		}
		known := doubts{}
		if answered != nil {
			known = answered[i].doubts
			view.show(point, answered[i], now.Add(-channel.StaleAfter(point.Group)))
		}
		if wires != nil {
			view.Registers = hex.EncodeToString(wires[i])
		}
		view.Reason = channel.reason(&status, view.Quality, point.Group, known, now)
	}
	return views, nil
}

// show adds what the device last answered. A text is not in Redis, and so has its
// time and quality from here; it is stale when it is from before oldest.
func (v *pointView) show(point *config.MappedPoint, last latest, oldest time.Time) {
	switch {
	case last.at.IsZero():
	case !point.Mapping.IsText():
		if last.quality != ems.Bad {
			v.Raw = rawText(last)
		}
	default:
		v.Text, v.Time, v.Quality = &last.text, unixMS(last.at), last.quality
		if last.quality == ems.Good && last.at.Before(oldest) {
			v.Quality = ems.Stale
		}
	}
}

// rawText writes a raw number in digits alone where a person would.
func rawText(last latest) string {
	format := byte('f')
	switch size := math.Abs(last.raw); {
	case last.text != "":
		return last.text
	case size >= 1e21 || size < 1e-9 && size > 0:
		format = 'e'
	}
	return strconv.FormatFloat(last.raw, format, -1, 64)
}
