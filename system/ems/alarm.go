package ems

import "time"

// AlarmLevel is the severity of an alarm.
type AlarmLevel string

// The levels, most severe first.
const (
	Critical AlarmLevel = "Critical" // system failure, safety
	Major    AlarmLevel = "Major"    // degradation, equipment failure
	Minor    AlarmLevel = "Minor"    // performance
	Warning  AlarmLevel = "Warning"  // attention needed
	Info     AlarmLevel = "Info"     // status
)

// AlarmLevels lists every level, most severe first.
var AlarmLevels = [...]AlarmLevel{Critical, Major, Minor, Warning, Info}

// ParseAlarmLevel reads a level by its name.
func ParseAlarmLevel(text string) (AlarmLevel, error) {
	for _, level := range AlarmLevels {
		if string(level) == text {
			return level, nil
		}
	}
	return "", Errorf(CodeInvalid, "unknown alarm level %q: use Critical, Major, Minor, Warning or Info", text)
}

// AlarmState is where an alarm stands in its life cycle (ISA-18.2).
type AlarmState string

// The states. An alarm that returns after closing is a new occurrence.
const (
	ActiveUnacknowledged  AlarmState = "active_unacknowledged"
	ActiveAcknowledged    AlarmState = "active_acknowledged"
	ClearedUnacknowledged AlarmState = "cleared_unacknowledged"
	Closed                AlarmState = "closed"
)

// Active reports whether the condition of the alarm still holds.
func (s AlarmState) Active() bool { return s == ActiveUnacknowledged || s == ActiveAcknowledged }

// Alarm is one occurrence of an abnormal condition.
type Alarm struct {
	ID           string     `json:"id"`
	Source       string     `json:"source"`         // what it is about: a point, a model, a device
	Rule         string     `json:"rule,omitempty"` // the rule that raised it, empty when raised by hand
	Level        AlarmLevel `json:"level"`
	Title        string     `json:"title"`
	Description  string     `json:"description,omitempty"`
	State        AlarmState `json:"state"`
	Value        *float64   `json:"value,omitempty"` // the value that raised it
	Occurrences  int64      `json:"occurrences"`     // how often it was raised while active
	RaisedAt     time.Time  `json:"raised_at"`
	LastAt       time.Time  `json:"last_at"`
	ClearedAt    *time.Time `json:"cleared_at,omitempty"`
	Acknowledged *time.Time `json:"acknowledged_at,omitempty"`
	AckedBy      string     `json:"acknowledged_by,omitempty"`
}

// NewAlarm is what a caller says to raise an alarm. Source and Rule together
// identify it: raised again while active, it counts as one.
type NewAlarm struct {
	Source      string     `json:"source"`
	Rule        string     `json:"rule"`
	Level       AlarmLevel `json:"level"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
}

// Bounds of the texts of an alarm, in bytes.
const (
	MaxAlarmTitle       = 200
	MaxAlarmDescription = 2000
	MaxAlarmSource      = 200
)
