package alarmsrv

import (
	"crypto/rand"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

func (s *Service) listSuppressions(c echo.Context) error {
	list, err := s.db.Suppressions(c.Request().Context())
	if err != nil {
		return err
	}
	return httpserver.OK(c, list)
}

// suppress takes {"scope": "all", "source" or "rule", "value": …, "by": …,
// "reason": …, "for": "4h"}; without "for" it lasts until somebody ends it. The id
// is given here where the caller gives none.
func (s *Service) suppress(c echo.Context) error {
	var body struct {
		ID     string `json:"id"`
		Scope  string `json:"scope"`
		Value  string `json:"value"`
		By     string `json:"by"`
		Reason string `json:"reason"`
		For    string `json:"for"`
	}
	if err := httpserver.Body(c, &body); err != nil {
		return err
	}
	if err := checkActor(body.By); err != nil {
		return err
	}
	if err := checkLine(`"reason"`, body.Reason, 1, ems.MaxAlarmReason); err != nil {
		return err
	}
	if body.ID == "" {
		body.ID = "s-" + rand.Text()[:12]
	}
	now := time.UnixMilli(s.clock.Now().UnixMilli())
	made := ems.Suppression{ID: body.ID, Scope: body.Scope, Value: body.Value, By: body.By, Reason: body.Reason, Since: now}
	if body.For != "" {
		length, err := time.ParseDuration(body.For)
		if err != nil || length < time.Second {
			return ems.Errorf(ems.CodeInvalid, `"for" %q is not a time such as 30m or 4h, of at least 1s`, body.For)
		}
		until := now.Add(length)
		made.Until = &until
	}
	if err := s.db.SuppressAlarms(c.Request().Context(), made); err != nil {
		return err
	}
	return httpserver.Created(c, made)
}

// unsuppress ends a suppression; ?by= names who does.
func (s *Service) unsuppress(c echo.Context) error {
	id, by := c.Param("id"), c.QueryParam("by")
	if err := ems.CheckID("suppression id", id); err != nil {
		return err
	}
	if err := checkActor(by); err != nil {
		return err
	}
	if err := s.db.EndSuppression(c.Request().Context(), id, by); err != nil {
		return err
	}
	return httpserver.OK(c, map[string]string{"id": id})
}
