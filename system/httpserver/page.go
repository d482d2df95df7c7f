package httpserver

import (
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Bounds of one page of a list.
const (
	DefaultPage = 100
	LargestPage = 1000
)

// Page reads which page of a list is asked for: at most ?limit= entries, those
// after the id ?after=, which is empty for the first page.
func Page(c echo.Context) (after string, limit int, err error) {
	limit = DefaultPage
	if text := c.QueryParam("limit"); text != "" {
		limit, err = strconv.Atoi(text)
		if err != nil || limit < 1 || limit > LargestPage {
			return "", 0, ems.Errorf(ems.CodeInvalid, "limit %q is not a whole number from 1 to %d", text, LargestPage)
		}
	}
	after = c.QueryParam("after")
	if after != "" {
		err = ems.CheckID("after", after)
	}
	return after, limit, err
}
