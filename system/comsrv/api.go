package comsrv

import (
	"cmp"
	"crypto/rand"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// Bounds of a write over HTTP.
const (
	maxWaiting      = 12 // requests that wait for a command at once; each holds a connection to Redis
	maxWaitingOfOne = 4  // of one channel: a device that hangs keeps off no other
	longestDeadline = time.Minute
	shortestHold    = 100 * time.Millisecond
)

func (s *Service) addRoutes() {
	s.server.Echo.GET("/api/channels", s.listChannels, httpserver.Parameters("limit", "after"))
	s.server.Echo.GET("/api/channels/:channel", s.getChannel, httpserver.Parameters())
	s.server.Echo.GET("/api/channels/:channel/points", s.listPoints, httpserver.Parameters("type", "quality", "name", "limit", "after"))
	s.server.Echo.POST("/api/channels/:channel/points/:type/:point", s.writePoint, httpserver.Parameters())
	s.server.Echo.PUT("/api/channels/:channel/points/:type/:point", s.setPoint, httpserver.Parameters())
	s.server.Echo.POST("/api/channels/:channel/points/:type/:point/select", s.selectPoint, httpserver.Parameters())
	s.server.Echo.DELETE("/api/channels/:channel/points/:type/:point/select/:token", s.cancelSelection, httpserver.Parameters())
	s.server.Echo.GET("/api/channels/:channel/commands/:command", s.getCommand, httpserver.Parameters())
	s.server.Echo.GET("/api/commands", s.listCommands, httpserver.Parameters("channel", "point", "state", "origin", "limit", "after"))
	s.addTraceRoutes()
	s.addRegisterRoutes()
	s.addTableRoutes()
	s.addSunSpecRoutes()
	s.server.Echo.GET("/api/channels/:channel/statistics", s.getStatistics, httpserver.Parameters())
	s.addChangeRoutes()
}

// channelView is a channel as the API shows it. Times are Unix ms.
type channelView struct {
	ID           ems.ChannelID  `json:"id"`
	Name         string         `json:"name"`
	Description  string         `json:"description"`
	Protocol     string         `json:"protocol"`
	Address      string         `json:"address"`
	Enabled      bool           `json:"enabled"`
	Online       bool           `json:"online"`
	Reason       string         `json:"reason"` // why it is not online
	Errors       int64          `json:"errors"` // failed polls since comsrv started
	RoundTripMS  float64        `json:"round_trip_ms"`
	LastSuccess  *int64         `json:"last_success"` // null if never
	PollPeriodMS float64        `json:"poll_period_ms"`
	TimeoutMS    float64        `json:"timeout_ms"`
	StaleAfterMS float64        `json:"stale_after_ms"`
	Points       map[string]int `json:"points"`             // how many, by type
	Origin       string         `json:"origin"`             // site or api: who made it
	Switched     bool           `json:"switched,omitempty"` // it is enabled, or not, because somebody said so by hand
	Aside        bool           `json:"aside,omitempty"`    // one of this id that was made through the API waits until channels.yaml no longer names it
	PollGroups   []groupView    `json:"poll_groups"`
}

func (c *channel) view() channelView {
	status, groups := c.shown()
	view := channelView{
		ID: c.ID, Name: c.Name, Description: c.Description, Protocol: c.Protocol, Address: c.Address, Enabled: c.Enabled,
		Online: status.Online, Reason: status.Reason, Errors: status.Errors, RoundTripMS: milliseconds(status.RoundTrip),
		LastSuccess:  unixMS(status.LastSuccess),
		PollPeriodMS: milliseconds(c.PollPeriod), TimeoutMS: milliseconds(c.Timeout), StaleAfterMS: milliseconds(status.StaleAfter),
		Points: map[string]int{}, PollGroups: c.groupViews(groups),
	}
	for _, kind := range ems.PointTypes {
		view.Points[kind.String()] = 0
	}
	for i := range c.Points {
		view.Points[c.Points[i].Type.String()]++
	}
	return view
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func unixMS(at time.Time) *int64 {
	if at.IsZero() {
		return nil
	}
	ms := at.UnixMilli()
	return &ms
}

// listChannels replies with all channels in the order of the site or, where ?limit=
// or ?after= ask for a page, with those after an id in the order of their ids.
func (s *Service) listChannels(c echo.Context) error {
	roster := s.commands.roster.Load()
	listed, next := roster.channels, ""
	if c.QueryParams().Has("limit") || c.QueryParams().Has("after") {
		var err error
		if listed, next, err = pageOfChannels(c, listed); err != nil {
			return err
		}
	}
	views := make([]channelView, len(listed))
	for i, channel := range listed {
		views[i] = roster.view(channel)
	}
	return httpserver.OKPage(c, views, next)
}

func pageOfChannels(c echo.Context, channels []*channel) (listed []*channel, next string, err error) {
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return nil, "", err
	}
	var last ems.ChannelID
	if after != "" {
		if last, err = ems.ParseChannelID(after); err != nil {
			return nil, "", err
		}
	}
	for _, channel := range channels {
		if channel.ID > last {
			listed = append(listed, channel)
		}
	}
	slices.SortFunc(listed, func(a, b *channel) int { return cmp.Compare(a.ID, b.ID) })
	if len(listed) > limit {
		listed = listed[:limit]
		next = strconv.FormatUint(uint64(listed[limit-1].ID), 10)
	}
	return listed, next, nil
}

func (s *Service) getChannel(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	return httpserver.OK(c, s.commands.roster.Load().view(channel))
}

func (s *Service) channel(c echo.Context) (*channel, error) {
	id, err := ems.ParseChannelID(c.Param("channel"))
	if err != nil {
		return nil, err
	}
	channel := s.commands.roster.Load().byID[id]
	if channel == nil {
		return nil, ems.Errorf(ems.CodeNotFound, "there is no channel %d", id)
	}
	return channel, nil
}

// writeRequest is the body of a write. All but the value may be left out.
type writeRequest struct {
	Value      *float64 `json:"value"`
	DeadlineMS *int64   `json:"deadline_ms"` // from now
	HoldMS     *int64   `json:"hold_ms"`     // then the safe value is written, unless another command comes before
	By         string   `json:"by"`          // who asks, for the audit
	Selection  string   `json:"selection"`   // the token of a point that must be selected
}

// command makes a command of it.
func (r *writeRequest) command(target ems.PointRef, now time.Time) (ems.Command, error) {
	command := ems.Command{ID: rand.Text(), Target: target, Issued: now, Deadline: now.Add(ems.DefaultCommandLifetime), Origin: "api"}
	if r.Value == nil {
		return command, ems.Errorf(ems.CodeInvalid, `the body has no value: send {"value": 12.5}`)
	}
	command.Value = *r.Value
	for _, length := range []struct {
		name        string
		ms          *int64
		least, most time.Duration
		set         func(time.Duration)
	}{
		{"deadline_ms", r.DeadlineMS, time.Millisecond, longestDeadline, func(d time.Duration) { command.Deadline = now.Add(d) }},
		{"hold_ms", r.HoldMS, shortestHold, ems.LongestHold, func(d time.Duration) { command.Hold = d }},
	} {
		if length.ms == nil {
			continue
		}
		if *length.ms < length.least.Milliseconds() || *length.ms > length.most.Milliseconds() {
			return command, ems.Errorf(ems.CodeInvalid, "%s %d is not between %d and %d", length.name, *length.ms, length.least.Milliseconds(), length.most.Milliseconds())
		}
		length.set(time.Duration(*length.ms) * time.Millisecond)
	}
	if r.By != "" {
		command.Origin += ":" + r.By
	}
	return command, checkBy(r.By)
}

// writePoint sends a command through the stream, as every other caller does, and
// waits for its end.
func (s *Service) writePoint(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	kind, err := ems.ParsePointType(c.Param("type"))
	if err != nil {
		return err
	}
	point, err := ems.ParsePointID(c.Param("point"))
	if err != nil {
		return err
	}
	var request writeRequest
	if err := httpserver.Body(c, &request); err != nil {
		return err
	}
	command, err := request.command(ems.PointRef{Channel: channel.ID, Type: kind, Point: point}, s.clock.Now())
	if err != nil {
		return err
	}
	_, index, err := s.commands.check(command)
	if err != nil {
		return err
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return ems.Errorf(ems.CodeUnavailable, "%d writes are waiting for their devices already, nothing was sent: try again", maxWaiting)
	}
	defer channel.leave.callers.Add(-1)
	if channel.leave.callers.Add(1) > maxWaitingOfOne {
		return ems.Errorf(ems.CodeUnavailable, "%d writes are waiting for channel %d already, nothing was sent: try again", maxWaitingOfOne, channel.ID)
	}
	if channel.Points[index].SelectTimeout > 0 || request.Selection != "" {
		if err := s.commands.selections.use(command.Target, request.Selection, command.ID, s.clock.Now()); err != nil {
			return err
		}
		defer s.commands.selections.forget(command)
	}
	ctx := c.Request().Context()
	if err := s.commands.send(ctx, command); err != nil {
		return err
	}
	result, err := s.db.SettleCommand(ctx, command)
	if err != nil {
		return err
	}
	return httpserver.OK(c, result)
}

// getCommand tells how far a command has come.
func (s *Service) getCommand(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	result, err := s.db.Command(c.Request().Context(), channel.ID, c.Param("command"))
	if err != nil {
		return err
	}
	return httpserver.OK(c, result)
}
