package grafana_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"

	"github.com/voltageems/voltageems-go/system/testkit"
)

// A real InfluxDB answers every query: with each device, with each field, and
// with a power balance that is one.
func TestInfluxAnswersEveryQuery(t *testing.T) {
	server := testkit.Influx(t)
	client := influxdb2.NewClient(server.URL, server.Token)
	defer client.Close()
	now := time.Now().Truncate(time.Second)
	power := map[string]float64{"pv": 50, "battery": -10, "genset": 25, "grid": 15, "load": 80}
	var lines []string
	for measurement, devices := range readHistory(t) {
		for device, names := range devices {
			var fields []string
			for _, name := range names {
				value := 1.0
				if name == "power" {
					value = power[device]
				}
				fields = append(fields, fmt.Sprintf("%s=%f", name, value))
			}
			if len(fields) == 0 {
				continue
			}
			lines = append(lines, fmt.Sprintf("%s,channel=1,type=%.1s,device=%s %s %d", measurement,
				strings.ToUpper(measurement), device, strings.Join(fields, ","), now.Add(-time.Minute).UnixNano()))
		}
	}
	if err := client.WriteAPIBlocking(server.Org, server.Bucket).WriteRecord(t.Context(), lines...); err != nil {
		t.Fatal(err)
	}
	queries := 0
	targets(t, func(where string, target target) {
		if target.Query == "" {
			return
		}
		queries++
		variables := fmt.Sprintf("v = {timeRangeStart: %s, timeRangeStop: %s, windowPeriod: 10s, defaultBucket: %q}\n",
			now.Add(-time.Hour).UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), server.Bucket)
		found, err := client.QueryAPI(server.Org).Query(t.Context(), variables+target.Query)
		if err != nil {
			t.Errorf("%s: %v\n%s", where, err, target.Query)
			return
		}
		values := map[string]float64{}
		for found.Next() {
			record := found.Record()
			value, isNumber := record.Value().(float64)
			device, named := record.ValueByKey("device").(string)
			if _, field := record.ValueByKey("_field").(string); !isNumber || !named || !field {
				t.Errorf("%s answers %v, which no panel can name", where, record.Values())
			}
			values[device] += value
		}
		if found.Err() != nil || len(values) == 0 {
			t.Errorf("%s answers nothing: %v", where, found.Err())
		}
		if strings.Contains(where, "Power balance") {
			sum := 0.0
			for _, value := range values {
				sum += value
			}
			if len(values) != 5 || math.Abs(sum) > 1e-9 || values["load"] != -80 {
				t.Errorf("%s answers %v, which add up to %v", where, values, sum)
			}
		}
	})
	if queries < 10 {
		t.Errorf("%d queries were tried", queries)
	}
}
