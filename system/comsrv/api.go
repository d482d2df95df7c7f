package comsrv

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// Bounds of a write over HTTP.
const (
	maxWaiting      = 8 // requests that wait for a command at once; each holds a connection to Redis
	longestDeadline = time.Minute
)

func (s *Service) addRoutes() {
	s.server.Echo.GET("/api/channels", s.listChannels)
	s.server.Echo.GET("/api/channels/:channel", s.getChannel)
	s.server.Echo.GET("/api/channels/:channel/points", s.listPoints)
	s.server.Echo.POST("/api/channels/:channel/points/:type/:point", s.writePoint)
	s.server.Echo.PUT("/api/channels/:channel/points/:type/:point", s.setPoint)
	s.server.Echo.GET("/api/channels/:channel/commands/:command", s.getCommand)
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
	Points       map[string]int `json:"points"` // how many, by type
}

func (c *channel) view() channelView {
	status, _ := c.shown()
	view := channelView{
		ID: c.ID, Name: c.Name, Description: c.Description, Protocol: c.Protocol, Address: c.Address, Enabled: c.Enabled,
		Online: status.Online, Reason: status.Reason, Errors: status.Errors, RoundTripMS: milliseconds(status.RoundTrip),
		LastSuccess:  unixMS(status.LastSuccess),
		PollPeriodMS: milliseconds(c.PollPeriod), TimeoutMS: milliseconds(c.Timeout), StaleAfterMS: milliseconds(status.StaleAfter),
		Points: map[string]int{},
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

func (s *Service) listChannels(c echo.Context) error {
	views := make([]channelView, len(s.channels))
	for i, channel := range s.channels {
		views[i] = channel.view()
	}
	return httpserver.OK(c, views)
}

func (s *Service) getChannel(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	return httpserver.OK(c, channel.view())
}

func (s *Service) channel(c echo.Context) (*channel, error) {
	id, err := ems.ParseChannelID(c.Param("channel"))
	if err != nil {
		return nil, err
	}
	channel := s.commands.channels[id]
	if channel == nil {
		return nil, ems.Errorf(ems.CodeNotFound, "there is no channel %d", id)
	}
	return channel, nil
}

// pointView is a point and its value as Redis holds it. Time is Unix ms; value
// and time are null if the point was never read.
type pointView struct {
	ID      ems.PointID   `json:"id"`
	Type    ems.PointType `json:"type"`
	Name    string        `json:"name"`
	Unit    string        `json:"unit"`
	Value   *float64      `json:"value"`
	Time    *int64        `json:"time"`
	Quality ems.Quality   `json:"quality"`
	Reason  string        `json:"reason,omitempty"` // why it is bad, where comsrv knows
}

func (s *Service) listPoints(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	kinds := ems.PointTypes[:]
	if text := c.QueryParam("type"); text != "" {
		kind, err := ems.ParsePointType(text)
		if err != nil {
			return err
		}
		kinds = []ems.PointType{kind}
	}
	views := []pointView{}
	for _, kind := range kinds {
		found, err := s.readPoints(c.Request().Context(), channel, kind)
		if err != nil {
			return err
		}
		views = append(views, found...)
	}
	return httpserver.OK(c, views)
}

func (s *Service) readPoints(ctx context.Context, channel *channel, kind ems.PointType) ([]pointView, error) {
	_, reasons := channel.shown()
	var ids []ems.PointID
	var views []pointView
	for i := range channel.Points {
		if point := &channel.Points[i]; point.Type == kind {
			ids = append(ids, point.ID)
			views = append(views, pointView{ID: point.ID, Type: kind, Name: point.Name, Unit: point.Unit, Reason: reasons[i]})
		}
	}
	values, err := s.db.ReadPoints(ctx, channel.ID, kind, ids)
	if err != nil {
		return nil, err
	}
	for i, value := range values {
		view := &views[i]
		view.Quality = value.Quality
		if value.Quality != ems.Bad {
			view.Reason = ""
		}
		if !value.Time.IsZero() {
			view.Value, view.Time = &value.Number, unixMS(value.Time)
		}
	}
	return views, nil
}

// writeRequest is the body of a write. DeadlineMS counts from now and may be left
// out.
type writeRequest struct {
	Value      *float64 `json:"value"`
	DeadlineMS *int64   `json:"deadline_ms"`
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
	if request.Value == nil {
		return ems.Errorf(ems.CodeInvalid, `the body has no value: send {"value": 12.5}`)
	}
	lifetime := ems.DefaultCommandLifetime
	if request.DeadlineMS != nil {
		lifetime = time.Duration(*request.DeadlineMS) * time.Millisecond
		if *request.DeadlineMS < 1 || *request.DeadlineMS > longestDeadline.Milliseconds() {
			return ems.Errorf(ems.CodeInvalid, "deadline_ms %d is not between 1 and %d", *request.DeadlineMS, longestDeadline.Milliseconds())
		}
	}
	now := s.clock.Now()
	command := ems.Command{
		ID: rand.Text(), Target: ems.PointRef{Channel: channel.ID, Type: kind, Point: point}, Value: *request.Value,
		Issued: now, Deadline: now.Add(lifetime), Origin: "api",
	}
	if _, _, err := s.commands.check(command); err != nil {
		return err
	}
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return ems.Errorf(ems.CodeUnavailable, "%d writes are waiting for their devices already, nothing was sent: try again", maxWaiting)
	}
	ctx := c.Request().Context()
	if err := s.db.SendCommand(ctx, command); err != nil {
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
