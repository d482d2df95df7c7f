package comsrv

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/comsrv/protocol/modbus/sunspec"
	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// Bounds of a scan over HTTP.
const (
	longestScan     = time.Minute // of all units together
	maxScanUnits    = 32
	scanTimeout     = time.Second // for one request, by default
	longestScanWait = 10 * time.Second
)

func (s *Service) addSunSpecRoutes() {
	s.server.Echo.POST("/api/channels/:channel/sunspec/scan", s.scanChannel, httpserver.Parameters())
	s.server.Echo.POST("/api/sunspec/scan", s.scanAddress, httpserver.Parameters())
}

// scanRequest is the body of a scan. The address and its timeout are those of the
// channel, if the path names one.
type scanRequest struct {
	Address   string  `json:"address"`
	TimeoutMS int64   `json:"timeout_ms"`
	Units     []uint8 `json:"units"`
	Absent    bool    `json:"all"` // propose what the device does not have at the moment too
}

// scanned is a unit that was looked at: what it is, or why that is not known.
type scanned struct {
	Unit   uint8           `json:"unit"`
	Device *sunspec.Device `json:"device,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// scanView is the answer to a scan.
type scanView struct {
	Units []scanned `json:"units"`
	*sunspec.Proposal
	// Document is a channel as it could be made of it, for POST /api/channels; null
	// where no device was found.
	Document map[string]any `json:"document"`
}

func (r *scanRequest) check() error {
	if len(r.Units) == 0 {
		r.Units = []uint8{1}
	}
	slices.Sort(r.Units)
	r.Units = slices.Compact(r.Units)
	if len(r.Units) > maxScanUnits {
		return ems.Errorf(ems.CodeInvalid, "%d units are more than the %d of one scan", len(r.Units), maxScanUnits)
	}
	return nil
}

// scanChannel looks for SunSpec devices behind a channel, by requests between its
// polls.
func (s *Service) scanChannel(c echo.Context) error {
	channel, driver, err := s.addressable(c)
	if err != nil {
		return err
	}
	var request scanRequest
	if err := scanBody(c, &request); err != nil {
		return err
	}
	if request.Address != "" || request.TimeoutMS != 0 {
		return ems.Errorf(ems.CodeInvalid, "the channel has an address and a timeout already: use /api/sunspec/scan for another")
	}
	for _, unit := range request.Units {
		if err := s.checkRead(&channel.Channel, protocol.Range{Unit: unit, Function: 3}); err != nil {
			return err
		}
	}
	return s.scan(c, &request, &channel.Channel, func(ctx context.Context, place protocol.Range) (values []uint16, failure error) {
		if err := s.checkRead(&channel.Channel, place); err != nil {
			return nil, err
		}
		deadline, _ := ctx.Deadline()
		if err := channel.perform(ctx, deadline, func(ctx context.Context) { values, failure = driver.ReadRange(ctx, place) }); err != nil {
			return nil, err
		}
		return values, failure
	})
}

// scanAddress looks for SunSpec devices behind an address, on the connection that
// channels of this address share.
func (s *Service) scanAddress(c echo.Context) error {
	var request scanRequest
	if err := scanBody(c, &request); err != nil {
		return err
	}
	if err := config.CheckDevice(config.ProtocolModbusTCP, request.Address); err != nil {
		return ems.Errorf(ems.CodeInvalid, "address: %v", err)
	}
	timeout := time.Duration(request.TimeoutMS) * time.Millisecond
	if timeout == 0 {
		timeout = scanTimeout
	}
	if timeout < time.Millisecond || timeout > longestScanWait {
		return ems.Errorf(ems.CodeInvalid, "timeout_ms %d is not between 1 and %d", request.TimeoutMS, longestScanWait.Milliseconds())
	}
	entry, err := s.entryAt(request.Address)
	if err != nil {
		return err
	}
	entry.Timeout, entry.PollPeriod = timeout, timeout
	select {
	case s.scanning <- struct{}{}:
		defer func() { <-s.scanning }()
	default:
		return ems.Errorf(ems.CodeUnavailable, "another address is being scanned: try again when that has ended")
	}
	driver, err := s.links.New(protocol.Setting{Channel: entry, Clock: s.clock, Logger: s.logger})
	if err != nil {
		return err
	}
	defer s.links.Forget(entry.ID)
	defer driver.Close()
	entry.Timeout = 0 // not of the channel that is proposed
	return s.scan(c, &request, &entry, func(ctx context.Context, place protocol.Range) ([]uint16, error) {
		if err := s.checkRead(&entry, place); err != nil {
			return nil, err
		}
		return driver.(protocol.Addressable).ReadRange(ctx, place)
	})
}

// entryAt returns a channel of an address with what the channels there say of the
// device: what must not be read, and the spacing, with which it shares their connection.
func (s *Service) entryAt(address string) (config.Channel, error) {
	entry := config.Channel{Protocol: config.ProtocolModbusTCP, Address: address}
	entry.Modbus.Reads = config.Reads{}.OrDefault()
	var like *config.Channel
	for _, there := range s.commands.roster.Load().channels {
		if !there.SameDevice(&entry) {
			continue
		}
		reads := there.Modbus.Reads.OrDefault()
		for _, one := range reads.Forbidden {
			if !slices.Contains(entry.Modbus.Reads.Forbidden, one) {
				entry.Modbus.Reads.Forbidden = append(entry.Modbus.Reads.Forbidden, one)
			}
		}
		entry.Modbus.Reads.MaxRegisters = min(entry.Modbus.Reads.MaxRegisters, reads.MaxRegisters)
		switch {
		case there.Enabled && there.Protocol != entry.Protocol:
			return entry, ems.Errorf(ems.CodeConflict, "channel %d talks to this address by %s: scan by POST /api/channels/%d/sunspec/scan, or disable it", there.ID, there.Protocol, there.ID)
		case like == nil || there.Enabled && !like.Enabled:
			like = &there.Channel
		case there.Enabled && there.Modbus.Spacing != like.Modbus.Spacing:
			return entry, ems.Errorf(ems.CodeConflict, "channels %d and %d have this address with different spacing: scan by POST /api/channels/%d/sunspec/scan", like.ID, there.ID, like.ID)
		}
	}
	if like != nil {
		entry.Modbus.Spacing = like.Modbus.Spacing
	}
	return entry, nil
}

// scanBody reads the body of a scan, which may be missing.
func scanBody(c echo.Context, request *scanRequest) error {
	if c.Request().ContentLength != 0 {
		if err := httpserver.Body(c, request); err != nil {
			return err
		}
	}
	return request.check()
}

// scan looks at every unit and replies with a channel for those that were found.
func (s *Service) scan(
	c echo.Context, request *scanRequest, entry *config.Channel, read func(context.Context, protocol.Range) ([]uint16, error),
) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), longestScan)
	defer cancel()
	view := scanView{Proposal: &sunspec.Proposal{Scales: []sunspec.Scale{}, Absent: []string{}}}
	var devices []*sunspec.Device
	for _, unit := range request.Units {
		device, err := sunspec.Scan(func(address uint16, count int) ([]uint16, error) {
			return read(ctx, protocol.Range{Unit: unit, Function: 3, Address: address, Count: count})
		}, max(2, entry.Modbus.Reads.OrDefault().MaxRegisters))
		one := scanned{Unit: unit, Device: device}
		if err != nil {
			one.Reason = err.Error()
		}
		view.Units = append(view.Units, one)
		if device == nil {
			continue
		}
		prefix := ""
		if len(request.Units) > 1 {
			prefix = fmt.Sprintf("u%d_", unit)
		}
		view.Propose(device, unit, prefix, request.Absent)
		devices = append(devices, device)
	}
	if len(view.Points) > 0 {
		document, err := s.document(entry, devices, view.Points)
		if err != nil {
			return err
		}
		view.Document = document
	}
	return httpserver.OK(c, view)
}

// document returns a channel with these points, the next one of the site.
func (s *Service) document(entry *config.Channel, devices []*sunspec.Device, points []config.MappedPoint) (map[string]any, error) {
	id := ems.ChannelID(1)
	for _, known := range s.commands.roster.Load().ids {
		id = max(id, known+1)
	}
	proposed := *entry
	proposed.ID, proposed.Points, proposed.Modbus = id, points, config.Modbus{Reads: config.Reads{}.OrDefault()}
	proposed.Modbus.Reads.Forbidden = entry.Modbus.Reads.Forbidden
	tables := proposed.Tables()
	if err := proposed.ParsePoints(tables); err != nil {
		return nil, ems.Errorf(ems.CodeInternal, "what is proposed cannot be used: %w", err)
	}
	first := devices[0]
	document := map[string]any{
		"id": id, "name": cmp.Or(strings.TrimSpace(first.Manufacturer+" "+first.Model), "SunSpec device"), "protocol": entry.Protocol, "address": entry.Address,
		"description": fmt.Sprintf("serial number %s, version %s", first.Serial, first.Version), "points": tables,
	}
	if entry.Timeout > 0 {
		document["timeout"], document["poll_period"] = entry.Timeout.String(), entry.PollPeriod.String()
	}
	if line := entry.Serial; entry.Protocol == config.ProtocolModbusRTU {
		document["serial"] = map[string]any{"baud_rate": line.BaudRate, "parity": line.Parity, "stop_bits": line.StopBits}
	}
	settings := map[string]any{}
	if spacing := entry.Modbus.Spacing; spacing > 0 { // else it would not share the connection
		settings["spacing"] = spacing.String()
	}
	if forbidden := entry.Modbus.Reads.Forbidden; len(forbidden) > 0 {
		settings["forbidden"] = forbiddenTexts(forbidden)
	}
	if len(settings) > 0 {
		document["modbus"] = settings
	}
	return document, nil
}

// forbiddenTexts writes ranges as a document has them.
func forbiddenTexts(ranges []config.ForbiddenRange) (list []map[string]any) {
	for _, one := range ranges {
		text := map[string]any{"first": one.First, "last": one.Last}
		if one.Unit >= 0 {
			text["unit"] = one.Unit
		}
		if one.Function > 0 {
			text["function"] = one.Function
		}
		list = append(list, text)
	}
	return list
}
