package modsrv

import (
	"context"
	"crypto/rand"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// value is one named value of a model, as the API shows it.
type value struct {
	Name    string       `json:"name"`
	Point   ems.PointRef `json:"point"` // "comsrv:1001:T:1"
	Value   *float64     `json:"value"` // in Unit; null when never read
	Unit    string       `json:"unit"`  // of the template, else of the point
	Time    *int64       `json:"time"`  // source time, Unix ms; null when never read
	Quality ems.Quality  `json:"quality"`
}

// readValues replies with every data value of a model, by name.
func (s *Service) readValues(c echo.Context) error {
	ctx := c.Request().Context()
	id, err := modelID(c)
	if err != nil {
		return err
	}
	model, err := s.db.Model(ctx, id)
	if err != nil {
		return err
	}
	units, err := s.units(ctx, model.Template)
	if err != nil {
		return err
	}
	read, err := s.db.ReadModel(ctx, id)
	if err != nil {
		return err
	}
	values := make([]value, len(read))
	for i, item := range read {
		values[i] = value{Name: item.Name, Point: item.Point, Unit: units[item.Name], Quality: item.Value.Quality}
		if values[i].Unit == "" {
			if point, found := s.site.Point(item.Point); found {
				values[i].Unit = point.Unit
			}
		}
		if !item.Missing {
			at := ems.UnixMS(item.Value.Time)
			values[i].Value, values[i].Time = &item.Value.Number, &at
		}
	}
	return httpserver.OK(c, values)
}

// units returns the unit of each data name of a template. A template that is
// gone names none.
func (s *Service) units(ctx context.Context, template string) (map[string]string, error) {
	units := map[string]string{}
	if template == "" {
		return units, nil
	}
	found, err := s.db.Template(ctx, template)
	if err != nil && ems.CodeOf(err) != ems.CodeNotFound {
		return nil, err
	}
	for _, field := range found.Data {
		units[field.Name] = field.Unit
	}
	return units, nil
}

// maxWaiting bounds the requests that wait for a command at once: each holds a
// connection to Redis.
const maxWaiting = 8

// act turns an action of a model into a command and waits for its outcome.
func (s *Service) act(c echo.Context) error {
	id, err := modelID(c)
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
	if err := s.checkPoint(c.Request().Context(), id, action, *body.Value); err != nil {
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
		ID: rand.Text(), Value: *body.Value, Issued: now,
		Deadline: now.Add(ems.DefaultCommandLifetime), Origin: "api:model:" + id,
	}
	ctx := c.Request().Context()
	if command.Target, err = s.db.WriteModel(ctx, id, action, command); err != nil {
		return err
	}
	result, err := s.db.SettleCommand(ctx, command)
	if err != nil {
		return err
	}
	return httpserver.OK(c, result)
}

// checkPoint refuses a value outside what the point allows; what the template
// allows is checked with the rest of the action.
func (s *Service) checkPoint(ctx context.Context, id, action string, number float64) error {
	model, err := s.db.Model(ctx, id)
	if err != nil {
		return err
	}
	ref, err := model.Mapping.Action[action].Resolve(model.Mapping.Channel, ems.Control)
	if err != nil {
		return ems.Errorf(ems.CodeNotFound, "model %s has no action %q", id, action)
	}
	point, found := s.site.Point(ref)
	if !found {
		return nil
	}
	return point.CheckRange(number)
}
