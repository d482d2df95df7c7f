package comsrv

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// writeRegisters writes registers or coils once, with the priority of commands,
// and tells how it ended as they do. It is noted before anything is sent.
func (s *Service) writeRegisters(c echo.Context) error {
	channel, driver, err := s.addressable(c)
	if err != nil {
		return err
	}
	var request struct {
		rangeRequest
		Values []uint16 `json:"values"`
		By     string   `json:"by"`
	}
	if err := httpserver.Body(c, &request); err != nil {
		return err
	}
	if request.Values == nil {
		return ems.Errorf(ems.CodeInvalid, "values are needed: what to write")
	}
	place, err := request.place(lastRead+1, math.MaxUint8, len(request.Values))
	if err != nil {
		return err
	}
	if err := s.checkWrite(channel, place, request.Values); err != nil {
		return err
	}
	if err := checkBy(request.By); err != nil {
		return err
	}
	now := s.clock.Now()
	deadline, err := request.deadline(now)
	if err != nil {
		return err
	}
	write := ems.RegisterWrite{
		ID: rand.Text(), State: ems.CommandExecuting, Unit: place.Unit, Function: place.Function, Address: place.Address,
		Values: request.Values, Origin: "api", Time: now,
	}
	if request.By != "" {
		write.Origin += ":" + request.By
	}
	ctx := c.Request().Context()
	if err := s.note(ctx, channel, write); err != nil {
		return err
	}
	write.State, write.Reason = channel.writeRange(ctx, driver, place, request.Values, deadline)
	write.Time = s.clock.Now()
	if err := s.note(ctx, channel, write); err != nil {
		s.logger.Error("how a register write ended cannot be stored", "channel", channel.ID, "write", write.ID, "state", write.State, "error", err)
	}
	if err := ended(channel.ID, &write); err != nil {
		return err
	}
	return httpserver.OK(c, write)
}

// ended returns nil for a write that was done, and else what a command that ends so
// answers.
func ended(channel ems.ChannelID, write *ems.RegisterWrite) error {
	code, message := ems.CodeUnknown, "whether the device has executed the write is unknown: "
	switch write.State {
	case ems.CommandDone:
		return nil
	case ems.CommandFailed:
		code, message = ems.CodeConflict, "the write failed: "
	case ems.CommandExpired:
		code, message = ems.CodeExpired, "the write expired: "
	}
	return &ems.Error{Code: code, Message: message + write.Reason, Details: []string{
		"write " + write.ID, fmt.Sprintf("ask GET /api/channels/%d/registers/writes", channel),
	}}
}

// note keeps a register write for the audit, whoever has left meanwhile.
func (s *Service) note(ctx context.Context, channel *channel, write ems.RegisterWrite) error {
	s.logger.Info("register write", "channel", channel.ID, "write", write.ID, "state", write.State, "unit", write.Unit, "function", write.Function,
		"address", write.Address, "values", write.Values, "origin", write.Origin, "reason", write.Reason)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTimeout)
	defer cancel()
	return s.db.NoteRegisterWrite(ctx, channel.ID, write)
}

// writeRange writes on the goroutine of the channel, at most once.
func (c *channel) writeRange(
	ctx context.Context, driver protocol.Addressable, place protocol.Range, values []uint16, deadline time.Time,
) (state ems.CommandState, reason string) {
	before := func() error {
		if c.clock.Now().After(deadline) {
			return errDeadline
		}
		return nil
	}
	var failure error
	err := c.perform(ctx, deadline, func(ctx context.Context) {
		writing, cancel := outlasting(ctx, writeGrace)
		defer cancel()
		failure = driver.WriteRange(writing, place, values, before)
	})
	switch {
	case ems.CodeOf(err) == ems.CodeExpired && err != nil:
		return ems.CommandExpired, err.Error()
	case err != nil:
		return ems.CommandFailed, err.Error()
	case failure != nil:
		return failedState(failure), clip(failure.Error())
	default:
		return ems.CommandDone, ""
	}
}

// checkWrite refuses what no register or coil holds, and what a point writes: its
// limits, its interlocks and its heartbeat are there to be kept. The points of
// every channel of the device count.
func (s *Service) checkWrite(channel *channel, place protocol.Range, values []uint16) error {
	target := config.Mapping{Unit: place.Unit, Function: place.Function, Address: place.Address}
	for i, value := range values {
		if target.IsCoil() && value > 1 {
			return ems.Errorf(ems.CodeInvalid, "values[%d]: %d is neither 0 nor 1, and a coil is a single bit", i, value)
		}
	}
	for _, other := range s.commands.roster.Load().channels {
		if !other.SameDevice(&channel.Channel) {
			continue
		}
		for i := range other.Points {
			point := &other.Points[i]
			unit := point.Mapping.Unit
			meets := unit == place.Unit || config.Broadcasts(channel.Protocol, unit) || config.Broadcasts(channel.Protocol, place.Unit)
			if point.Type.Writable() && meets && point.Mapping.IsCoil() == target.IsCoil() &&
				int(point.Mapping.Address) < int(place.Address)+place.Count && int(place.Address) < point.Mapping.End() {
				return ems.Errorf(ems.CodeConflict, "%s of channel %d (%s:%d) is written there: use a command, which keeps its limits and interlocks",
					point.Name, other.ID, point.Type, point.ID)
			}
		}
	}
	return nil
}

// listRegisterWrites shows who wrote to registers without a point, newest first:
// each write as it was about to be sent, and as it ended.
func (s *Service) listRegisterWrites(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	after, limit, err := httpserver.Page(c)
	if err != nil {
		return err
	}
	writes, next, err := s.db.RegisterWrites(c.Request().Context(), channel.ID, after, limit)
	if err != nil {
		return err
	}
	if writes == nil {
		writes = []ems.RegisterWrite{}
	}
	return httpserver.OKPage(c, writes, next)
}
