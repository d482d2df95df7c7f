package ems

import (
	"slices"
	"time"
	_ "time/tzdata" // a site may run where the system has no table of time zones
)

// Schedule says when a rule is in force, in the local time of a place: on the
// days named, from one time of the day to another. Where To is not after From it
// is a time of the day after. Without both it is the whole day.
type Schedule struct {
	TimeZone string   `yaml:"time_zone,omitempty" json:"time_zone,omitempty"` // of the IANA table, for example Europe/Berlin; UTC if empty
	Days     []string `yaml:"days,omitempty" json:"days,omitempty"`           // of Weekdays; all if empty
	From     string   `yaml:"from,omitempty" json:"from,omitempty"`           // "08:00"
	To       string   `yaml:"to,omitempty" json:"to,omitempty"`               // "18:00", excluded; 24:00 is the end of the day
}

// Weekdays are the names of the days, in the order of time.Weekday.
var Weekdays = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// Window is a span of time; Till is excluded.
type Window struct {
	From time.Time `json:"from"`
	Till time.Time `json:"till"`
}

// Faults lists what is wrong with the schedule; the paths begin at it.
func (s *Schedule) Faults() []Fault {
	var found faultList
	if _, err := s.location(); err != nil {
		found.add([]any{"time_zone"}, "%v", err)
	}
	for i, day := range s.Days {
		if !slices.Contains(Weekdays[:], day) {
			found.add([]any{"days", i}, "unknown day %q: use mon, tue, wed, thu, fri, sat or sun", clip(day))
		}
	}
	if (s.From == "") != (s.To == "") {
		found.add(nil, "from and to are needed together, or neither for the whole day")
		return found
	}
	if minute, err := minuteOfDay(s.From); err != nil {
		found.add([]any{"from"}, "%v", err)
	} else if minute == 24*60 {
		found.add([]any{"from"}, "24:00 is the end of the day: write 00:00")
	}
	if _, err := minuteOfDay(s.To); err != nil {
		found.add([]any{"to"}, "%v", err)
	}
	return found
}

// location refuses "Local": the rules of a site must not depend on the machine.
func (s *Schedule) location() (*time.Location, error) {
	place, err := time.LoadLocation(s.TimeZone)
	if err != nil || s.TimeZone == "Local" {
		return nil, Errorf(CodeInvalid, "unknown time zone %q: use a name of the IANA table, for example Europe/Berlin or UTC", clip(s.TimeZone))
	}
	return place, nil
}

// minuteOfDay reads "08:00"; empty is 0.
func minuteOfDay(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	if text == "24:00" {
		return 24 * 60, nil
	}
	at, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, Errorf(CodeInvalid, "%q is not a time of the day: write it from 00:00 to 24:00", clip(text))
	}
	return at.Hour()*60 + at.Minute(), nil
}

// Windows lists the spans in which the schedule is in force and that touch the
// time from one instant to another, in order; those that meet are one. The error
// is that of a schedule with Faults.
func (s *Schedule) Windows(from, till time.Time) ([]Window, error) {
	place, err := s.location()
	if err != nil {
		return nil, err
	}
	begin, err := minuteOfDay(s.From)
	if err != nil {
		return nil, err
	}
	end, err := minuteOfDay(s.To)
	if err != nil {
		return nil, err
	}
	if end <= begin {
		end += 24 * 60
	}
	var windows []Window
	local := from.In(place)
	// The day before may reach into the first one.
	for day := -1; ; day++ {
		date := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, place)
		window := Window{
			From: time.Date(date.Year(), date.Month(), date.Day(), 0, begin, 0, 0, place),
			Till: time.Date(date.Year(), date.Month(), date.Day(), 0, end, 0, 0, place),
		}
		if !window.From.Before(till) && day > 0 {
			return windows, nil
		}
		wanted := len(s.Days) == 0 || slices.Contains(s.Days, Weekdays[date.Weekday()])
		if !wanted || !window.Till.After(from) || !window.From.Before(till) || !window.Till.After(window.From) {
			continue
		}
		if last := len(windows) - 1; last >= 0 && !window.From.After(windows[last].Till) {
			windows[last].Till = window.Till
		} else {
			windows = append(windows, window)
		}
	}
}
