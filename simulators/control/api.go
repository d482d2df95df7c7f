package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/simulators/fault"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

type api struct {
	plant     *plant.Plant
	runner    *plant.Runner
	snapshots *snapshots
	faults    *fault.Registry
	closed    <-chan struct{} // ends streams
}

// by names the operator of the simulator in events.
const by = "control"

// envelope is the shape of every answer: data where it succeeded, else error.
type envelope struct {
	Success bool     `json:"success"`
	Data    any      `json:"data,omitempty"`
	Error   *problem `json:"error,omitempty"`
}

type problem struct {
	Code    ems.Code `json:"code"`
	Message string   `json:"message"`
}

func succeed(c echo.Context, data any) error {
	return c.JSON(http.StatusOK, envelope{Success: true, Data: data})
}

var statuses = map[ems.Code]int{
	ems.CodeInvalid: http.StatusBadRequest, ems.CodeNotFound: http.StatusNotFound,
	ems.CodeConflict: http.StatusConflict, ems.CodeUnavailable: http.StatusServiceUnavailable,
}

// writeError answers with the envelope whatever went wrong, in a handler or
// before one was found.
func writeError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	code, message := ems.CodeOf(err), err.Error()
	status, known := statuses[code]
	if !known {
		status = http.StatusInternalServerError
	}
	var routing *echo.HTTPError
	if errors.As(err, &routing) {
		status, code = routing.Code, ems.CodeInvalid
		if status == http.StatusNotFound {
			code = ems.CodeNotFound
		}
		message = c.Request().Method + " " + c.Request().URL.Path + ": " + http.StatusText(status) + "; GET /openapi.yaml says what there is"
	}
	_ = c.JSON(status, envelope{Error: &problem{Code: code, Message: message}}) // the client has gone
}

// read decodes the body of a request, which is one JSON object of at most so many
// bytes without a field that is not known. form is an example of one.
func read(c echo.Context, into any, most int64, form string) error {
	if err := query(c); err != nil {
		return err
	}
	decoder := json.NewDecoder(http.MaxBytesReader(c.Response(), c.Request().Body, most))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return ems.Errorf(ems.CodeInvalid, "the body cannot be read (%s): send %s", plain(err), form)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return ems.Errorf(ems.CodeInvalid, "the body goes on after its object: send %s", form)
	}
	return nil
}

// plain says why a body cannot be read in the words of who sent it, not of who reads it.
func plain(err error) string {
	var wrong *json.UnmarshalTypeError
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return fmt.Sprintf("it is larger than %d bytes", large.Limit)
	case errors.Is(err, io.EOF):
		return "it is empty"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "it breaks off"
	case !errors.As(err, &wrong):
		return strings.TrimPrefix(err.Error(), "json: ")
	}
	wanted := "an object"
	switch kind := wrong.Type.Kind(); {
	case kind == reflect.String:
		wanted = "a text"
	case kind == reflect.Bool:
		wanted = "true or false"
	case kind == reflect.Float64:
		wanted = "a number"
	case kind >= reflect.Int && kind <= reflect.Uint64:
		wanted = "a whole number"
	}
	name := wrong.Field
	if name == "" {
		name = "it"
	}
	return fmt.Sprintf("%s is not %s", name, wanted)
}

// query refuses parameters that a request does not know, so that none is misspelt
// and left out without a word.
func query(c echo.Context, known ...string) error {
	for name := range c.QueryParams() {
		found := false
		for _, one := range known {
			found = found || one == name
		}
		if !found && known == nil {
			return ems.Errorf(ems.CodeInvalid, "parameter %q is unknown: this takes none in the address", name)
		}
		if !found {
			return ems.Errorf(ems.CodeInvalid, "parameter %q is unknown: known here are %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}

// bare is a handler of requests without parameters and body, which would be left out
// without a word: whoever sends DELETE /faults a number does not mean all of them.
func bare(handle echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().ContentLength != 0 {
			return ems.Errorf(ems.CodeInvalid, "the request has a body, of which nothing is read here: leave it out")
		}
		if err := query(c); err != nil {
			return err
		}
		return handle(c)
	}
}
