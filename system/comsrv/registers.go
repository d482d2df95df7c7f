package comsrv

import (
	"context"
	"encoding/hex"
	"math"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// maxTasks bounds what people wait for of one channel beside commands.
const maxTasks = 8

// mostOf is how much one request of each function may carry, as the protocol has
// it.
var mostOf = map[uint8]int{1: 2000, 2: 2000, 3: 125, 4: 125, 5: 1, 6: 1, 15: 1968, 16: 123}

const lastRead = 4 // the functions after it write

func (s *Service) addRegisterRoutes() {
	const path = "/api/channels/:channel/registers/"
	s.server.Echo.POST(path+"read", s.readRegisters, httpserver.Parameters())
	s.server.Echo.POST(path+"write", s.writeRegisters, httpserver.Parameters())
	s.server.Echo.GET(path+"writes", s.listRegisterWrites, httpserver.Parameters("limit", "after"))
}

// rangeRequest names registers or coils. All but the deadline is needed.
type rangeRequest struct {
	Unit       *uint8  `json:"unit"`
	Function   uint8   `json:"function"`
	Address    *uint16 `json:"address"`
	DeadlineMS *int64  `json:"deadline_ms"` // from now
}

// place makes sure that the request can be sent by one frame of one of the
// functions from first to last.
func (r *rangeRequest) place(first, last uint8, count int) (protocol.Range, error) {
	place := protocol.Range{Function: r.Function, Count: count}
	switch {
	case r.Unit == nil || r.Address == nil:
		return place, ems.Errorf(ems.CodeInvalid, "unit, function and address are needed: for example 1, 3 and 0")
	case r.Function < first || r.Function > last || mostOf[r.Function] == 0:
		if last == lastRead {
			return place, ems.Errorf(ems.CodeInvalid, "function %d does not read: use 1 (coils), 2 (discrete inputs), 3 (holding registers) or 4 (input registers)", r.Function)
		}
		return place, ems.Errorf(ems.CodeInvalid, "function %d does not write: use 5 or 15 (coils), 6 or 16 (holding registers)", r.Function)
	case count < 1 || count > mostOf[r.Function]:
		return place, ems.Errorf(ems.CodeInvalid, "%d is not from 1 to %d, which is what one request of function %d may carry", count, mostOf[r.Function], r.Function)
	case int(*r.Address)+count > math.MaxUint16+1:
		return place, ems.Errorf(ems.CodeInvalid, "%d from address %d on would run past address 65535", count, *r.Address)
	}
	place.Unit, place.Address = *r.Unit, *r.Address
	return place, nil
}

// deadline returns until when it may be sent.
func (r *rangeRequest) deadline(now time.Time) (time.Time, error) {
	if r.DeadlineMS == nil {
		return now.Add(ems.DefaultCommandLifetime), nil
	}
	if *r.DeadlineMS < 1 || *r.DeadlineMS > longestDeadline.Milliseconds() {
		return now, ems.Errorf(ems.CodeInvalid, "deadline_ms %d is not between 1 and %d", *r.DeadlineMS, longestDeadline.Milliseconds())
	}
	return now.Add(time.Duration(*r.DeadlineMS) * time.Millisecond), nil
}

// rangeView is what a device holds in registers, or in coils.
type rangeView struct {
	Unit      uint8            `json:"unit"`
	Function  uint8            `json:"function"`
	Address   uint16           `json:"address"`
	Count     int              `json:"count"`
	Hex       string           `json:"hex,omitempty"` // registers as they travelled
	Registers []modbus.Reading `json:"registers,omitempty"`
	Bits      []uint16         `json:"bits,omitempty"`
}

// readRegisters reads registers or coils once.
func (s *Service) readRegisters(c echo.Context) error {
	channel, driver, err := s.addressable(c)
	if err != nil {
		return err
	}
	var request struct {
		rangeRequest
		Count *int `json:"count"`
	}
	if err := httpserver.Body(c, &request); err != nil {
		return err
	}
	if request.Count == nil {
		return ems.Errorf(ems.CodeInvalid, "count is needed: how many registers or coils to read")
	}
	place, err := request.place(1, lastRead, *request.Count)
	if err != nil {
		return err
	}
	if err := s.checkRead(&channel.Channel, place); err != nil {
		return err
	}
	deadline, err := request.deadline(s.clock.Now())
	if err != nil {
		return err
	}
	var values []uint16
	var failure error
	err = channel.perform(c.Request().Context(), deadline, func(ctx context.Context) { values, failure = driver.ReadRange(ctx, place) })
	switch {
	case err != nil:
		return err
	case ems.CodeOf(failure) == ems.CodeConflict: // what the device answered
		return failure
	case failure != nil:
		return ems.Errorf(ems.CodeUnavailable, "%w", failure)
	}
	view := rangeView{Unit: place.Unit, Function: place.Function, Address: place.Address, Count: place.Count}
	if place.Function <= 2 {
		view.Bits = values
	} else {
		view.Hex, view.Registers = hexOf(values), modbus.Interpret(place.Address, values)
	}
	return httpserver.OK(c, view)
}

// hexOf writes registers as they travel.
func hexOf(registers []uint16) string {
	wire := make([]byte, 0, 2*len(registers))
	for _, word := range registers {
		wire = append(wire, byte(word>>8), byte(word))
	}
	return hex.EncodeToString(wire)
}

// addressable returns the channel that the path names, and its driver if that has
// registers.
func (s *Service) addressable(c echo.Context) (*channel, protocol.Addressable, error) {
	channel, err := s.channel(c)
	if err != nil {
		return nil, nil, err
	}
	if !channel.Enabled {
		return nil, nil, channel.rests
	}
	driver, can := channel.driver.(protocol.Addressable)
	if !can {
		return nil, nil, ems.Errorf(ems.CodeConflict, "channel %d has protocol %s, which has no registers", channel.ID, channel.Protocol)
	}
	return channel, driver, nil
}

// checkRead refuses what must not be read: of what every channel of the device
// forbids.
func (s *Service) checkRead(asked *config.Channel, place protocol.Range) error {
	if config.Broadcasts(asked.Protocol, place.Unit) {
		return ems.Errorf(ems.CodeInvalid, "unit 0 is every unit of the line, and none of them answers: name one")
	}
	for _, other := range s.commands.roster.Load().channels {
		if other.SameDevice(asked) && other.Modbus.Reads.Forbids(place.Unit, place.Function, int(place.Address), int(place.Address)+place.Count) {
			return ems.Errorf(ems.CodeConflict, "channel %d forbids to read from there: leave its ranges (modbus.forbidden) out", other.ID)
		}
	}
	return nil
}

// perform lets the goroutine of the channel do something between two exchanges,
// and waits for its end. After the deadline it is not begun any more.
func (c *channel) perform(ctx context.Context, deadline time.Time, do func(ctx context.Context)) error {
	var begun atomic.Bool
	ended := make(chan struct{})
	task := func(ctx context.Context) {
		if !begun.CompareAndSwap(false, true) {
			return
		}
		defer close(ended)
		// Beside the deadline there is time to connect and for the exchange itself.
		bounded, cancel := context.WithTimeout(ctx, deadline.Sub(c.clock.Now())+2*c.Timeout)
		defer cancel()
		do(bounded)
	}
	if err := c.offerTask(task); err != nil {
		return err
	}
	timer := c.clock.NewTimer(deadline.Sub(c.clock.Now()))
	defer timer.Stop()
	late := ems.Errorf(ems.CodeExpired, "the channel was busy until the deadline, nothing was sent")
	select {
	case <-ended:
		return nil
	case <-c.leave.quit:
		late = c.refusal()
	case <-ctx.Done():
		late = ems.Errorf(ems.CodeConflict, "whoever asked did not wait for it, nothing was sent")
	case <-timer.C():
	}
	if begun.CompareAndSwap(false, true) {
		return late
	}
	<-ended
	return nil
}

// offerTask queues a task for the goroutine of the channel.
func (c *channel) offerTask(task func(context.Context)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.refused(); err != nil {
		return err
	}
	select {
	case c.tasks <- task:
		return nil
	default:
		return ems.Errorf(ems.CodeFull, "%d requests are waiting for channel %d already, nothing was sent: try again", maxTasks, c.ID)
	}
}
