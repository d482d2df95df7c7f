package alarmsrv

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
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
	if err := ems.CheckID("suppression id", body.ID); err != nil {
		return err
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
	if err := s.checkCovered(c.Request().Context(), made); err != nil {
		return err
	}
	if err := s.db.SuppressAlarms(c.Request().Context(), made); err != nil {
		return err
	}
	return httpserver.Created(c, made)
}

// checkCovered refuses to hold back the alarms of a channel, a point, a model or a
// rule that there is not: whoever misspells it would believe them held back. How
// other systems call the sources of their alarms is not known before they raise one.
func (s *Service) checkCovered(ctx context.Context, made ems.Suppression) error {
	service, rest, _ := strings.Cut(made.Value, ":")
	name, within, isWhole := strings.Cut(rest, ":")
	switch {
	case made.Scope == ems.SuppressRule:
		return s.checkRule(ctx, made.Value)
	case made.Scope != ems.SuppressSource || name == "": // all of a service
		return nil
	case service == string(ems.Comsrv):
		return s.checkPoints(ctx, made.Value, name, isWhole)
	case service == string(ems.Modsrv) && isWhole:
		return s.checkModel(ctx, name, within)
	case service == string(ems.Modsrv):
		return s.checkModels(ctx, name)
	case service == string(ems.Rulesrv) && isWhole: // the input of a rule
		return s.checkRule(ctx, name)
	}
	return nil
}

// checkPoints accepts what begins the source of some point; the name of the channel
// is whole where a colon follows it. Of a channel that was added to the site folder
// since this service began only comsrv knows the points.
func (s *Service) checkPoints(ctx context.Context, value, name string, isWhole bool) error {
	if id, err := ems.ParseChannelID(name); err == nil && isWhole {
		channel, found, err := s.channelInUse(ctx, id)
		begins := func(point config.MappedPoint) bool {
			return strings.HasPrefix(ems.PointRef{Channel: id, Type: point.Type, Point: point.ID}.String(), value)
		}
		switch {
		case err != nil:
			return err
		case found && slices.ContainsFunc(channel.Points, begins):
			return nil
		case found:
			return s.checkRead(ctx, value)
		}
	}
	channels, err := s.db.Channels(ctx)
	if err != nil {
		return err
	}
	for _, channel := range s.site.Channels {
		channels = append(channels, channel.ID)
	}
	begins := func(id ems.ChannelID) bool {
		text := fmt.Sprint(id)
		return text == name || !isWhole && strings.HasPrefix(text, name)
	}
	if !slices.ContainsFunc(channels, begins) {
		return ems.Errorf(ems.CodeInvalid, "value %q: no channel %s in this site", value, name)
	}
	return nil
}

// checkRead accepts a point with a value in Redis: its channel may have been given it
// by a reload since this service began.
func (s *Service) checkRead(ctx context.Context, value string) error {
	refused := ems.Errorf(ems.CodeInvalid, "value %q: no point of its channel begins so", value)
	ref, err := ems.ParsePointRef(value)
	if err != nil {
		return refused
	}
	values, err := s.db.ReadPoints(ctx, ref.Channel, ref.Type, []ems.PointID{ref.Point})
	if err != nil {
		return err
	}
	if values[0].Time.IsZero() {
		return refused
	}
	return nil
}

// channelInUse finds a channel of the site folder, or one made through the API.
func (s *Service) channelInUse(ctx context.Context, id ems.ChannelID) (channel config.Channel, found bool, fault error) {
	channel, found = s.site.BesideMade(func(id ems.ChannelID) (string, bool) {
		made, found, err := s.db.MadeChannel(ctx, id)
		fault = err
		return made.Document, found
	}).Channel(id)
	return channel, found, fault
}

// checkModel accepts what begins the name of some value of a model.
func (s *Service) checkModel(ctx context.Context, id, name string) error {
	if err := ems.CheckID("model", id); err != nil {
		return err
	}
	expansion, err := s.db.ExpandModel(ctx, id)
	if ems.CodeOf(err) == ems.CodeNotFound {
		return ems.Errorf(ems.CodeInvalid, "no model %q in this site", id)
	} else if err != nil {
		return err
	}
	isData := slices.ContainsFunc(expansion.Data, func(field ems.ExpandedField) bool { return strings.HasPrefix(field.Name, name) })
	if !isData && !slices.ContainsFunc(expansion.Computed, func(field ems.ComputedField) bool { return strings.HasPrefix(field.Name, name) }) {
		return ems.Errorf(ems.CodeInvalid, "model %q has no data and no computed value that begins with %q", id, name)
	}
	return nil
}

// checkModels accepts what is or begins the id of some model.
func (s *Service) checkModels(ctx context.Context, begin string) error {
	if err := ems.CheckID("model", begin); err != nil {
		return err
	}
	_, err := s.db.Model(ctx, begin)
	if ems.CodeOf(err) != ems.CodeNotFound {
		return err
	}
	following, _, err := s.db.Models(ctx, begin, 1, rtdb.ModelFilter{}) // in the order of their ids
	if err == nil && (len(following) == 0 || !strings.HasPrefix(following[0].ID, begin)) {
		err = ems.Errorf(ems.CodeInvalid, "no model %q in this site", begin)
	}
	return err
}

// checkRule accepts a rule of the site, and one that another system has named in an
// alarm, or may have in one further back than a page looks.
func (s *Service) checkRule(ctx context.Context, id string) error {
	if err := ems.CheckID("rule", id); err != nil {
		return err
	}
	_, err := s.db.Rule(ctx, id)
	if ems.CodeOf(err) != ems.CodeNotFound {
		return err
	}
	alarms, next, err := s.db.AlarmPage(ctx, rtdb.AlarmFilter{Rule: id, Count: 1})
	if err == nil && len(alarms) == 0 && next == "" {
		err = ems.Errorf(ems.CodeInvalid, "no rule %q in this site, and no alarm of one", id)
	}
	return err
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
