package httpserver

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Parameters refuses a request that has other parameters than these, or one of them
// twice, or one that is no text, or what is no parameter and would be passed over: what a misspelt
// ?dry_run=true was to try would be done.
func Parameters(known ...string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			given, err := url.ParseQuery(c.Request().URL.RawQuery)
			if err != nil {
				return ems.Errorf(ems.CodeInvalid, "the parameters cannot be read, and nothing was done: %w", err)
			}
			for name, values := range given {
				switch {
				case len(known) == 0:
					return ems.Errorf(ems.CodeInvalid, "unknown parameter %q: this request takes none, and nothing was done", name)
				case !slices.Contains(known, name):
					return ems.Errorf(ems.CodeInvalid, "unknown parameter %q, and nothing was done: there is only %s", name, strings.Join(known, ", "))
				case len(values) > 1:
					return ems.Errorf(ems.CodeInvalid, "parameter %q stands %d times, and nothing was done", name, len(values))
				case !utf8.ValidString(values[0]):
					return ems.Errorf(ems.CodeInvalid, "parameter %q is not valid UTF-8, and nothing was done", name)
				}
			}
			return next(c)
		}
	}
}

// DryRun reads ?dry_run=: whether what is asked for is only to be tried.
func DryRun(c echo.Context) (bool, error) {
	switch text := c.QueryParam("dry_run"); {
	case !c.QueryParams().Has("dry_run"), text == "false":
		return false, nil
	case text == "true":
		return true, nil
	default:
		return false, ems.Errorf(ems.CodeInvalid, "dry_run %q is neither true nor false", text)
	}
}
