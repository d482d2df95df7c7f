package httpserver_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
)

func TestPage(t *testing.T) {
	t.Parallel()
	for query, want := range map[string]struct {
		after string
		limit int
		code  ems.Code
	}{
		"":                        {"", 100, ""},
		"limit=1&after=model_1":   {"model_1", 1, ""},
		"limit=1000":              {"", 1000, ""},
		"limit=0":                 {"", 0, ems.CodeInvalid},
		"limit=1001":              {"", 0, ems.CodeInvalid},
		"limit=ten":               {"", 0, ems.CodeInvalid},
		"limit=-1":                {"", 0, ems.CodeInvalid},
		"after=a%3Ab&limit=5":     {"a:b", 5, ems.CodeInvalid},
		"limit=99999999999999999": {"", 0, ems.CodeInvalid},
	} {
		request := httptest.NewRequest(http.MethodGet, "/?"+query, nil)
		after, limit, err := httpserver.Page(echo.New().NewContext(request, httptest.NewRecorder()))
		if want.code == "" && err != nil || want.code != "" && ems.CodeOf(err) != want.code {
			t.Errorf("%s: %v", query, err)
		}
		if after != want.after || limit != want.limit {
			t.Errorf("%s: after %q, limit %d; want %q, %d", query, after, limit, want.after, want.limit)
		}
	}
}
