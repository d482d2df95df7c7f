package rtdb

import (
	"context"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// StoreAlarm raises an alarm. Raised again while it is open it is the same alarm
// with one more occurrence.
func (c *Client) StoreAlarm(ctx context.Context, alarm ems.NewAlarm) (ems.Alarm, error) {
	value := ""
	if alarm.Value != nil {
		text, err := ems.FormatNumber(*alarm.Value)
		if err != nil {
			return ems.Alarm{}, err
		}
		value = text
	}
	id, err := c.text(ctx, "alarm_store", "new", alarm.Source, alarm.Rule, string(alarm.Level), alarm.Title, alarm.Description,
		value, alarm.Worse, c.now(), alarm.By)
	if err != nil {
		return ems.Alarm{}, err
	}
	return c.Alarm(ctx, id)
}

// Alarm returns one alarm; NOT_FOUND when there is none.
func (c *Client) Alarm(ctx context.Context, id string) (ems.Alarm, error) {
	texts, err := c.texts(ctx, "alarm_get", id)
	if err != nil {
		return ems.Alarm{}, err
	}
	alarms, err := parseAlarms(texts)
	if err != nil {
		return ems.Alarm{}, err
	}
	if len(alarms) != 1 {
		return ems.Alarm{}, ems.Errorf(ems.CodeInternal, "alarm_get answered %d alarms", len(alarms))
	}
	return alarms[0], nil
}

// AlarmFilter narrows a list of alarms; empty fields match everything.
type AlarmFilter struct {
	Active     bool   // only those whose condition still holds; goes before State
	State      string // one of ems.AlarmStates, "active", or "open" for all that are not closed
	Level      ems.AlarmLevel
	Source     string
	Rule       string
	From, To   time.Time // raised at or after From and before To
	Shelved    *bool
	Suppressed *bool
	After      string // where the page before ended: the id of its last alarm, or with From or To its time and id
	Count      int    // at most so many, newest first; 1 to 1000
}

// listPatience is how many calls are made to fill one page: each looks at 1000
// alarms, and there may be few among many that are asked for.
const listPatience = 20

// Alarms lists alarms, newest first.
func (c *Client) Alarms(ctx context.Context, filter AlarmFilter) ([]ems.Alarm, error) {
	alarms, _, err := c.AlarmPage(ctx, filter)
	return alarms, err
}

// AlarmPage lists alarms, newest first, and returns the After of the next page,
// which is empty at the end. A page may be short before the end, where few of
// many alarms are asked for.
func (c *Client) AlarmPage(ctx context.Context, filter AlarmFilter) (alarms []ems.Alarm, next string, err error) {
	state, next := filter.State, filter.After
	if filter.Active {
		state = "active"
	}
	alarms = []ems.Alarm{}
	for range listPatience {
		texts, err := c.texts(ctx, "alarm_list", "all", next, filter.Count-len(alarms), state, string(filter.Level), filter.Source, filter.Rule,
			optionalMS(filter.From), optionalMS(filter.To), optionalBool(filter.Shelved), optionalBool(filter.Suppressed))
		if err != nil {
			return nil, "", err
		}
		if len(texts) == 0 {
			return nil, "", ems.Errorf(ems.CodeInternal, "alarm_list answered nothing")
		}
		page, err := parseAlarms(texts[1:])
		if err != nil {
			return nil, "", err
		}
		alarms, next = append(alarms, page...), texts[0]
		if next == "" || len(alarms) >= filter.Count {
			break
		}
	}
	return alarms, next, nil
}

func optionalMS(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return milliseconds(at)
}

func optionalBool(wanted *bool) string {
	switch {
	case wanted == nil:
		return ""
	case *wanted:
		return "1"
	default:
		return "0"
	}
}

// alarmFields is how many texts describe one alarm.
const alarmFields = 22

// parseAlarms reads what alarm_get replies, any number of times.
func parseAlarms(texts []string) ([]ems.Alarm, error) {
	if len(texts)%alarmFields != 0 {
		return nil, ems.Errorf(ems.CodeInternal, "a list of alarms has %d texts, which is no multiple of %d", len(texts), alarmFields)
	}
	alarms := make([]ems.Alarm, 0, len(texts)/alarmFields)
	for i := 0; i < len(texts); i += alarmFields {
		t := texts[i : i+alarmFields]
		alarm := ems.Alarm{
			ID: t[0], Source: t[1], Rule: t[2], Level: ems.AlarmLevel(t[3]), Title: t[4], Description: t[5],
			State: ems.AlarmState(t[6]), Occurrences: integer(t[8]),
			RaisedAt: ems.FromUnixMS(integer(t[9])), LastAt: ems.FromUnixMS(integer(t[10])),
			ClearedAt: optionalTime(t[11]), Acknowledged: optionalTime(t[12]), AckedBy: t[13],
			Suppressed: t[18] != "", Chattering: t[19] != "", EscalatedFrom: ems.AlarmLevel(t[20]), Comments: integer(t[21]),
		}
		if t[15] != "" {
			alarm.Shelved = &ems.Shelving{Until: ems.FromUnixMS(integer(t[15])), By: t[16], Reason: t[17]}
		}
		var err error
		if alarm.Value, err = optionalNumber(t[7]); err != nil {
			return nil, err
		}
		if alarm.Worst, err = optionalNumber(t[14]); err != nil {
			return nil, err
		}
		alarms = append(alarms, alarm)
	}
	return alarms, nil
}

func optionalTime(text string) *time.Time {
	if text == "" {
		return nil
	}
	at := ems.FromUnixMS(integer(text))
	return &at
}

func optionalNumber(text string) (*float64, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no number is no fault
	}
	number, err := ems.ParseNumber(text)
	return &number, err
}

// AcknowledgeAlarm records that somebody has seen an alarm when it had occurred so
// often. CONFLICT when it has become active or worse since, was acknowledged before
// or is closed; that it was merely raised again since is none.
func (c *Client) AcknowledgeAlarm(ctx context.Context, id string, occurrences int64, by string) error {
	_, err := c.text(ctx, "alarm_acknowledge", id, occurrences, by, c.now())
	return err
}

// ResolveAlarm clears an alarm by hand. CONFLICT when it is not active.
func (c *Client) ResolveAlarm(ctx context.Context, id, by string) error {
	_, err := c.text(ctx, "alarm_resolve", id, by, c.now())
	return err
}

// ShelveAlarm sets an open alarm aside. CONFLICT when it is closed, INVALID when
// the time is longer than the settings allow.
func (c *Client) ShelveAlarm(ctx context.Context, id, by, reason string, until time.Time) error {
	_, err := c.text(ctx, "alarm_shelve", id, by, reason, milliseconds(until), c.now())
	return err
}

// UnshelveAlarm ends the shelving of an alarm. CONFLICT when it is not shelved.
func (c *Client) UnshelveAlarm(ctx context.Context, id, by string) error {
	_, err := c.text(ctx, "alarm_unshelve", id, by, c.now())
	return err
}

// CommentAlarm writes a remark about an alarm into the journal.
func (c *Client) CommentAlarm(ctx context.Context, id, by, text string) error {
	_, err := c.text(ctx, "alarm_comment", id, by, text, c.now())
	return err
}

// SuppressAlarms holds alarms back from now on. CONFLICT when the id is in use,
// FULL when there are too many.
func (c *Client) SuppressAlarms(ctx context.Context, s ems.Suppression) error {
	until := ""
	if s.Until != nil {
		until = milliseconds(*s.Until)
	}
	_, err := c.text(ctx, "alarm_suppress", s.ID, s.Scope, s.Value, s.By, s.Reason, until, c.now())
	return err
}

// EndSuppression ends a suppression; NOT_FOUND when there is none.
func (c *Client) EndSuppression(ctx context.Context, id, by string) error {
	_, err := c.text(ctx, "alarm_unsuppress", id, by, c.now())
	return err
}

// Suppressions lists the suppressions in the order of their ids.
func (c *Client) Suppressions(ctx context.Context) ([]ems.Suppression, error) {
	texts, err := c.texts(ctx, "alarm_suppressions", "all")
	if err != nil {
		return nil, err
	}
	list := make([]ems.Suppression, 0, len(texts)/7)
	for i := 0; i+6 < len(texts); i += 7 {
		list = append(list, ems.Suppression{
			ID: texts[i], Scope: texts[i+1], Value: texts[i+2], By: texts[i+3], Reason: texts[i+4],
			Since: ems.FromUnixMS(integer(texts[i+5])), Until: optionalTime(texts[i+6]),
		})
	}
	return list, nil
}

// CleanUpAlarms removes closed alarms that are older than maxAge or beyond the
// newest maxCount, at most a bounded number per call, and returns how many.
func (c *Client) CleanUpAlarms(ctx context.Context, maxAge time.Duration, maxCount int) (int, error) {
	text, err := c.text(ctx, "alarm_cleanup", "all", c.now(), c.clock.Now().Add(-maxAge).UnixMilli(), maxCount, 500)
	return int(integer(text)), err
}
