package ems

import "time"

// The kinds of notifications.
const (
	NotifyAlarm      = "alarm"      // one alarm
	NotifySummary    = "summary"    // what a flood brought since the last one
	NotifyEscalation = "escalation" // nobody has acknowledged an alarm in time
	NotifyRule       = "rule"       // a rule says so
)

// NotificationKinds lists every kind.
var NotificationKinds = [...]string{NotifyAlarm, NotifySummary, NotifyEscalation, NotifyRule}

// MaxNotifyName bounds the name of somebody who is told, in bytes.
const MaxNotifyName = 200

// Notification is what people are to be told. A summary has Count, Levels,
// Sources, Escalated and Since in place of an alarm; what a rule says has Rule and Message.
type Notification struct {
	Kind        string     `json:"kind"`
	To          string     `json:"to,omitempty"` // whom to tell; empty where nobody in particular is named
	Alarm       string     `json:"alarm,omitempty"`
	Level       AlarmLevel `json:"level,omitempty"`
	Source      string     `json:"source,omitempty"`
	Rule        string     `json:"rule,omitempty"`
	Title       string     `json:"title,omitempty"`
	Description string     `json:"description,omitempty"`
	Occurrence  int64      `json:"occurrence,omitempty"`
	Value       *float64   `json:"value,omitempty"`
	Count       int64      `json:"count,omitempty"`
	Levels      string     `json:"levels,omitempty"`    // alarms of each: "Critical 3 Minor 9"
	Sources     string     `json:"sources,omitempty"`   // the five with the most: "pump-1 7 pump-2 5"
	Escalated   string     `json:"escalated,omitempty"` // alarms that escalated to each level: "Critical 3 Major 9"
	Since       *time.Time `json:"since,omitempty"`     // when the flood began
	Time        time.Time  `json:"time"`
	Reason      string     `json:"reason,omitempty"` // of an alarm: raise, return, worsen, unshelve or unsuppress; of a summary: flood or over
	Message     string     `json:"message,omitempty"`
}
