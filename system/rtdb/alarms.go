package rtdb

import (
	"context"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// StoreAlarm raises an alarm. Raised again while active it is the same alarm
// with one more occurrence.
func (c *Client) StoreAlarm(ctx context.Context, alarm ems.NewAlarm) (ems.Alarm, error) {
	id, err := c.text(ctx, "alarm_store", "new", alarm.Source, alarm.Rule, string(alarm.Level), alarm.Title, alarm.Description, c.now())
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
	Active bool // only those whose condition still holds
	Level  ems.AlarmLevel
	Source string
	Count  int // at most so many, newest first; 1 to 1000
}

// Alarms lists alarms, newest first.
func (c *Client) Alarms(ctx context.Context, filter AlarmFilter) ([]ems.Alarm, error) {
	function := "alarm_list"
	if filter.Active {
		function = "get_active_alarms"
	}
	texts, err := c.texts(ctx, function, "all", string(filter.Level), filter.Source, filter.Count)
	if err != nil {
		return nil, err
	}
	return parseAlarms(texts)
}

// alarmFields is how many texts describe one alarm.
const alarmFields = 14

// parseAlarms reads id, source, rule, level, title, description, state, value,
// occurrences, raised, last, cleared, acknowledged, acknowledged by.
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
		}
		if t[7] != "" {
			number, err := ems.ParseNumber(t[7])
			if err != nil {
				return nil, err
			}
			alarm.Value = &number
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

// AcknowledgeAlarm records that somebody has seen an alarm. CONFLICT when it was
// acknowledged before or is closed.
func (c *Client) AcknowledgeAlarm(ctx context.Context, id, by string) error {
	_, err := c.text(ctx, "alarm_acknowledge", id, by, c.now())
	return err
}

// ResolveAlarm clears an alarm by hand. CONFLICT when it is not active.
func (c *Client) ResolveAlarm(ctx context.Context, id, by string) error {
	_, err := c.text(ctx, "alarm_resolve", id, by, c.now())
	return err
}

// CleanUpAlarms removes closed alarms that are older than maxAge or beyond the
// newest maxCount, at most a bounded number per call, and returns how many.
func (c *Client) CleanUpAlarms(ctx context.Context, maxAge time.Duration, maxCount int) (int, error) {
	text, err := c.text(ctx, "alarm_cleanup", "all", c.now(), c.clock.Now().Add(-maxAge).UnixMilli(), maxCount, 500)
	return int(integer(text)), err
}
