package alarmsrv

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// listStates are what ?state= of a list may say.
var listStates = map[string]string{
	"": "", "all": "", "open": "open", "active": "active",
	string(ems.ActiveUnacknowledged): string(ems.ActiveUnacknowledged), string(ems.ActiveAcknowledged): string(ems.ActiveAcknowledged),
	string(ems.ClearedUnacknowledged): string(ems.ClearedUnacknowledged), string(ems.Closed): string(ems.Closed),
}

// readFilter reads the filters of a list: ?state= (open, active, all or one of
// the states), ?level=, ?source=, ?rule=, ?from= and ?to= (RFC 3339, of the time
// of raising), ?shelved= and ?suppressed= (true or false), ?after= and ?limit=.
func readFilter(c echo.Context) (filter rtdb.AlarmFilter, err error) {
	state, known := listStates[c.QueryParam("state")]
	if !known {
		return filter, ems.Errorf(ems.CodeInvalid, "unknown state %q: use all, open, active, active_unacknowledged, active_acknowledged, "+
			"cleared_unacknowledged or closed", c.QueryParam("state"))
	}
	filter = rtdb.AlarmFilter{State: state, Source: c.QueryParam("source"), Rule: c.QueryParam("rule")}
	if text := c.QueryParam("level"); text != "" {
		if filter.Level, err = ems.ParseAlarmLevel(text); err != nil {
			return filter, err
		}
	}
	if err := checkLine("source", filter.Source, 0, ems.MaxAlarmSource); err != nil {
		return filter, err
	}
	if filter.Rule != "" {
		if err := ems.CheckID("rule", filter.Rule); err != nil {
			return filter, err
		}
	}
	if filter.From, err = queryTime(c, "from"); err != nil {
		return filter, err
	}
	if filter.To, err = queryTime(c, "to"); err != nil {
		return filter, err
	}
	if !filter.From.IsZero() && !filter.To.IsZero() && !filter.To.After(filter.From) {
		return filter, ems.Errorf(ems.CodeInvalid, "to must be after from")
	}
	if filter.Shelved, err = queryBool(c, "shelved"); err != nil {
		return filter, err
	}
	if filter.Suppressed, err = queryBool(c, "suppressed"); err != nil {
		return filter, err
	}
	filter.After, filter.Count, err = httpserver.Page(c)
	return filter, err
}

// queryTime reads a time, the zero time where it is not given.
func queryTime(c echo.Context, name string) (time.Time, error) {
	text := c.QueryParam(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.UnixMilli() < 1 || at.Year() > 9999 {
		return time.Time{}, ems.Errorf(ems.CodeInvalid, "%s %q is not a time such as 2026-03-01T12:00:00Z", name, text)
	}
	return at, nil
}

func queryBool(c echo.Context, name string) (*bool, error) {
	text := c.QueryParam(name)
	if text == "" {
		return nil, nil //nolint:nilnil // not asked for
	}
	wanted, err := strconv.ParseBool(text)
	if err != nil {
		return nil, ems.Errorf(ems.CodeInvalid, "%s %q is neither true nor false", name, text)
	}
	return &wanted, nil
}

// listAlarms replies with a page of alarms, newest first.
func (s *Service) listAlarms(c echo.Context) error {
	filter, err := readFilter(c)
	if err != nil {
		return err
	}
	return s.replyPage(c, filter)
}

// listActive replies with a page of those whose condition still holds.
func (s *Service) listActive(c echo.Context) error {
	filter, err := readFilter(c)
	if err != nil {
		return err
	}
	if filter.State != "" {
		return ems.Errorf(ems.CodeInvalid, "this list has the state active: ask /api/alarms for another")
	}
	filter.Active = true
	return s.replyPage(c, filter)
}

func (s *Service) replyPage(c echo.Context, filter rtdb.AlarmFilter) error {
	alarms, next, err := s.db.AlarmPage(c.Request().Context(), filter)
	if err != nil {
		return err
	}
	return httpserver.OKPage(c, alarms, next)
}

// counts is the reply of /api/alarms/counts.
type counts struct {
	Total        int64                    `json:"total"`
	ByState      map[ems.AlarmState]int64 `json:"by_state"`
	OpenByLevel  map[ems.AlarmLevel]int64 `json:"open_by_level"`
	Active       int64                    `json:"active"`
	Shelved      int64                    `json:"shelved"`    // of those that are not closed
	Suppressed   int64                    `json:"suppressed"` // as well
	Chattering   int64                    `json:"chattering"` // as well
	FloodSince   *time.Time               `json:"flood_since,omitempty"`
	JournalSize  int64                    `json:"journal_entries"`
	JournalLost  int64                    `json:"journal_trimmed"`
	NotifyQueue  int64                    `json:"notifications_waiting"`
	NotifyMissed int64                    `json:"notifications_dropped"`
}

func (s *Service) countAlarms(c echo.Context) error {
	found, err := s.db.AlarmCounts(c.Request().Context(), time.Time{})
	if err != nil {
		return err
	}
	reply := counts{
		ByState: map[ems.AlarmState]int64{}, OpenByLevel: map[ems.AlarmLevel]int64{},
		Shelved: found.Shelved, Suppressed: found.Suppressed, Chattering: found.Chattering,
		JournalSize: found.Journal, JournalLost: found.JournalTrimmed, NotifyQueue: found.Notifications, NotifyMissed: found.NotificationsDropped,
	}
	if !found.FloodSince.IsZero() {
		reply.FloodSince = &found.FloodSince
	}
	for _, state := range ems.AlarmStates {
		number := found.State(state)
		reply.ByState[state] = number
		reply.Total += number
		if state.Active() {
			reply.Active += number
		}
		for _, level := range ems.AlarmLevels {
			if state != ems.Closed {
				reply.OpenByLevel[level] += found.Numbers[state][level]
			}
		}
	}
	return httpserver.OK(c, reply)
}

// raiseAlarm raises an alarm by hand or for another system; the journal names "by".
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

// acknowledgeAlarm takes {"by": …, "occurrence": …}: the number of the occurrence
// that the person has seen.
func (s *Service) acknowledgeAlarm(c echo.Context) error {
	var body struct {
		By         string `json:"by"`
		Occurrence int64  `json:"occurrence"`
	}
	return s.change(c, &body, &body.By, func(ctx context.Context, id string) error {
		if body.Occurrence < 1 || body.Occurrence > math.MaxInt32 {
			return ems.Errorf(ems.CodeInvalid, `"occurrence", the "occurrences" of the alarm as it was seen, is missing or no number from 1`)
		}
		return s.db.AcknowledgeAlarm(ctx, id, body.Occurrence, body.By)
	})
}

func (s *Service) resolveAlarm(c echo.Context) error {
	var body struct {
		By string `json:"by"`
	}
	return s.change(c, &body, &body.By, func(ctx context.Context, id string) error { return s.db.ResolveAlarm(ctx, id, body.By) })
}

// shelveAlarm takes {"by": …, "reason": …, "for": "2h"}.
func (s *Service) shelveAlarm(c echo.Context) error {
	var body struct {
		By     string `json:"by"`
		Reason string `json:"reason"`
		For    string `json:"for"`
	}
	return s.change(c, &body, &body.By, func(ctx context.Context, id string) error {
		if err := checkLine(`"reason"`, body.Reason, 1, ems.MaxAlarmReason); err != nil {
			return err
		}
		length, err := time.ParseDuration(body.For)
		if err != nil || length < time.Second || length > s.settings.ShelveMax {
			return ems.Errorf(ems.CodeInvalid, `"for" %q is not a time such as 30m or 2h, from 1s to %v`, body.For, s.settings.ShelveMax)
		}
		return s.db.ShelveAlarm(ctx, id, body.By, body.Reason, s.clock.Now().Add(length))
	})
}

func (s *Service) unshelveAlarm(c echo.Context) error {
	var body struct {
		By string `json:"by"`
	}
	return s.change(c, &body, &body.By, func(ctx context.Context, id string) error { return s.db.UnshelveAlarm(ctx, id, body.By) })
}

func (s *Service) commentAlarm(c echo.Context) error {
	var body struct {
		By   string `json:"by"`
		Text string `json:"text"`
	}
	return s.change(c, &body, &body.By, func(ctx context.Context, id string) error {
		if err := checkText(`"text"`, body.Text, 1, ems.MaxAlarmComment); err != nil {
			return err
		}
		return s.db.CommentAlarm(ctx, id, body.By, body.Text)
	})
}

// change reads the body of who does something to an alarm, applies it, and
// replies with the alarm as it is then.
func (s *Service) change(c echo.Context, body any, by *string, apply func(ctx context.Context, id string) error) error {
	id, err := alarmID(c)
	if err != nil {
		return err
	}
	if err := httpserver.Body(c, body); err != nil {
		return err
	}
	if err := checkActor(*by); err != nil {
		return err
	}
	if err := apply(c.Request().Context(), id); err != nil {
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
	note(checkText("description", alarm.Description, 0, ems.MaxAlarmDescription))
	if alarm.Rule != "" {
		note(ems.CheckID("rule", alarm.Rule))
	}
	if alarm.By != "" {
		note(checkActor(alarm.By))
	}
	if alarm.Worse != "" && alarm.Worse != "high" && alarm.Worse != "low" {
		note(ems.Errorf(ems.CodeInvalid, "worse %q is neither high nor low", alarm.Worse))
	}
	if len(faults) == 0 {
		return nil
	}
	return &ems.Error{Code: ems.CodeInvalid, Message: "the alarm cannot be raised: " + faults[0], Details: faults}
}

func checkActor(by string) error {
	return checkLine(`"by", the name of who acts,`, by, 1, ems.MaxAlarmActor)
}

// checkLine bounds a text, in bytes, and refuses control characters.
func checkLine(what, text string, least, most int) error {
	switch {
	case strings.TrimSpace(text) == "" && least > 0:
		return ems.Errorf(ems.CodeInvalid, "%s is missing", what)
	case len(text) < least || len(text) > most:
		return ems.Errorf(ems.CodeInvalid, "%s has %d bytes: %d to %d are allowed", what, len(text), least, most)
	case !utf8.ValidString(text):
		return ems.Errorf(ems.CodeInvalid, "%s is not valid UTF-8", what)
	case strings.ContainsFunc(text, unicode.IsControl):
		return ems.Errorf(ems.CodeInvalid, "%s holds a control character", what)
	}
	return nil
}

// checkText is checkLine for what may have several lines.
func checkText(what, text string, least, most int) error {
	return checkLine(what, strings.NewReplacer("\n", " ", "\t", " ").Replace(text), least, most)
}
