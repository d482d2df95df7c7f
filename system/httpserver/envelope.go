package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Envelope is the shape of every JSON reply.
type Envelope struct {
	Success bool   `json:"success"`
	Data    any    `json:"data,omitempty"`
	Next    string `json:"next,omitempty"` // of a page of a list: the ?after= of the next one; absent on the last
	Error   *Fault `json:"error,omitempty"`
}

// Fault is the error part of the envelope.
type Fault struct {
	Code    ems.Code `json:"code"`
	Message string   `json:"message"`
	Details []string `json:"details,omitempty"`
}

// OK replies with data.
func OK(c echo.Context, data any) error {
	return c.JSON(http.StatusOK, Envelope{Success: true, Data: data})
}

// nextHeader repeats the ?after= of the next page, for who reads no envelope.
const nextHeader = "X-Next-After"

// OKPage replies with one page of a list; next is the ?after= of the one that
// follows, empty when this is the last.
func OKPage(c echo.Context, data any, next string) error {
	if next != "" {
		c.Response().Header().Set(nextHeader, next)
	}
	return c.JSON(http.StatusOK, Envelope{Success: true, Data: data, Next: next})
}

// Created replies with the thing just made.
func Created(c echo.Context, data any) error {
	return c.JSON(http.StatusCreated, Envelope{Success: true, Data: data})
}

// Status maps a code to the HTTP status of its reply.
func Status(code ems.Code) int {
	switch code {
	case ems.CodeInvalid:
		return http.StatusBadRequest
	case ems.CodeNotFound:
		return http.StatusNotFound
	case ems.CodeConflict, ems.CodeStale:
		return http.StatusConflict
	case ems.CodeDenied:
		return http.StatusForbidden
	case ems.CodeExpired, ems.CodeUnknown:
		return http.StatusGatewayTimeout
	case ems.CodeUnavailable:
		return http.StatusServiceUnavailable
	case ems.CodeFull:
		return http.StatusInsufficientStorage
	default:
		return http.StatusInternalServerError
	}
}

// handleError writes the envelope of an error.
func (s *Server) handleError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, fault := http.StatusInternalServerError, Fault{Code: ems.CodeOf(err), Message: err.Error()}
	var http4xx *echo.HTTPError
	var coded *ems.Error
	switch {
	case errors.As(err, &coded):
		status, fault.Details = Status(coded.Code), coded.Details
	case errors.As(err, &http4xx):
		status = http4xx.Code
		fault.Code, fault.Message = codeOfStatus(status), strings.ToLower(http.StatusText(status))
		if status == http.StatusRequestEntityTooLarge {
			fault.Message = fmt.Sprintf("the body is too large: a request may have %d MiB", maxBody>>20)
		}
	case errors.Is(err, context.Canceled):
		// The service ends, or the caller has left and hears nothing of this.
		status, fault.Code, fault.Message = http.StatusServiceUnavailable, ems.CodeUnavailable, "the service is stopping, the request was not finished"
	}
	if status == http.StatusInternalServerError {
		s.logger.Error("request failed", "method", c.Request().Method, "path", c.Request().URL.Path, "error", err)
	}
	if status == http.StatusRequestEntityTooLarge && c.Request().Header.Get("Expect") == "" { // who is still sending would not hear the reply
		_, _ = io.CopyN(io.Discard, c.Request().Body, drained)
	}
	if err := c.JSON(status, Envelope{Error: &fault}); err != nil {
		s.logger.Debug("reply could not be written", "error", err)
	}
}

// drained is how much of a body that is too large is taken in and thrown away.
const drained = 16 << 20

func codeOfStatus(status int) ems.Code {
	switch {
	case status == http.StatusNotFound:
		return ems.CodeNotFound
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return ems.CodeDenied
	case status < http.StatusInternalServerError:
		return ems.CodeInvalid
	default:
		return ems.CodeInternal
	}
}

// plainJSON writes < and > as they are, for people who read it: it is served as JSON
// and never as a page.
type plainJSON struct{ echo.DefaultJSONSerializer }

// Serialize implements echo.JSONSerializer.
func (plainJSON) Serialize(c echo.Context, from any, indent string) error {
	encoder := json.NewEncoder(c.Response())
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	return encoder.Encode(from)
}
