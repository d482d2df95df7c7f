package comsrv

import (
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds of the audit over HTTP.
const (
	defaultRecords = 100
	maxRecords     = 1000
	maxBy          = 100 // bytes of the name of a caller
)

// checkBy refuses a name that cannot be kept.
func checkBy(by string) error {
	if len(by) > maxBy || strings.ContainsFunc(by, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ems.Errorf(ems.CodeInvalid, "by has control characters, or more than %d bytes", maxBy)
	}
	return nil
}

// recordPage is a part of the audit, newest first.
type recordPage struct {
	Commands  []ems.CommandRecord `json:"commands"`
	Next      string              `json:"next,omitempty"` // the after of the next page; missing on the last
	Forgotten int64               `json:"forgotten"`      // older ones that are not kept any more
}

// listCommands shows the commands that have ended: who asked for what, when, and
// how it ended.
func (s *Service) listCommands(c echo.Context) error {
	filter, err := s.commandFilter(c)
	if err != nil {
		return err
	}
	limit := defaultRecords
	if text := c.QueryParam("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxRecords {
			return ems.Errorf(ems.CodeInvalid, "limit %q is not a number from 1 to %d", text, maxRecords)
		}
	}
	ctx := c.Request().Context()
	page := recordPage{}
	if page.Commands, page.Next, err = s.db.CommandRecords(ctx, filter, c.QueryParam("after"), limit); err != nil {
		return err
	}
	if page.Commands == nil {
		page.Commands = []ems.CommandRecord{}
	}
	if page.Forgotten, err = s.db.CommandsForgotten(ctx, filter.Channels); err != nil {
		return err
	}
	return httpserver.OK(c, page)
}

func (s *Service) commandFilter(c echo.Context) (rtdb.CommandFilter, error) {
	filter := rtdb.CommandFilter{State: ems.CommandState(c.QueryParam("state")), Origin: c.QueryParam("origin"), Channels: slices.Clone(s.commands.roster.Load().ids)}
	if filter.State != "" && !filter.State.Final() {
		return filter, ems.Errorf(ems.CodeInvalid, "state %q: commands end as done, failed, expired or unknown", filter.State)
	}
	channelText, pointText := c.QueryParam("channel"), c.QueryParam("point")
	if channelText == "" && pointText != "" {
		return filter, ems.Errorf(ems.CodeInvalid, "point %q: name its channel too, for example channel=1005&point=A:3", pointText)
	}
	if channelText == "" {
		return filter, nil
	}
	channel, err := ems.ParseChannelID(channelText)
	if err != nil {
		return filter, err
	}
	if s.commands.roster.Load().byID[channel] == nil {
		return filter, ems.Errorf(ems.CodeNotFound, "there is no channel %d", channel)
	}
	filter.Channels = []ems.ChannelID{channel}
	if pointText != "" {
		target, err := ems.ParsePointRef("comsrv:" + channelText + ":" + pointText)
		if err != nil {
			return filter, ems.Errorf(ems.CodeInvalid, "point %q: write for example A:3", pointText)
		}
		filter.Target = &target
	}
	return filter, nil
}
