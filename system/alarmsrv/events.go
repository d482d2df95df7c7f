package alarmsrv

import (
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Pace of an event stream.
const (
	heartbeatPeriod = 15 * time.Second // so that proxies on the way keep a quiet stream open
	writeTimeout    = 10 * time.Second // for a part to a client that reads slowly
	retryPeriod     = "retry: 2000\n\n"
)

// streamEvents sends the entries of the journal as Server-Sent Events until the
// client leaves or the service stops: the event is "alarm", its id that of the
// entry. A client that comes back with Last-Event-ID gets all that it missed; when
// the journal no longer has all of that, the event "gap" says so first.
func (s *Service) streamEvents(c echo.Context) error {
	at, lost, err := s.startOf(c)
	if err != nil {
		return err
	}
	if err := s.feed.join(); err != nil {
		return err
	}
	defer s.feed.leave()
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	c.Response().WriteHeader(http.StatusOK)
	stream := eventStream{to: c.Response(), control: http.NewResponseController(c.Response())}
	first := retryPeriod
	if lost {
		first += "event: gap\ndata: {}\n\n"
	}
	if err = stream.send(first); err == nil {
		err = s.sendEvents(c, stream, at)
	}
	if err != nil && c.Request().Context().Err() == nil { // it does not read
		s.feed.slow.Inc()
	}
	return nil
}

// sendEvents sends what comes after an entry. Its error is that of a write.
func (s *Service) sendEvents(c echo.Context, stream eventStream, at string) error {
	ctx := c.Request().Context()
	heartbeat := s.clock.NewTimer(heartbeatPeriod)
	defer heartbeat.Stop()
	for {
		entries, grown, err := s.next(ctx, at)
		if err != nil {
			s.logger.Debug("a follower of the alarms is sent away", "error", err)
			return nil // it comes back and goes on where it was
		}
		if len(entries) > 0 {
			text, err := frames(entries)
			if err != nil {
				return err
			}
			if err := stream.send(text); err != nil {
				return err
			}
			at = entries[len(entries)-1].ID
			heartbeat.Reset(heartbeatPeriod)
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-grown:
		case <-heartbeat.C():
			heartbeat.Reset(heartbeatPeriod)
			if err := stream.send(": still here\n\n"); err != nil {
				return err
			}
		}
	}
}

// frames writes entries as events. JSON has no line breaks of its own.
func frames(entries []ems.JournalEntry) (string, error) {
	var text []byte
	for i := range entries {
		data, err := json.Marshal(entries[i])
		if err != nil {
			return "", err
		}
		text = append(text, "id: "+entries[i].ID+"\nevent: alarm\ndata: "...)
		text = append(append(text, data...), "\n\n"...)
	}
	return string(text), nil
}

type eventStream struct {
	to      io.Writer
	control *http.ResponseController
}

func (s eventStream) send(text string) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.to, text); err != nil {
		return err
	}
	return s.control.Flush()
}
