package apigateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// Bounds and pace of the event streams.
const (
	maxClients      = 100
	clientBuffer    = 256              // events that wait for one client
	heartbeatPeriod = 15 * time.Second // so that proxies on the way keep a quiet stream open
	writeTimeout    = 10 * time.Second // for one event to a client that reads slowly
)

// hub hands every event to every client. It never waits: a client that is slow
// loses events and is told how many.
type hub struct {
	mu      sync.Mutex
	clients map[*client]struct{}
	dropped prometheus.Counter
}

type client struct {
	events  chan rtdb.Event
	dropped atomic.Int64 // since the client was last told
}

func newHub(registry *prometheus.Registry) *hub {
	h := &hub{
		clients: map[*client]struct{}{},
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "voltage_apigateway_events_dropped_total", Help: "Events that a client was too slow to take.",
		}),
	}
	registry.MustRegister(h.dropped, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "voltage_apigateway_event_clients", Help: "Clients that listen to the event stream.",
	}, func() float64 {
		h.mu.Lock()
		defer h.mu.Unlock()
		return float64(len(h.clients))
	}))
	return h
}

func (h *hub) publish(event rtdb.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for client := range h.clients {
		select {
		case client.events <- event:
		default:
			client.dropped.Add(1)
			h.dropped.Inc()
		}
	}
}

func (h *hub) join() (*client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.clients) == maxClients {
		return nil, ems.Errorf(ems.CodeUnavailable, "%d clients listen to the events already: close some, or try again later", maxClients)
	}
	joined := &client{events: make(chan rtdb.Event, clientBuffer)}
	h.clients[joined] = struct{}{}
	return joined, nil
}

func (h *hub) leave(left *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, left)
}

// streamEvents sends Server-Sent Events until the client leaves or the service
// stops: update, alarm and rule with the JSON that the library published, and
// dropped when the client was too slow.
func (s *Service) streamEvents(c echo.Context) error {
	client, err := s.hub.join()
	if err != nil {
		return err
	}
	defer s.hub.leave(client)
	header := c.Response().Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // nginx would hold events back
	stream := eventStream{to: c.Response(), control: http.NewResponseController(c.Response())}
	c.Response().WriteHeader(http.StatusOK)
	if stream.send("retry: 2000\n\n", true) != nil {
		return nil
	}
	heartbeat := s.clock.NewTimer(heartbeatPeriod)
	defer heartbeat.Stop()
	for {
		select {
		case <-c.Request().Context().Done():
			return nil
		case <-heartbeat.C():
			heartbeat.Reset(heartbeatPeriod)
			err = stream.send(": still here\n\n", true)
		case event := <-client.events:
			text := frame(event.Kind, event.Data)
			if dropped := client.dropped.Swap(0); dropped > 0 {
				text += frame("dropped", fmt.Sprintf(`{"count":%d}`, dropped))
			}
			err = stream.send(text, len(client.events) == 0)
		}
		if err != nil { // the client is gone, or does not read
			return nil
		}
	}
}

type eventStream struct {
	to      io.Writer
	control *http.ResponseController
}

func (s eventStream) send(text string, flush bool) error {
	if err := s.control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(s.to, text); err != nil || !flush {
		return err
	}
	return s.control.Flush()
}

// frame writes one event. A line break within the data begins a further data
// line, which the client joins again.
func frame(kind, data string) string {
	lines := strings.ReplaceAll(strings.ReplaceAll(data, "\r", ""), "\n", "\ndata: ")
	return "event: " + kind + "\ndata: " + lines + "\n\n"
}
