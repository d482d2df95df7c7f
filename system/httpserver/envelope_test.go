package httpserver_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/httpserver"
	"github.com/voltageems/voltageems-go/system/testkit/servicetest"
)

func TestDataIsPutIntoAnEnvelope(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Echo.GET("/list", func(c echo.Context) error { return httpserver.OK(c, []float64{1.5, -2}) })
	f.Echo.GET("/empty", func(c echo.Context) error { return httpserver.OK(c, []string{}) })
	f.Echo.GET("/page", func(c echo.Context) error { return httpserver.OKPage(c, []string{"a", "b"}, "b") })
	f.Echo.GET("/last", func(c echo.Context) error { return httpserver.OKPage(c, []string{"c"}, "") })
	f.Echo.GET("/nothing", func(c echo.Context) error { return httpserver.OK(c, nil) })
	f.Echo.POST("/made", func(c echo.Context) error { return httpserver.Created(c, map[string]string{"id": "a"}) })
	f.Echo.GET("/unspeakable", func(c echo.Context) error { return httpserver.OK(c, math.NaN()) })
	api, _ := servicetest.Start(t, f)
	for _, check := range []struct {
		method, path string
		status       int
		body         string
	}{
		{http.MethodGet, "/list", http.StatusOK, `{"success":true,"data":[1.5,-2]}`},
		{http.MethodGet, "/empty", http.StatusOK, `{"success":true,"data":[]}`},
		{http.MethodGet, "/page", http.StatusOK, `{"success":true,"data":["a","b"],"next":"b"}`},
		{http.MethodGet, "/last", http.StatusOK, `{"success":true,"data":["c"]}`},
		{http.MethodGet, "/nothing", http.StatusOK, `{"success":true}`},
		{http.MethodPost, "/made", http.StatusCreated, `{"success":true,"data":{"id":"a"}}`},
		{http.MethodGet, "/unspeakable", http.StatusInternalServerError,
			`{"success":false,"error":{"code":"INTERNAL","message":"json: unsupported value: NaN"}}`},
	} {
		request, err := http.NewRequestWithContext(t.Context(), check.method, api.URL+check.path, nil)
		response, text := send(t, request, err)
		servicetest.Same(t, response.StatusCode, check.status)
		servicetest.Same(t, response.Header.Get("Content-Type"), "application/json")
		servicetest.Same(t, text, check.body+"\n")
	}
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	t.Parallel()
	statuses := map[ems.Code]int{
		ems.CodeInvalid: http.StatusBadRequest, ems.CodeNotFound: http.StatusNotFound, ems.CodeConflict: http.StatusConflict,
		ems.CodeStale: http.StatusConflict, ems.CodeExpired: http.StatusGatewayTimeout, ems.CodeUnknown: http.StatusGatewayTimeout,
		ems.CodeUnavailable: http.StatusServiceUnavailable, ems.CodeFull: http.StatusInsufficientStorage,
		ems.CodeDenied: http.StatusForbidden, ems.CodeInternal: http.StatusInternalServerError,
	}
	f := newFront(t)
	f.Echo.GET("/fail/:code", func(c echo.Context) error {
		return ems.Errorf(ems.Code(c.Param("code")), "because of %s", c.Param("code"))
	})
	f.Echo.GET("/wrapped", func(echo.Context) error {
		return fmt.Errorf("outside: %w", ems.Errorf(ems.CodeStale, "inside: %w", io.ErrUnexpectedEOF))
	})
	f.Echo.GET("/detailed", func(echo.Context) error {
		return &ems.Error{Code: ems.CodeInvalid, Message: "two faults", Details: []string{"the first", "the second"}}
	})
	f.Echo.GET("/uncoded", func(echo.Context) error { return io.ErrUnexpectedEOF })
	api, _ := servicetest.Start(t, f)
	expect := func(path string, status int, body string) {
		t.Helper()
		found, text := api.Ask(http.MethodGet, path, "", nil)
		servicetest.Same(t, found, status)
		servicetest.Same(t, text, `{"success":false,"error":`+body+"}\n")
	}
	for code, status := range statuses {
		servicetest.Same(t, httpserver.Status(code), status)
		expect("/fail/"+string(code), status, fmt.Sprintf(`{"code":%q,"message":"because of %s"}`, code, code))
	}
	expect("/fail/TWISTED", http.StatusInternalServerError, `{"code":"TWISTED","message":"because of TWISTED"}`)
	expect("/wrapped", http.StatusConflict, `{"code":"STALE","message":"outside: inside: unexpected EOF"}`)
	expect("/detailed", http.StatusBadRequest, `{"code":"INVALID","message":"two faults","details":["the first","the second"]}`)
	if strings.Contains(f.log.String(), "path=/detailed") {
		t.Error("a fault of the caller is logged as one of the service")
	}
	expect("/uncoded", http.StatusInternalServerError, `{"code":"INTERNAL","message":"unexpected EOF"}`)
	if text := f.log.String(); !strings.Contains(text, `level=ERROR msg="request failed" method=GET path=/uncoded error="unexpected EOF"`) {
		t.Errorf("the log says %s", text)
	}
}

func TestErrorsOfTheRouterComeInTheEnvelope(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Echo.GET("/things/:id", func(c echo.Context) error { return httpserver.OK(c, c.Param("id")) })
	f.Echo.GET("/secret", func(echo.Context) error { return echo.ErrUnauthorized })
	f.Echo.GET("/proxied", func(echo.Context) error { return echo.ErrBadGateway })
	api, _ := servicetest.Start(t, f)
	api.Refused(http.MethodGet, "/nothing", "", http.StatusNotFound, ems.CodeNotFound, "not found")
	api.Refused(http.MethodGet, "/things", "", http.StatusNotFound, ems.CodeNotFound, "not found")
	api.Refused(http.MethodDelete, "/things/1", "", http.StatusMethodNotAllowed, ems.CodeInvalid, "method not allowed")
	api.Refused(http.MethodPost, "/health", "", http.StatusMethodNotAllowed, ems.CodeInvalid, "method not allowed")
	api.Refused(http.MethodGet, "/secret", "", http.StatusUnauthorized, ems.CodeDenied, "unauthorized")
	api.Refused(http.MethodGet, "/proxied", "", http.StatusBadGateway, ems.CodeInternal, "bad gateway")
	request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, api.URL+"/things/1", nil)
	response, _ := send(t, request, err)
	servicetest.Same(t, response.Header.Get("Allow"), "OPTIONS, GET")
}

func TestHeadIsAnsweredWithoutABody(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Echo.GET("/things", func(c echo.Context) error { return httpserver.OK(c, "one") })
	f.Echo.HEAD("/broken", func(echo.Context) error { return ems.Errorf(ems.CodeFull, "no room") })
	api, _ := servicetest.Start(t, f)
	for path, status := range map[string]int{
		"/health": http.StatusOK, "/health/detailed": http.StatusOK, "/things": http.StatusMethodNotAllowed,
		"/nothing": http.StatusNotFound, "/broken": http.StatusInsufficientStorage,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodHead, api.URL+path, nil)
		response, text := send(t, request, err)
		if response.StatusCode != status || text != "" {
			t.Errorf("%s: %s %q, want %d without a body", path, response.Status, text, status)
		}
	}
}

// thing is what the body of the tests holds.
type thing struct {
	Name  string         `json:"name"`
	Value float64        `json:"value"`
	Parts []thing        `json:"parts,omitempty"`
	Notes map[string]any `json:"notes,omitempty"`
	Count int            `json:"count,omitempty"`
	On    bool           `json:"on,omitempty"`
	Own   reader         `json:"own,omitzero"`
}

// reader reads itself.
type reader struct{ Inner struct{ Number int } }

func (r *reader) UnmarshalJSON(data []byte) error { return json.Unmarshal(data, &r.Inner) }

// takeThings replies with the body that it decoded.
func takeThings(f *front) {
	f.Echo.POST("/things", func(c echo.Context) error {
		var sent thing
		if err := httpserver.Body(c, &sent); err != nil {
			return err
		}
		return httpserver.OK(c, sent)
	})
}

func TestBodies(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	takeThings(f)
	api, _ := servicetest.Start(t, f)
	for _, body := range []string{`{"name":"a","value":1.5}`, "\n {\"name\":\"a\",\"value\":1.5}\r\n\t "} {
		var got thing
		if status, text := api.Ask(http.MethodPost, "/things", body, &got); status != http.StatusOK {
			t.Errorf("%s: %d %s", body, status, text)
		}
		servicetest.Same(t, got, thing{Name: "a", Value: 1.5})
	}
	const malformed, several = "the body is not the JSON that is expected: ", "the body holds more than one JSON value"
	for body, message := range map[string]string{
		``:                          "the body is empty: send JSON, an object of name, value, parts, notes, count, on, own",
		" \r\n":                     "the body is empty: send JSON, an object of name, value, parts, notes, count, on, own",
		`{"name":"a"`:               malformed + "it ends in the middle, after 11 bytes",
		`name=a`:                    malformed + "invalid character",
		"{\"name\":\"a\xff\"}":      "the body is not valid UTF-8",
		`{"name":"a","colour":"b"}`: malformed + `json: unknown field "colour"`,
		`{"name":5}`:                malformed + "name: number where a text is expected",
		`[]`:                        malformed + "array where an object is expected",
		`"x"`:                       malformed + "string where an object is expected",
		` {"value":1e999}`:          malformed + "value: number 1e999 where a finite number is expected",
		`{"count":1.5}`:             malformed + "count: number 1.5 where a whole number of at most 64 bits is expected",
		`{"on":"yes"}`:              malformed + "on: string where true or false is expected",
		`{"name":"a]}{[\"","parts":[{"parts":[]},{"notes":{"a":{},"b":[1,{"c":2}]}},{"parts":[{"name":"b","value":2},{"value":"c"}]}]}`: malformed +
			"parts[2].parts[1].value: string where a finite number is expected",
		`{"parts":[{},{"name":{"a":1}},{"name":5}]}`:  malformed + "parts[1].name: object where a text is expected",
		`{"parts":[{"name":"a"},[]]}`:                 malformed + "parts[1]: array where an object is expected",
		`{"parts":[[],7]}`:                            malformed + "parts[0]: array where an object is expected",
		`{"name":"a","value":5,"own":{"number":"x"}}`: malformed + "own.Number: string where a whole number of at most 64 bits is expected",
		`{"notes":7,"parts":5}`:                       malformed + "notes: number where an object is expected",
		`{"name":"a","notes":{"b":1,"c":[1,-1e400]}}`: malformed + "notes.c[1]: number -1e400 where a finite number is expected",
		`{"name":"a"}{}`:                              several,
		`{"name":"a"} {"name":""}`:                    several,
		`{"name":"a"}}`:                               several,
		`{"name":"a"}]`:                               several,
		`{"name":"a"},`:                               several,
		`{"name":"a"} x`:                              several,
		`{"name":"a"} "`:                              several,
	} {
		api.Refused(http.MethodPost, "/things", body, http.StatusBadRequest, ems.CodeInvalid, message)
	}
}

func TestContentTypeIsJSONOrUntold(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	takeThings(f)
	api, _ := servicetest.Start(t, f)
	for kind, status := range map[string]int{
		"": http.StatusOK, "application/json": http.StatusOK, "application/json; charset=utf-8": http.StatusOK, "Application/JSON;charset=UTF-8": http.StatusOK,
		"text/plain": http.StatusBadRequest, "application/x-www-form-urlencoded": http.StatusBadRequest, "multipart/form-data; boundary=x": http.StatusBadRequest,
		"application/jsonp": http.StatusBadRequest, "application/json-patch+json": http.StatusBadRequest, "application/json; charset": http.StatusBadRequest,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL+"/things", strings.NewReader(`{"name":"a"}`))
		if kind != "" && err == nil {
			request.Header.Set("Content-Type", kind)
		}
		response, text := send(t, request, err)
		want := `{"success":true,"data":{"name":"a","value":0}}`
		if status != http.StatusOK {
			want = fmt.Sprintf(`{"success":false,"error":{"code":"INVALID","message":"content type \"%s\" is not application/json"}}`, kind)
		}
		if response.StatusCode != status || text != want+"\n" {
			t.Errorf("%q: %s %s", kind, response.Status, text)
		}
	}
}

func TestBodyEndsAtOneMegabyte(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	takeThings(f)
	api, _ := servicetest.Start(t, f)
	const limit = 1 << 20
	long := func(size int) []byte {
		return []byte(`{"name":"` + strings.Repeat("x", size-len(`{"name":""}`)) + `"}`)
	}
	padded := append([]byte(`{"name":"a"}`), bytes.Repeat([]byte(" "), limit)...)
	for _, check := range []struct {
		name string
		body []byte
		told bool // the length is, before anything is sent
		want int
	}{
		{"just fits", long(limit), true, http.StatusOK},
		{"just fits, length untold", long(limit), false, http.StatusOK},
		{"too long", long(limit + 1), true, http.StatusRequestEntityTooLarge},
		{"too long, length untold", long(limit + 1), false, http.StatusRequestEntityTooLarge},
		{"too long behind the value", padded, false, http.StatusRequestEntityTooLarge},
		{"too long, sent at once", long(12 * limit), false, http.StatusRequestEntityTooLarge},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL+"/things", bytes.NewReader(check.body))
		if err == nil && check.told {
			request.Header.Set("Expect", "100-continue") // a refusal comes instead of the permission to send
		} else if err == nil {
			request.ContentLength = -1
			if len(check.body) > 10*limit {
				request.ContentLength = int64(len(check.body))
			}
		}
		response, text := send(t, request, err)
		if response.StatusCode != check.want {
			t.Errorf("%s: %s %.200s", check.name, response.Status, text)
		}
		if check.want != http.StatusOK {
			servicetest.Same(t, text, `{"success":false,"error":{"code":"INVALID","message":"the body is too large: a request may have 1 MiB"}}`+"\n")
		}
	}
}

func TestPanicIsAFaultWithoutItsStackAndTheProcessLives(t *testing.T) {
	t.Parallel()
	f := newFront(t)
	f.Echo.GET("/panic/:id", func(c echo.Context) error {
		var none []string
		return httpserver.OK(c, none[len(c.Param("id"))])
	})
	api, _ := servicetest.Start(t, f)
	for range 2 {
		status, text := api.Ask(http.MethodGet, "/panic/7", "", nil)
		servicetest.Same(t, status, http.StatusInternalServerError)
		servicetest.Same(t, text, `{"success":false,"error":{"code":"INTERNAL","message":"an internal fault: see the log of modsrv"}}`+"\n")
	}
	for _, part := range []string{`msg="panic in a request" route=/panic/:id error="runtime error: index out of range [1] with length 0"`, "envelope_test.go"} {
		if text := f.log.String(); !strings.Contains(text, part) {
			t.Errorf("no %s in the log %s", part, text)
		}
	}
	if status, text := api.Ask(http.MethodGet, "/health", "", nil); status != http.StatusOK {
		t.Errorf("%d %s", status, text)
	}
}
