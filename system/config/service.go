package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Service is what one service needs to know. Each value comes from the first of
// these that has it: the service's own environment variable (COMSRV_REDIS_URL),
// the one for all (VOLTAGE_REDIS_URL), the service's section of site.yaml, the
// section for all, the default. The address to listen on is of one service alone:
// it has no place among what is for all.
type Service struct {
	Target   ems.Target
	Listen   string `env:"LISTEN"`    // host:port of its HTTP server
	RedisURL string `env:"REDIS_URL"` // redis://[user:password@]host:port[/db] or redis+cluster://[user:password@]host:port[,host:port…]
	LogLevel string `env:"LOG_LEVEL"` // debug, info, warn or error
	Influx   Influx `envPrefix:"INFLUX_"`
	// CollectionPeriod is how often hissrv empties the history stream.
	CollectionPeriod time.Duration `env:"COLLECTION_PERIOD"`
	// CORSOrigins may call the gateway from a browser; none by default.
	CORSOrigins []string `env:"CORS_ORIGINS" envSeparator:","`
	// Endpoints is where the gateway finds each service.
	Endpoints map[ems.Target]string `env:"-"`
}

// Influx is how to reach InfluxDB 2, or 1.8 with Flux enabled (there the token
// is "user:password" and the bucket "database/retention-policy").
type Influx struct {
	URL    string `env:"URL" yaml:"url"`
	Token  string `env:"TOKEN" yaml:"token"`
	Org    string `env:"ORG" yaml:"org"`
	Bucket string `env:"BUCKET" yaml:"bucket"`
}

// siteFile is the shape of site.yaml.
type siteFile struct {
	Site struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
	} `yaml:"site"`
	All        serviceSection `yaml:"all"`
	Comsrv     serviceSection `yaml:"comsrv"`
	Modsrv     serviceSection `yaml:"modsrv"`
	Alarmsrv   serviceSection `yaml:"alarmsrv"`
	Rulesrv    serviceSection `yaml:"rulesrv"`
	Hissrv     serviceSection `yaml:"hissrv"`
	Netsrv     serviceSection `yaml:"netsrv"`
	Apigateway serviceSection `yaml:"apigateway"`
}

type serviceSection struct {
	Listen           string        `yaml:"listen"`
	URL              string        `yaml:"url"`
	RedisURL         string        `yaml:"redis_url"`
	LogLevel         string        `yaml:"log_level"`
	Influx           Influx        `yaml:"influx"`
	CollectionPeriod time.Duration `yaml:"collection_period"`
	CORSOrigins      []string      `yaml:"cors_origins"`
}

func (f *siteFile) section(target ems.Target) serviceSection {
	switch target {
	case ems.Comsrv:
		return f.Comsrv
	case ems.Modsrv:
		return f.Modsrv
	case ems.Alarmsrv:
		return f.Alarmsrv
	case ems.Rulesrv:
		return f.Rulesrv
	case ems.Hissrv:
		return f.Hissrv
	case ems.Netsrv:
		return f.Netsrv
	default:
		return f.Apigateway
	}
}

// ReadService returns the settings of one service of the site in dir.
func ReadService(dir string, target ems.Target, environment []string) (Service, error) {
	var found faults
	var file siteFile
	reader := siteReader{dir: dir}
	doc, ok := readDocument(reader.path("site.yaml"), "site.yaml", &file, &found)
	if !ok {
		return Service{}, found.err()
	}
	service := Service{
		Target: target, Listen: fmt.Sprintf("127.0.0.1:%d", target.Port()),
		RedisURL: "redis://127.0.0.1:6379", LogLevel: "info", CollectionPeriod: time.Second,
		Influx: Influx{URL: "http://127.0.0.1:8086", Org: "voltage", Bucket: "ems_data"},
	}
	values := environmentMap(environment)
	if file.All.Listen != "" {
		doc.add([]any{"all", "listen"}, "it would give every service one address: write it in the section of the service, %s.listen", target)
		file.All.Listen = ""
	}
	if values["VOLTAGE_LISTEN"] != "" {
		found.add("environment", 0, "VOLTAGE_LISTEN would give every service one address: set %s_LISTEN", strings.ToUpper(string(target)))
	}
	delete(values, "VOLTAGE_LISTEN")
	service.apply(file.All)
	service.apply(file.section(target))
	for _, prefix := range []string{"VOLTAGE_", strings.ToUpper(string(target)) + "_"} {
		if err := env.ParseWithOptions(&service, env.Options{Environment: values, Prefix: prefix}); err != nil {
			found.add("environment", 0, "%s*: %v", prefix, err)
		}
	}
	service.Endpoints = map[ems.Target]string{}
	for _, other := range ems.Targets {
		endpoint := fmt.Sprintf("http://127.0.0.1:%d", other.Port())
		if text := file.section(other).URL; text != "" {
			endpoint = text
		}
		if text := values[strings.ToUpper(string(other))+"_URL"]; text != "" {
			endpoint = text
		}
		service.Endpoints[other] = endpoint
	}
	service.check(doc, values)
	return service, found.err()
}

func (s *Service) apply(section serviceSection) {
	overwrite(&s.Listen, section.Listen)
	overwrite(&s.RedisURL, section.RedisURL)
	overwrite(&s.LogLevel, section.LogLevel)
	overwrite(&s.Influx.URL, section.Influx.URL)
	overwrite(&s.Influx.Token, section.Influx.Token)
	overwrite(&s.Influx.Org, section.Influx.Org)
	overwrite(&s.Influx.Bucket, section.Influx.Bucket)
	overwrite(&s.CollectionPeriod, section.CollectionPeriod)
	if len(section.CORSOrigins) > 0 {
		s.CORSOrigins = section.CORSOrigins
	}
}

func overwrite[T comparable](value *T, with T) {
	var none T
	if with != none {
		*value = with
	}
}

// check reports a bad value at the line of the section that set it, or at the
// service where the environment did.
func (s *Service) check(doc *document, values map[string]string) {
	report := func(key []any, err error) {
		if err == nil {
			return
		}
		name := "_" + strings.ToUpper(strings.ReplaceAll(ems.PathText(key), ".", "_"))
		if values["VOLTAGE"+name] != "" || values[strings.ToUpper(string(s.Target))+name] != "" {
			doc.faults.add("environment", 0, "%s of %s: %v", ems.PathText(key), s.Target, err)
			return
		}
		for _, section := range []any{string(s.Target), "all"} {
			path := append([]any{section}, key...)
			if node := doc.node(path); doc.root != nil && node != doc.node(path[:len(path)-1]) {
				doc.add(path, "%v", err)
				return
			}
		}
		doc.faults.add("environment", 0, "%s of %s: %v", ems.PathText(key), s.Target, err)
	}
	report([]any{"listen"}, checkAddress(s.Listen, "127.0.0.1:6000", 0))
	report([]any{"redis_url"}, checkRedisURL(s.RedisURL))
	report([]any{"influx", "url"}, checkURL(s.Influx.URL, "http", "https"))
	if !contains([]string{"debug", "info", "warn", "error"}, s.LogLevel) {
		report([]any{"log_level"}, fmt.Errorf("unknown level %q: use debug, info, warn or error", s.LogLevel))
	}
	if s.CollectionPeriod < 10*time.Millisecond || s.CollectionPeriod > time.Hour {
		report([]any{"collection_period"}, fmt.Errorf("%v is not between 10ms and 1h", s.CollectionPeriod))
	}
	for _, target := range ems.Targets {
		if err := checkURL(s.Endpoints[target], "http", "https"); err != nil {
			place := "site.yaml"
			if values[strings.ToUpper(string(target))+"_URL"] != "" {
				place = "environment"
			}
			doc.faults.add(place, 0, "url of %s: %v", target, err)
		}
	}
}

// checkAddress refuses what is not host:port. Port 0, any free one, is for
// listening, which needs no host either.
func checkAddress(text, example string, leastPort uint64) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" && leastPort > 0 {
		return fmt.Errorf("%q is not host:port, for example %s", text, example)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number < leastPort {
		return fmt.Errorf("port %q is not a number from %d to 65535", port, leastPort)
	}
	return nil
}

// checkURL never tells a password: the text is shown without user and query, and
// not at all where it cannot be said which part of it is the password.
func checkURL(text string, schemes ...string) error {
	parsed, err := url.Parse(text)
	_, rest, _ := strings.Cut(text, "://")
	authority := strings.IndexAny(rest, "/?#")
	if err != nil || parsed.Opaque != "" || authority >= 0 && strings.Contains(rest[authority:], "@") {
		return fmt.Errorf("this is not a URL of the form %s://host:port, and not shown, as it may hold a password: "+
			"write %%25 for %%, %%2F for /, %%3F for ?, %%23 for # and %%40 for @ in user, password and path", schemes[0])
	}
	known := slices.Contains(schemes, parsed.Scheme)
	switch {
	case known && parsed.Scheme == "unix" && parsed.Path != "":
		return nil
	case parsed.Host == "":
		return fmt.Errorf("this is not a URL of the form %s://host:port", schemes[0])
	case !known:
		return fmt.Errorf("%q is not a URL of the form %s://host:port", withoutSecrets(*parsed), schemes[0])
	}
	if port := parsed.Port(); port != "" {
		if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
			return fmt.Errorf("%q: port %s is not a number from 1 to 65535", withoutSecrets(*parsed), port)
		}
	}
	return nil
}

func withoutSecrets(address url.URL) string {
	if address.User != nil {
		address.User = url.User("xxxxx")
	}
	address.RawQuery, address.Fragment = "", ""
	return address.String()
}

func checkRedisURL(text string) error {
	if scheme, rest, _ := strings.Cut(text, "+cluster://"); scheme == "redis" || scheme == "rediss" {
		return checkClusterURL(scheme, strings.TrimSuffix(rest, "/"))
	}
	if err := checkURL(text, "redis", "rediss", "unix"); err != nil {
		return err
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme == "unix" {
		return err
	}
	if database := strings.Trim(parsed.Path, "/"); database != "" {
		if _, err := strconv.ParseUint(database, 10, 16); err != nil {
			return fmt.Errorf("%q: what follows the / is the number of the database, for example redis://host:port/1", withoutSecrets(*parsed))
		}
	}
	return nil
}

// checkClusterURL checks [user:password@]host:port[,host:port…], one node after
// the other as if it were alone.
func checkClusterURL(scheme, rest string) error {
	nodes := strings.LastIndex(rest, "@") + 1
	for _, node := range strings.Split(rest[nodes:], ",") {
		if err := checkURL(scheme+"://"+rest[:nodes]+node, scheme); err != nil {
			return fmt.Errorf("a node of the cluster: %w", err)
		}
		if _, _, err := net.SplitHostPort(node); err != nil || strings.ContainsAny(node, "/?#") {
			return fmt.Errorf("a node of the cluster is not of the form host:port: write %s+cluster://host:port,host:port", scheme)
		}
	}
	return nil
}
