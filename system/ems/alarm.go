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

// The states. An alarm that returns before it is closed is the same alarm; one
// that returns after is a new one.
const (
	ActiveUnacknowledged  AlarmState = "active_unacknowledged"
	ActiveAcknowledged    AlarmState = "active_acknowledged"
	ClearedUnacknowledged AlarmState = "cleared_unacknowledged"
	Closed                AlarmState = "closed"
)

// AlarmStates lists every state in the order of a life.
var AlarmStates = [...]AlarmState{ActiveUnacknowledged, ActiveAcknowledged, ClearedUnacknowledged, Closed}

// Active reports whether the condition of the alarm still holds.
func (s AlarmState) Active() bool { return s == ActiveUnacknowledged || s == ActiveAcknowledged }

// Alarm is an abnormal condition, from its first occurrence until it is closed.
type Alarm struct {
	ID           string     `json:"id"`
	Source       string     `json:"source"`         // what it is about: a point, a model, a device
	Rule         string     `json:"rule,omitempty"` // the rule that raised it, empty when raised by hand
	Level        AlarmLevel `json:"level"`
	Title        string     `json:"title"`
	Description  string     `json:"description,omitempty"`
	State        AlarmState `json:"state"`
	Value        *float64   `json:"value,omitempty"`       // the value that raised it last
	Worst        *float64   `json:"worst_value,omitempty"` // the furthest that it was while the alarm was active, where it is known in which direction
	Occurrences  int64      `json:"occurrences"`           // how often it was raised
	RaisedAt     time.Time  `json:"raised_at"`
	LastAt       time.Time  `json:"last_at"`
	ClearedAt    *time.Time `json:"cleared_at,omitempty"`
	Acknowledged *time.Time `json:"acknowledged_at,omitempty"`
	AckedBy      string     `json:"acknowledged_by,omitempty"`
	Shelved      *Shelving  `json:"shelved,omitempty"`
	Suppressed   bool       `json:"suppressed,omitempty"` // nobody is told: what it is about is in maintenance
	Chattering   bool       `json:"chattering,omitempty"` // it comes and goes too often to be believed
	// EscalatedFrom is the level at which it was raised, empty while that is its level.
	EscalatedFrom AlarmLevel `json:"escalated_from,omitempty"`
	Comments      int64      `json:"comments,omitempty"` // how many the journal has had
}

// Shelving says how long an alarm is set aside.
type Shelving struct {
	Until  time.Time `json:"until"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
}

// NewAlarm is what a caller says to raise an alarm. Source and Rule together
// identify it: raised again while it is open, it counts as one.
type NewAlarm struct {
	Source      string     `json:"source"`
	Rule        string     `json:"rule"`
	Level       AlarmLevel `json:"level"`
	Title       string     `json:"title"`
	Description string     `json:"description"`
	Value       *float64   `json:"value"`
	Worse       string     `json:"worse"` // the direction in which a value is worse: high, low or empty
	By          string     `json:"by"`    // who raises it; empty for the rule itself, or where nobody says
}

// Bounds of the texts of an alarm, in bytes.
const (
	MaxAlarmTitle       = 200
	MaxAlarmDescription = 2000
	MaxAlarmSource      = 200
	MaxAlarmReason      = 500 // why it is shelved or suppressed
	MaxAlarmComment     = 2000
	MaxAlarmActor       = 100 // the name of who acts
)

// The scopes of a suppression.
const (
	SuppressAll    = "all"
	SuppressSource = "source" // every source that begins so
	SuppressRule   = "rule"
)

// Suppression holds back the alarms of a part of the site, as during
// maintenance: they are stored, and nobody is told before it ends.
type Suppression struct {
	ID     string     `json:"id"`
	Scope  string     `json:"scope"`
	Value  string     `json:"value,omitempty"` // what begins the source, or the rule
	By     string     `json:"by"`
	Reason string     `json:"reason"`
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until,omitempty"` // nil is until somebody ends it
}

// The events that the journal of alarms tells of.
const (
	AlarmRaised       = "raise"
	AlarmReturned     = "return" // raised again after it had cleared
	AlarmWorsened     = "worsen" // raised at a more severe level while it was active
	AlarmCleared      = "clear"
	AlarmAcknowledged = "acknowledge"
	AlarmShelved      = "shelve"
	AlarmUnshelved    = "unshelve"
	AlarmSuppressed   = "suppress"
	AlarmUnsuppressed = "unsuppress"
	AlarmCommented    = "comment"
	AlarmEscalated    = "escalate"
	AlarmChatters     = "chatter"
	AlarmQuiet        = "quiet" // it chatters no more
)

// JournalEntry is one transition of an alarm, or one of a suppression, which
// names no alarm.
type JournalEntry struct {
	ID         string     `json:"id"` // grows with every entry: "1782000000000-0"
	Event      string     `json:"event"`
	Alarm      string     `json:"alarm,omitempty"`
	From       AlarmState `json:"from,omitempty"` // empty for a new alarm
	To         AlarmState `json:"to,omitempty"`   // the same as From where the event is no change of state
	Time       time.Time  `json:"time"`
	By         string     `json:"by"`
	Level      AlarmLevel `json:"level,omitempty"`
	Source     string     `json:"source,omitempty"`
	Rule       string     `json:"rule,omitempty"`
	Title      string     `json:"title,omitempty"`
	Occurrence int64      `json:"occurrence,omitempty"`
	Value      *float64   `json:"value,omitempty"`
	// Text is a comment or a reason; of an alarm that is raised or returns it is
	// "shelved" or "suppressed" when nobody was told.
	Text string `json:"text,omitempty"`
}

// EscalationStep says what happens to an alarm that nobody acknowledges.
type EscalationStep struct {
	Level  AlarmLevel    `yaml:"level"`
	After  time.Duration `yaml:"after"`  // unacknowledged at this level
	To     AlarmLevel    `yaml:"to"`     // the level it takes then; empty to keep its own
	Notify string        `yaml:"notify"` // whom to tell
}

// AlarmSettings is what the alarms of a site are treated by.
type AlarmSettings struct {
	FloodLimit        int           // alarms told within ten minutes, beyond which they are told in summaries
	ChatterCount      int           // an alarm that becomes active so often …
	ChatterPeriod     time.Duration // … within this time chatters
	ShelveMax         time.Duration
	JournalLimit      int // entries kept
	NotificationLimit int // notifications that wait
	Escalation        []EscalationStep
}

// DefaultAlarmSettings are those of a site that says nothing. More than ten
// alarms in ten minutes are a flood (ISA-18.2, for one operator).
func DefaultAlarmSettings() AlarmSettings {
	return AlarmSettings{
		FloodLimit: 10, ChatterCount: 3, ChatterPeriod: time.Minute, ShelveMax: 24 * time.Hour,
		JournalLimit: 100_000, NotificationLimit: 10_000,
	}
}
