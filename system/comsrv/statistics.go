package comsrv

import (
	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/comsrv/protocol"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// statisticsView is how the polls of a channel went since comsrv began with it.
type statisticsView struct {
	Polls           map[string]uint64    `json:"polls"`       // by result: complete, partial or failed
	Poll            protocol.Histogram   `json:"poll"`        // of one group, without Redis
	Overruns        map[string]int64     `json:"overruns"`    // by poll group
	Points          uint64               `json:"points"`      // read
	PointsSent      uint64               `json:"points_sent"` // to Redis
	IngestFailures  uint64               `json:"ingest_failures"`
	CommandsRefused uint64               `json:"commands_refused"` // too many were waiting
	Exchanges       *protocol.Statistics `json:"exchanges,omitempty"`
}

// getStatistics shows what is counted for a channel.
func (s *Service) getStatistics(c echo.Context) error {
	channel, err := s.channel(c)
	if err != nil {
		return err
	}
	if !channel.Enabled {
		return channel.rests
	}
	counters := &channel.counters
	view := statisticsView{
		Polls: map[string]uint64{
			pollComplete: protocol.Number(counters.complete), pollPartial: protocol.Number(counters.partial), pollFailed: protocol.Number(counters.failed),
		},
		Poll: protocol.Summarize(counters.pollSeconds), Points: protocol.Number(counters.points),
		PointsSent: protocol.Number(counters.sent), IngestFailures: protocol.Number(counters.ingestFailures),
		CommandsRefused: protocol.Number(counters.queueFull), Overruns: map[string]int64{},
	}
	_, groups := channel.shown()
	for i := range groups {
		view.Overruns[groups[i].name] = groups[i].missed
	}
	if driver, can := channel.driver.(protocol.Measurable); can {
		exchanges := driver.Statistics()
		view.Exchanges = &exchanges
	}
	return httpserver.OK(c, view)
}
