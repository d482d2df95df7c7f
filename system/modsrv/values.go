package modsrv

import (
	"context"
	"crypto/rand"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// value is one named value of a model, as the API shows it.
type value struct {
	Name     string        `json:"name"`
	Point    *ems.PointRef `json:"point,omitempty"` // "comsrv:1001:T:1"; absent where it is computed
	Computed bool          `json:"computed"`
	Value    *float64      `json:"value"`         // in Unit; null when never read
	Unit     string        `json:"unit"`          // of the template, else of the point
	Min      *float64      `json:"min,omitempty"` // what the template expects at least
	Max      *float64      `json:"max,omitempty"`
	Time     *int64        `json:"time"` // source time, Unix ms, of what is computed the latest; null when never read
	Quality  ems.Quality   `json:"quality"`
}

// readValues replies with every data and computed value of a model, by name.
func (s *Service) readValues(c echo.Context) error {
	ctx := c.Request().Context()
	id, err := pathID(c, "model")
	if err != nil {
		return err
	}
	expansion, err := s.expansions.of(ctx, id)
	if err != nil {
		return err
	}
	read, err := s.db.ReadModel(ctx, id)
	if err != nil {
		return err
	}
	fields := map[string]ems.ExpandedField{}
	for _, field := range expansion.Data {
		fields[field.Name] = field
	}
	for _, field := range expansion.Computed {
		fields[field.Name] = ems.ExpandedField{Unit: field.Unit}
	}
	site, fault := s.inUse(ctx, s.folder.Load())
	values := make([]value, len(read))
	for i, item := range read {
		values[i] = shownValue(site, item, fields[item.Name])
	}
	if *fault != nil {
		return *fault
	}
	return httpserver.OK(c, values)
}

func shownValue(site *config.Site, read ems.ModelValue, field ems.ExpandedField) value {
	shown := value{
		Name: read.Name, Computed: read.Computed, Unit: field.Unit, Min: field.Min, Max: field.Max, Quality: read.Value.Quality,
	}
	if !read.Computed {
		shown.Point = &read.Point
		if point, found := site.Point(read.Point); found && shown.Unit == "" {
			shown.Unit = point.Unit
		}
	}
	if !read.Missing {
		at := ems.UnixMS(read.Value.Time)
		shown.Value, shown.Time = &read.Value.Number, &at
	}
	return shown
}

// maxWaiting bounds the requests that wait for a command at once: each holds a
// connection to Redis.
const maxWaiting = 8

// act turns an action of a model into a command and waits for its outcome.
func (s *Service) act(c echo.Context) error {
	id, err := pathID(c, "model")
	if err != nil {
		return err
	}
	action := c.Param("action")
	if err := ems.CheckID("action", action); err != nil {
		return err
	}
	var body struct {
		Value *float64 `json:"value"`
	}
	if err := httpserver.Body(c, &body); err != nil {
		return err
	}
	if body.Value == nil {
		return ems.Errorf(ems.CodeInvalid, `the body needs a number "value"`)
	}
	target, err := s.checkPoint(c.Request().Context(), id, action, *body.Value)
	if err != nil {
		return err
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return ems.Errorf(ems.CodeUnavailable, "%d actions are waiting for their devices already, nothing was sent: try again", maxWaiting)
	}
	now := s.clock.Now()
	command := ems.Command{
		ID: rand.Text(), Target: target, Value: *body.Value, Issued: now,
		Deadline: now.Add(ems.DefaultCommandLifetime), Origin: "api:model:" + id,
	}
	ctx := c.Request().Context()
	if target, err = s.db.WriteModel(ctx, id, action, command); err != nil {
		return err
	}
	command.Target = target // the model may have become another one meanwhile
	result, err := s.db.SettleCommand(ctx, command)
	if err != nil {
		return err
	}
	return httpserver.OK(c, result)
}

// checkPoint returns the point of an action, and refuses a value outside what it
// allows; what the template allows is checked with the rest of the action.
func (s *Service) checkPoint(ctx context.Context, id, action string, number float64) (ems.PointRef, error) {
	expansion, err := s.expansions.of(ctx, id)
	if err != nil {
		return ems.PointRef{}, err
	}
	for _, field := range expansion.Action {
		if field.Name != action {
			continue
		}
		site, fault := s.inUse(ctx, s.folder.Load())
		point, found := site.Point(field.Point)
		if *fault != nil {
			return ems.PointRef{}, *fault
		}
		if found {
			err = point.CheckRange(number)
		}
		return field.Point, err
	}
	return ems.PointRef{}, ems.Errorf(ems.CodeNotFound, "model %s has no action %q", id, action)
}
