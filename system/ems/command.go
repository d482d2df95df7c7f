package ems

import "time"

// CommandState is how far a command has come. The last four are final.
type CommandState string

// The states of a command.
const (
	CommandQueued    CommandState = "queued"    // in the stream, nobody has acted
	CommandExecuting CommandState = "executing" // the device may have been reached
	CommandDone      CommandState = "done"      // written, and read back where that is possible
	CommandFailed    CommandState = "failed"    // surely not in force: refused, or read back otherwise
	CommandExpired   CommandState = "expired"   // the deadline passed before execution began; nothing was sent
	CommandUnknown   CommandState = "unknown"   // bytes left for the device and no answer came
)

// Final reports whether the command has ended.
func (s CommandState) Final() bool {
	switch s {
	case CommandDone, CommandFailed, CommandExpired, CommandUnknown:
		return true
	default:
		return false
	}
}

// Command asks a channel to write one point. It is executed at most once and
// never after its deadline.
type Command struct {
	ID       string        // unique; the same id again is the same command
	Target   PointRef      // a control or an adjustment
	Value    float64       // engineering units
	Issued   time.Time     // when the caller asked
	Deadline time.Time     // nothing is sent after it
	Hold     time.Duration // how long the value may stand before the safe value is written, unless it is renewed; 0 is for ever
	Origin   string        // who asked, for the audit: "api", "model:battery_001", "rule:peak_shaving", "api:Ann", "hold:1782000060000"
}

// DefaultCommandLifetime is how long a command may wait when its caller names
// no deadline.
const DefaultCommandLifetime = 5 * time.Second

// CommandResult is the outcome of a command.
type CommandResult struct {
	ID       string       `json:"id"`
	Target   PointRef     `json:"target"`
	State    CommandState `json:"state"`
	Value    float64      `json:"value"`               // as asked
	ReadBack *float64     `json:"read_back,omitempty"` // what the device showed afterwards
	Reason   string       `json:"reason,omitempty"`
	Time     time.Time    `json:"time"`
}

// LongestHold bounds the time for which a value may be held.
const LongestHold = 7 * 24 * time.Hour

// CommandRecord is a command that has ended, for the audit.
type CommandRecord struct {
	CommandResult            // Time is when it ended
	Origin        string     `json:"origin"`
	Issued        time.Time  `json:"issued"`
	Begun         *time.Time `json:"begun"` // nil: nobody began it
	HoldMS        int64      `json:"hold_ms,omitempty"`
}
