package httpserver_test

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

// TestParametersAreKnown or nothing is done.
func TestParametersAreKnown(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Echo.POST("/try", func(c echo.Context) error {
		dry, err := httpserver.DryRun(c)
		if err != nil {
			return err
		}
		return httpserver.OK(c, dry)
	}, httpserver.Parameters("dry_run", "by"))
	f.Echo.POST("/plain", func(c echo.Context) error { return httpserver.OK(c, true) }, httpserver.Parameters())
	api, _ := servicetest.Start(t, f)
	for query, want := range map[string]bool{"": false, "?dry_run=true": true, "?dry_run=false&by=Ann": false} {
		var dry bool
		if status, text := api.Ask(http.MethodPost, "/try"+query, "", &dry); status != http.StatusOK || dry != want {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	for path, message := range map[string]string{
		"/try?dry_rnu=true":               `unknown parameter "dry_rnu", and nothing was done: there is only dry_run, by`,
		"/try?dry_run=true&dry_run=false": `parameter "dry_run" stands 2 times, and nothing was done`,
		"/try?dry_run":                    `dry_run "" is neither true nor false`,
		"/try?dry_run=yes":                `dry_run "yes" is neither true nor false`,
		"/try?dry_run=true;":              "the parameters cannot be read, and nothing was done: invalid semicolon separator in query",
		"/try?dry_run=true%&by=Ann":       `the parameters cannot be read, and nothing was done: invalid URL escape "%"`,
		"/try?by=%ff":                     `parameter "by" is not valid UTF-8, and nothing was done`,
		"/plain?dry_run=true":             `unknown parameter "dry_run": this request takes none, and nothing was done`,
	} {
		api.Refused(http.MethodPost, path, "", http.StatusBadRequest, ems.CodeInvalid, message)
	}
}
