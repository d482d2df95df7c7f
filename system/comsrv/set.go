package comsrv

import (
	"context"
	"math"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// setting is a value for a point that no device measures.
type setting struct {
	point int // index
	value float64
	ended chan error // takes one error without anybody waiting
}

// Bounds of settings.
const (
	maxSettings = 32              // that wait for one channel
	setTimeout  = 5 * time.Second // for a poll under way, and for telling Redis
)

// set gives a point a value and tells Redis. It is called by any goroutine.
func (c *channel) set(ctx context.Context, point int, value float64) error {
	at := &c.Points[point]
	_, settable := c.driver.(protocol.Settable)
	switch {
	case !c.Enabled:
		return c.rests
	case !settable:
		return ems.Errorf(ems.CodeConflict, "the points of channel %d come from its device: only those of a virtual channel can be set", c.ID)
	case at.Type.Writable():
		return ems.Errorf(ems.CodeConflict, "%s is written by a command: use POST in place of PUT", at.Name)
	case math.IsNaN(value) || math.IsInf(value, 0):
		return ems.Errorf(ems.CodeInvalid, "%v is not a finite number", value)
	}
	if err := at.CheckRange(value); err != nil {
		return err
	}
	wanted := setting{point: point, value: value, ended: make(chan error, 1)}
	if err := c.offerSetting(wanted); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, setTimeout)
	defer cancel()
	select {
	case err := <-wanted.ended:
		return err
	case <-ctx.Done():
		return ems.Errorf(ems.CodeUnavailable, "the channel does not take it within %v, and may do so later", setTimeout)
	}
}

// apply sets a value on the goroutine of the channel.
func (c *channel) apply(ctx context.Context, wanted setting) {
	raw := c.Points[wanted.point].ToRaw(wanted.value)
	err := c.driver.(protocol.Settable).SetPoint(wanted.point, raw)
	if err == nil {
		c.publisher.publishPoint(ctx, wanted.point, raw)
		c.show()
	}
	wanted.ended <- err
}

// setPoint takes a value for a telemetry or signal of a virtual channel.
func (s *Service) setPoint(c echo.Context) error {
	channel, point, err := s.point(c)
	if err != nil {
		return err
	}
	var request struct {
		Value *float64 `json:"value"`
	}
	if err := httpserver.Body(c, &request); err != nil {
		return err
	}
	if request.Value == nil {
		return ems.Errorf(ems.CodeInvalid, `the body has no value: send {"value": 12.5}`)
	}
	if err := channel.set(c.Request().Context(), point, *request.Value); err != nil {
		return err
	}
	at, now := &channel.Points[point], s.clock.Now()
	return httpserver.OK(c, pointView{
		ID: at.ID, Type: at.Type, Name: at.Name, Unit: at.Unit, Value: request.Value, Time: unixMS(now), Quality: ems.Good,
	})
}

// point finds the channel and the point that the path of a request names.
func (s *Service) point(c echo.Context) (*channel, int, error) {
	channel, err := s.channel(c)
	if err != nil {
		return nil, 0, err
	}
	kind, err := ems.ParsePointType(c.Param("type"))
	if err != nil {
		return nil, 0, err
	}
	id, err := ems.ParsePointID(c.Param("point"))
	if err != nil {
		return nil, 0, err
	}
	for i := range channel.Points {
		if point := &channel.Points[i]; point.Type == kind && point.ID == id {
			return channel, i, nil
		}
	}
	return nil, 0, ems.Errorf(ems.CodeNotFound, "channel %d has no point %s:%d", channel.ID, kind, id)
}
