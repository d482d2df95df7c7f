package config

import (
	"slices"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// AlarmRetention bounds what is kept of closed alarms; open ones always stay.
type AlarmRetention struct {
	MaxAge   time.Duration `yaml:"max_age"`
	MaxCount int           `yaml:"max_count"`
}

// alarmsFile is the shape of alarms.yaml.
type alarmsFile struct {
	Retention AlarmRetention `yaml:"retention"`
	Flood     struct {
		Limit int `yaml:"limit"`
	} `yaml:"flood"`
	Chattering struct {
		Count  int           `yaml:"count"`
		Period time.Duration `yaml:"period"`
	} `yaml:"chattering"`
	Shelving struct {
		Longest time.Duration `yaml:"longest"`
	} `yaml:"shelving"`
	Journal struct {
		Entries int `yaml:"entries"`
	} `yaml:"journal"`
	Notifications struct {
		Waiting int `yaml:"waiting"`
	} `yaml:"notifications"`
	Escalation []ems.EscalationStep `yaml:"escalation"`
}

// Bounds of what the function library takes.
const (
	maxEscalationSteps = 20
	longestWeek        = 7 * 24 * time.Hour
)

func (s *siteReader) readAlarms(site *Site) {
	file, fallback := alarmsFile{Retention: AlarmRetention{MaxAge: 30 * 24 * time.Hour, MaxCount: 100_000}}, ems.DefaultAlarmSettings()
	file.Flood.Limit, file.Chattering.Count, file.Chattering.Period = fallback.FloodLimit, fallback.ChatterCount, fallback.ChatterPeriod
	file.Shelving.Longest, file.Journal.Entries, file.Notifications.Waiting = fallback.ShelveMax, fallback.JournalLimit, fallback.NotificationLimit
	doc, ok := readDocument(s.path("alarms.yaml"), "alarms.yaml", &file, &s.faults)
	if !ok {
		return
	}
	number := func(at []any, value, least, most int) {
		if value < least || value > most {
			doc.add(at, "%d is not between %d and %d", value, least, most)
		}
	}
	duration := func(at []any, value, least, most time.Duration) {
		if value < least || value > most {
			doc.add(at, "%v is not between %v and %v", value, least, most)
		}
	}
	if file.Retention.MaxAge < time.Minute {
		doc.add([]any{"retention", "max_age"}, "%v is below one minute", file.Retention.MaxAge)
	}
	number([]any{"retention", "max_count"}, file.Retention.MaxCount, 1, 1_000_000)
	number([]any{"flood", "limit"}, file.Flood.Limit, 1, 100_000)
	number([]any{"chattering", "count"}, file.Chattering.Count, 2, 20)
	duration([]any{"chattering", "period"}, file.Chattering.Period, time.Second, time.Hour)
	duration([]any{"shelving", "longest"}, file.Shelving.Longest, time.Minute, longestWeek)
	number([]any{"journal", "entries"}, file.Journal.Entries, 1000, 10_000_000)
	number([]any{"notifications", "waiting"}, file.Notifications.Waiting, 10, 1_000_000)
	checkEscalation(doc, &site.Forward, file.Escalation)
	site.Retention = file.Retention
	site.Alarms = ems.AlarmSettings{
		FloodLimit: file.Flood.Limit, ChatterCount: file.Chattering.Count, ChatterPeriod: file.Chattering.Period, ShelveMax: file.Shelving.Longest,
		JournalLimit: file.Journal.Entries, NotificationLimit: file.Notifications.Waiting, Escalation: file.Escalation,
	}
}

// checkEscalation checks each step, and that each can come to pass.
func checkEscalation(doc *document, forward *Forward, steps []ems.EscalationStep) {
	if len(steps) > maxEscalationSteps {
		doc.add([]any{"escalation"}, "more than %d steps", maxEscalationSteps)
		return
	}
	for i, step := range steps {
		at := func(name string) []any { return []any{"escalation", i, name} }
		level, known := severity(step.Level)
		if !known {
			_, err := ems.ParseAlarmLevel(string(step.Level))
			doc.add(at("level"), "%v", err)
			continue
		}
		if step.After < time.Second || step.After > longestWeek {
			doc.add(at("after"), "%v is not between 1s and %v", step.After, longestWeek)
		}
		switch to, found := severity(step.To); {
		case step.To == "" && step.Notify == "":
			doc.add([]any{"escalation", i}, "a step needs a level (to) or somebody to tell (notify)")
		case step.To != "" && !found:
			_, err := ems.ParseAlarmLevel(string(step.To))
			doc.add(at("to"), "%v", err)
		case step.To != "" && to >= level:
			doc.add(at("to"), "%s is not more severe than %s", step.To, step.Level)
		}
		if err := checkNotifyName(step.Notify); err != nil {
			doc.add(at("notify"), "%v", err)
		} else if message := forward.unknownName(step.Notify); message != "" {
			doc.addReference(notifyTable, at("notify"), "%s", message)
		}
		for first, other := range steps {
			if other.Level != step.Level || first == i {
				continue
			}
			if other.After < step.After && other.To != "" {
				doc.add([]any{"escalation", i}, "it never comes to this: after %v escalation[%d] has given the alarm the level %s", other.After, first, other.To)
			} else if other.After == step.After && first < i {
				doc.add(at("after"), "escalation[%d] comes at the same time", first)
			}
		}
	}
}

// severity returns the rank of a level, 0 for the most severe.
func severity(level ems.AlarmLevel) (rank int, known bool) {
	rank = slices.Index(ems.AlarmLevels[:], level)
	return rank, rank >= 0
}
