package alarmsrv

import (
	"context"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds of one list of alarms, and of the name of who acts, in bytes.
const (
	defaultList = 100
	longestList = 1000
	longestName = 100
)

// listAlarms replies with alarms, newest first. ?state= is active or all (the
// default); ?level=, ?source= and ?limit= narrow the list.
func (s *Service) listAlarms(c echo.Context) error {
	filter := rtdb.AlarmFilter{Source: c.QueryParam("source"), Count: defaultList}
	switch state := c.QueryParam("state"); state {
	case "", "all":
	case "active":
		filter.Active = true
	default:
		return ems.Errorf(ems.CodeInvalid, "unknown state %q: use active or all", state)
	}
	if text := c.QueryParam("level"); text != "" {
		level, err := ems.ParseAlarmLevel(text)
		if err != nil {
			return err
		}
		filter.Level = level
	}
	if text := c.QueryParam("limit"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 || number > longestList {
			return ems.Errorf(ems.CodeInvalid, "limit %q is not a whole number from 1 to %d", text, longestList)
		}
		filter.Count = number
	}
	if err := checkLine("source", filter.Source, 0, ems.MaxAlarmSource); err != nil {
		return err
	}
	alarms, err := s.db.Alarms(c.Request().Context(), filter)
	if err != nil {
		return err
	}
	return httpserver.OK(c, alarms)
}

// raiseAlarm raises an alarm by hand or for another system.
func (s *Service) raiseAlarm(c echo.Context) error {
	var raised ems.NewAlarm
	if err := httpserver.Body(c, &raised); err != nil {
		return err
	}
	if err := checkAlarm(raised); err != nil {
		return err
	}
	alarm, err := s.db.StoreAlarm(c.Request().Context(), raised)
	if err != nil {
		return err
	}
	return httpserver.Created(c, alarm)
}

func (s *Service) getAlarm(c echo.Context) error {
	id, err := alarmID(c)
	if err != nil {
		return err
	}
	return s.replyAlarm(c, id)
}

func (s *Service) acknowledgeAlarm(c echo.Context) error {
	return s.change(c, s.db.AcknowledgeAlarm)
}

func (s *Service) resolveAlarm(c echo.Context) error {
	return s.change(c, s.db.ResolveAlarm)
}

// change applies what somebody did to an alarm and replies with the alarm as it
// is then.
func (s *Service) change(c echo.Context, apply func(ctx context.Context, id, by string) error) error {
	id, err := alarmID(c)
	if err != nil {
		return err
	}
	var body struct {
		By string `json:"by"`
	}
	if err := httpserver.Body(c, &body); err != nil {
		return err
	}
	if err := checkLine(`"by", the name of who acts,`, body.By, 1, longestName); err != nil {
		return err
	}
	if err := apply(c.Request().Context(), id, body.By); err != nil {
		return err
	}
	return s.replyAlarm(c, id)
}

func (s *Service) replyAlarm(c echo.Context, id string) error {
	alarm, err := s.db.Alarm(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return httpserver.OK(c, alarm)
}

func alarmID(c echo.Context) (string, error) {
	id := c.Param("id")
	return id, ems.CheckID("alarm id", id)
}

// checkAlarm gathers every fault of an alarm that a caller wants to raise.
func checkAlarm(alarm ems.NewAlarm) error {
	var faults []string
	note := func(err error) {
		if err != nil {
			faults = append(faults, err.Error())
		}
	}
	_, err := ems.ParseAlarmLevel(string(alarm.Level))
	note(err)
	note(checkLine("source", alarm.Source, 1, ems.MaxAlarmSource))
	note(checkLine("title", alarm.Title, 1, ems.MaxAlarmTitle))
	// A description may have several lines.
	plain := strings.NewReplacer("\n", " ", "\t", " ").Replace(alarm.Description)
	note(checkLine("description", plain, 0, ems.MaxAlarmDescription))
	if alarm.Rule != "" {
		note(ems.CheckID("rule", alarm.Rule))
	}
	if len(faults) == 0 {
		return nil
	}
	return &ems.Error{Code: ems.CodeInvalid, Message: "the alarm cannot be raised: " + faults[0], Details: faults}
}

// checkLine bounds a text, in bytes, and refuses control characters.
func checkLine(what, text string, least, most int) error {
	switch {
	case len(text) < least || len(text) > most:
		return ems.Errorf(ems.CodeInvalid, "%s has %d bytes: %d to %d are allowed", what, len(text), least, most)
	case !utf8.ValidString(text):
		return ems.Errorf(ems.CodeInvalid, "%s is not valid UTF-8", what)
	case strings.ContainsFunc(text, unicode.IsControl):
		return ems.Errorf(ems.CodeInvalid, "%s holds a control character", what)
	}
	return nil
}
