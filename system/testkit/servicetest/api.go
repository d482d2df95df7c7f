package servicetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// API asks a running service. Each request has a connection of its own, so that
// none is left open when the service ends.
type API struct {
	URL string // http://host:port
	t   testing.TB
}

// Request sends a request with a JSON body. Unlike Ask it may be called by
// goroutines that must not end the test.
func (a *API) Request(method, path, body string) (status int, text string, err error) {
	ctx, cancel := context.WithTimeout(a.t.Context(), Soon)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, a.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	return response.StatusCode, string(read), err
}

// Ask sends a request with a JSON body and decodes the data of the answer into
// the value that into points to, unless it is nil. The text is the whole answer.
func (a *API) Ask(method, path, body string, into any) (status int, text string) {
	a.t.Helper()
	status, text, err := a.Request(method, path, body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	if into != nil {
		envelope := struct{ Data any }{into}
		if err := json.Unmarshal([]byte(text), &envelope); err != nil {
			a.t.Fatalf("%s %s: %d %s: %v", method, path, status, text, err)
		}
	}
	return status, text
}

// Refused sends a request and expects an error with that status and code, and
// with that text in its message.
func (a *API) Refused(method, path, body string, status int, code ems.Code, message string) {
	a.t.Helper()
	found, text := a.Ask(method, path, body, nil)
	var envelope httpserver.Envelope
	if err := json.Unmarshal([]byte(text), &envelope); err != nil || envelope.Error == nil {
		a.t.Fatalf("%s %s: %d, no error in %s", method, path, found, text)
	}
	if found != status || envelope.Success || envelope.Error.Code != code || !strings.Contains(envelope.Error.Message, message) {
		a.t.Errorf("%s %s %s:\n got %d %s %q\nwant %d %s …%q…", method, path, body,
			found, envelope.Error.Code, envelope.Error.Message, status, code, message)
	}
}

// AwaitHealth waits until the service tells that health: 200 or 503.
func (a *API) AwaitHealth(status int) {
	a.t.Helper()
	testkit.Eventually(a.t, Soon, func() error {
		if found, text := a.Ask(http.MethodGet, "/health/detailed", "", nil); found != status {
			return fmt.Errorf("health is %d: %s", found, text)
		}
		return nil
	}, "health")
}
