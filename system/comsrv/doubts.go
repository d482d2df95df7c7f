package comsrv

import (
	"fmt"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// doubts are why a point was last bad, and last uncertain. They stay when it is
// good again: Redis may still hold what was told before.
type doubts struct{ bad, uncertain string }

// reason says why a point of a poll group is not good, and nothing of one that is.
// The status is that of the channel.
func (c *channel) reason(status *rtdb.ChannelStatus, quality ems.Quality, group string, known doubts, now time.Time) string {
	switch {
	case quality == ems.Good:
		return ""
	case quality == ems.Bad && known.bad != "":
		return known.bad
	case quality == ems.Uncertain && known.uncertain != "":
		return known.uncertain
	}
	last, stale := status.Groups[group].LastSuccess, c.StaleAfter(group)
	switch age := now.Sub(last); {
	case !status.Online:
		return status.Reason
	case quality == ems.Stale && !last.IsZero() && age > stale:
		return fmt.Sprintf("poll group %s was read last %v ago, and its values are stale after %v", group, age.Round(time.Millisecond), stale)
	default:
		return "Redis does not know yet what was read last"
	}
}
