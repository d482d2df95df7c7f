package managed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// influxOrganization is what clients of the version 2 interface send as their
// organization; version 1.8 takes any.
const influxOrganization = "voltage"

// Influx describes a managed InfluxDB 1.8 server on the loopback address, with
// the version 2 write and Flux query endpoints switched on.
type Influx struct {
	Binary   string // path of influxd
	Dir      string // of its data and configuration; created
	Port     int    // of HTTP
	RPCPort  int    // of backup and restore
	User     string // the administrator, created at the first start
	Password string
	Database string // created where missing
	Line     func(string)
}

// URL returns the base address of the HTTP interface.
func (i *Influx) URL() string { return "http://" + localAddress(i.Port) }

// Token returns what clients of the version 2 interface present.
func (i *Influx) Token() string { return i.User + ":" + i.Password }

// Organization returns what clients of the version 2 interface name.
func (i *Influx) Organization() string { return influxOrganization }

// Bucket returns the database and its retention policy, as clients of the
// version 2 interface name them.
func (i *Influx) Bucket() string { return i.Database + "/autogen" }

// Start starts the server.
func (i *Influx) Start(context.Context) (*Process, error) {
	if strings.ContainsAny(i.User, ": ") || strings.Contains(i.Password, " ") {
		return nil, ems.Errorf(ems.CodeInvalid, "InfluxDB user %q: its name and password travel as one token name:password, so neither may hold a blank and the name no colon", i.User)
	}
	config := filepath.Join(i.Dir, "influxdb.conf")
	if err := writeConfiguration(config, i.configuration()); err != nil {
		return nil, err
	}
	return StartProcess(Command{
		Name: "influxd", Path: i.Binary, Args: []string{"run", "-config", config},
		Env: withoutPrefix(os.Environ(), "INFLUXDB_"), Line: i.Line, DeathSignal: syscall.SIGTERM,
	})
}

// withoutPrefix drops variables that would override the configuration file.
func withoutPrefix(environment []string, prefix string) []string {
	var kept []string
	for _, entry := range environment {
		if !strings.HasPrefix(entry, prefix) {
			kept = append(kept, entry)
		}
	}
	return kept
}

func (i *Influx) configuration() string {
	folder := func(name string) string { return strconv.Quote(filepath.Join(i.Dir, name)) }
	return fmt.Sprintf(`reporting-disabled = true
bind-address = %q

[meta]
  dir = %s

[data]
  dir = %s
  wal-dir = %s
  query-log-enabled = false

[http]
  bind-address = %q
  auth-enabled = true
  flux-enabled = true
  log-enabled = false
  suppress-write-log = true

[logging]
  level = "warn"
  suppress-logo = true

[monitor]
  store-enabled = false

[continuous_queries]
  enabled = false
`, localAddress(i.RPCPort), folder("meta"), folder("data"), folder("wal"), localAddress(i.Port))
}

// Probe answers nil once the server answers HTTP.
func (i *Influx) Probe(ctx context.Context, _ int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.URL()+"/ping", nil)
	if err != nil {
		return ems.Errorf(ems.CodeInvalid, "InfluxDB address: %w", err)
	}
	response, err := influxClient().Do(request)
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB does not answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB on %s answered /ping with %s", i.URL(), response.Status)
	}
	return nil
}

// influxClient keeps no connection open: it is used a few times at start.
func influxClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
}

// Prepare creates the administrator on a new server, and the database where it
// is missing. The code of its error is Denied when the data folder belongs to
// another administrator or password.
func (i *Influx) Prepare(ctx context.Context) error {
	create := fmt.Sprintf("CREATE USER %s WITH PASSWORD %s WITH ALL PRIVILEGES", quoteName(i.User), quoteText(i.Password))
	// Denied means that there is an administrator already.
	if err := i.query(ctx, create, false); err != nil && ems.CodeOf(err) != ems.CodeDenied {
		return err
	}
	err := i.query(ctx, "CREATE DATABASE "+quoteName(i.Database), true)
	if err != nil && ems.CodeOf(err) == ems.CodeDenied {
		return ems.Errorf(ems.CodeDenied, "InfluxDB in %s refuses user %q: it was set up with another name or password; use those, or remove the folder and its history: %w", i.Dir, i.User, err)
	}
	return err
}

// query runs one InfluxQL statement.
func (i *Influx) query(ctx context.Context, statement string, authorized bool) error {
	form := url.Values{"q": {statement}}.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, i.URL()+"/query", strings.NewReader(form))
	if err != nil {
		return ems.Errorf(ems.CodeInvalid, "InfluxDB address: %w", err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorized {
		request.SetBasicAuth(i.User, i.Password)
	}
	response, err := influxClient().Do(request)
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB does not answer: %w", err)
	}
	defer response.Body.Close()
	return readInfluxAnswer(response)
}

const largestAnswer = 1 << 20 // bytes

func readInfluxAnswer(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, largestAnswer))
	if err != nil {
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB broke off its answer: %w", err)
	}
	var answer struct {
		Error   string `json:"error"`
		Results []struct {
			Error string `json:"error"`
		} `json:"results"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB answered %s with no JSON: %w", response.Status, err)
	}
	for _, result := range answer.Results {
		if answer.Error == "" {
			answer.Error = result.Error
		}
	}
	switch {
	case response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden:
		return ems.Errorf(ems.CodeDenied, "InfluxDB answered %s: %s", response.Status, answer.Error)
	case response.StatusCode != http.StatusOK || answer.Error != "":
		return ems.Errorf(ems.CodeUnavailable, "InfluxDB answered %s: %s", response.Status, answer.Error)
	default:
		return nil
	}
}

func quoteName(name string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

func quoteText(text string) string {
	return `'` + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + `'`
}
