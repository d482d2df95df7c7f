package control

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// events answers with the events after a number, or streams them from there on to who
// accepts text/event-stream. A stream that does not say begins with the next event.
func (a *api) events(c echo.Context) error {
	if err := query(c, "after"); err != nil {
		return err
	}
	stream := strings.Contains(c.Request().Header.Get(echo.HeaderAccept), "text/event-stream")
	text := c.QueryParam("after")
	if again := c.Request().Header.Get("Last-Event-ID"); stream && again != "" {
		text = again
	}
	after, err := uint64(0), error(nil)
	if text != "" {
		if after, err = strconv.ParseUint(text, 10, 64); err != nil {
			return ems.Errorf(ems.CodeInvalid, "after cannot be %q: use the number of an event", text)
		}
	}
	if stream {
		if last := a.plant.Events().Last(); text == "" {
			after = last
		} else if after > last { // the number of an event of a run before this one
			after = 0
		}
		return a.stream(c, after)
	}
	events, lost, _ := a.plant.Events().After(after)
	if events == nil {
		events = []plant.Event{}
	}
	return succeed(c, map[string]any{"events": events, "forgotten": lost})
}

func (a *api) stream(c echo.Context, after uint64) error {
	response := c.Response()
	response.Header().Set(echo.HeaderContentType, "text/event-stream")
	response.Header().Set(echo.HeaderCacheControl, "no-store")
	response.WriteHeader(http.StatusOK)
	response.Flush()
	for {
		events, lost, more := a.plant.Events().After(after)
		if lost > 0 {
			if _, err := fmt.Fprintf(response, "event: forgotten\ndata: {\"events\":%d}\n\n", lost); err != nil {
				return nil
			}
			after += lost
		}
		for _, one := range events {
			data, err := json.Marshal(one)
			if err != nil {
				return ems.Errorf(ems.CodeInternal, "event %d: %w", one.Number, err)
			}
			if _, err := fmt.Fprintf(response, "id: %d\nevent: %s\ndata: %s\n\n", one.Number, one.Kind, data); err != nil {
				return nil // the client has gone
			}
			after = one.Number
		}
		response.Flush()
		select {
		case <-more:
		case <-a.closed:
			return nil
		case <-c.Request().Context().Done():
			return nil
		}
	}
}
