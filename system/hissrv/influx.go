package hissrv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"
	influxhttp "github.com/influxdata/influxdb-client-go/v2/api/http"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
)

// influx is the way to InfluxDB 2, and to 1.8 with Flux enabled.
type influx struct {
	settings  config.Influx
	transport *http.Transport
	client    influxdb2.Client
	writer    api.WriteAPIBlocking
}

// influxTimeout bounds one request to InfluxDB and its whole answer.
const influxTimeout = 10 * time.Second

// openInflux prepares the client. It does not connect: InfluxDB may come later.
func openInflux(settings config.Influx) *influx {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	options := influxdb2.DefaultOptions().SetApplicationName("voltageems").
		SetPrecision(time.Millisecond). // the client's own default is nanoseconds
		SetMaxRetries(0).               // the feed retries, so that nothing waits outside Redis
		SetHTTPClient(&http.Client{Transport: strict{transport}, Timeout: influxTimeout})
	client := influxdb2.NewClientWithOptions(settings.URL, settings.Token, options)
	return &influx{
		settings: settings, transport: transport, client: client,
		writer: client.WriteAPIBlocking(settings.Org, settings.Bucket),
	}
}

func (i *influx) close() {
	i.client.Close()
	i.transport.CloseIdleConnections()
}

// strict mends two habits of the client. It takes every 2xx for success, with
// which a proxy on the way may answer a write too: only 204 says that InfluxDB
// has it. And it asks for compressed answers but never closes their body, which
// the transport does when it is left to ask for them itself.
type strict struct{ next http.RoundTripper }

func (s strict) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Del("Accept-Encoding")
	response, err := s.next.RoundTrip(request)
	if err != nil || !strings.HasSuffix(request.URL.Path, "/api/v2/write") {
		return response, err
	}
	if response.StatusCode >= 200 && response.StatusCode < 300 && response.StatusCode != http.StatusNoContent {
		_ = response.Body.Close()
		return nil, fmt.Errorf("the answer to a write is %s instead of 204 No Content", response.Status)
	}
	return response, nil
}

// write writes lines. Its error is INVALID when InfluxDB refuses what the lines
// say, and something else when the same lines may be taken later. Either way
// part of them may have been written.
func (i *influx) write(ctx context.Context, lines []rtdb.Line) error {
	texts := make([]string, len(lines))
	for n, line := range lines {
		texts[n] = line.Text
	}
	return i.fail("a write", i.writer.WriteRecord(ctx, strings.Join(texts, "\n")))
}

// sample is one point of a series.
type sample struct {
	Time  int64   `json:"time"` // Unix ms
	Value float64 `json:"value"`
}

// read runs a Flux query that answers with one series of numbers, and returns at
// most limit of them and whether there are more.
func (i *influx) read(ctx context.Context, flux string, limit int) (samples []sample, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, influxTimeout)
	defer cancel()
	result, err := i.client.QueryAPI(i.settings.Org).Query(ctx, flux)
	if err != nil {
		return nil, false, i.fail("a query", err)
	}
	defer result.Close()
	samples = []sample{}
	first := ""
	for n := 0; result.Next(); n++ {
		record := result.Record()
		if series := seriesOf(record.Values()); n == 0 {
			first = series
		} else if series != first {
			return nil, false, &ems.Error{
				Code:    ems.CodeInvalid,
				Message: "several series match: name more tags, so that one is left",
				Details: []string{first, series},
			}
		}
		if len(samples) == limit {
			return samples, true, nil
		}
		number, err := numberOf(record.Value())
		if err != nil {
			return nil, false, err
		}
		samples = append(samples, sample{Time: record.Time().UnixMilli(), Value: number})
	}
	return samples, false, i.fail("a query", result.Err())
}

// check asks InfluxDB for a series that nobody has: cheap, and it needs all that a
// query needs, address, credentials and bucket.
func (i *influx) check(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, influxTimeout)
	defer cancel()
	flux := "from(bucket: " + fluxString(i.settings.Bucket) + ") |> range(start: -1ms) |> filter(fn: (r) => r._measurement == \"voltage_health\")"
	result, err := i.client.QueryAPI(i.settings.Org).Query(ctx, flux)
	if err != nil {
		return "", i.fail("a query", err)
	}
	defer result.Close()
	for result.Next() { // to the end, where a fault would stand
	}
	return "bucket " + i.settings.Bucket, i.fail("a query", result.Err())
}

// fail turns what InfluxDB or the network said into a coded error that says what
// to do.
func (i *influx) fail(what string, err error) error {
	var answer *influxhttp.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return err
	case !errors.As(err, &answer) || answer.StatusCode == 0:
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB at %s did not answer %s: %w", i.settings.URL, what, err)
	}
	said := answer.Message
	if said == "" {
		said = http.StatusText(answer.StatusCode)
	}
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return ems.Errorf(ems.CodeInvalid, "InfluxDB refused %s: %s", what, said)
	case http.StatusUnauthorized, http.StatusForbidden:
		return ems.Errorf(ems.CodeDenied, "InfluxDB at %s refused the credentials for %s: check influx.token (InfluxDB 1.8 wants user:password)", i.settings.URL, what)
	case http.StatusNotFound:
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB at %s has no bucket %s (%s): create it, or mend influx.bucket and influx.org", i.settings.URL, i.settings.Bucket, said)
	default:
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB at %s answered %s with %d: %s", i.settings.URL, what, answer.StatusCode, said)
	}
}
