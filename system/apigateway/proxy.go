package apigateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

// Bounds of one request to a service. A write to a device may name a deadline of
// up to a minute, and is answered within it.
const (
	connectTimeout = 2 * time.Second
	answerTimeout  = 75 * time.Second
)

func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: answerTimeout,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       90 * time.Second,
	}
}

// proxy passes requests on to one service, as they are.
func (s *Service) proxy(target ems.Target) http.Handler {
	endpoint := s.endpoints[target]
	return &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(endpoint)
			request.Out.URL.RawQuery = request.In.URL.RawQuery // with what cannot be read: the service refuses it
			request.SetXForwarded()
		},
		Transport: s.transport,
		ErrorHandler: func(w http.ResponseWriter, request *http.Request, err error) {
			s.replyFailure(w, request, target, err)
		},
		ErrorLog: slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
}

// replyFailure tells the caller why a service could not be asked.
func (s *Service) replyFailure(w http.ResponseWriter, request *http.Request, target ems.Target, err error) {
	status, fault := http.StatusServiceUnavailable, httpserver.Fault{
		Code:    ems.CodeUnavailable,
		Message: fmt.Sprintf("%s does not answer at %s: %v", target, s.endpoints[target].Redacted(), err),
	}
	var refused *echo.HTTPError
	switch {
	case errors.Is(err, context.Canceled):
		s.logger.Debug("a caller left before the answer", "service", target, "path", request.URL.Path)
	case errors.As(err, &refused): // by the gateway itself, while the body was read
		status = refused.Code
		fault = httpserver.Fault{Code: ems.CodeInvalid, Message: http.StatusText(status)}
	default:
		s.logger.Warn("a service does not answer", "service", target, "path", request.URL.Path, "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(httpserver.Envelope{Error: &fault}); err != nil {
		s.logger.Debug("reply could not be written", "error", err)
	}
}
