package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

func TestSettingsComeFromDefaultThenYAMLThenEnvironment(t *testing.T) {
	for _, test := range []struct {
		name        string
		target      ems.Target
		environment []string
		redis       string
	}{
		{"section for all", ems.Comsrv, nil, "redis://redis:6379"},
		{"section of the service", ems.Hissrv, nil, "redis://history:6379"},
		{"environment for all", ems.Hissrv, []string{"VOLTAGE_REDIS_URL=redis://all:1"}, "redis://all:1"},
		{"environment of the service", ems.Hissrv, []string{"HISSRV_REDIS_URL=redis://one:1", "VOLTAGE_REDIS_URL=redis://all:1"}, "redis://one:1"},
		{"environment of another service", ems.Comsrv, []string{"HISSRV_REDIS_URL=redis://one:1"}, "redis://redis:6379"},
	} {
		service, err := config.ReadService(sound, test.target, test.environment)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if service.RedisURL != test.redis {
			t.Errorf("%s: redis_url %s, want %s", test.name, service.RedisURL, test.redis)
		}
	}
}

func TestDefaultsAndEndpoints(t *testing.T) {
	service, err := config.ReadService(sound, ems.Apigateway, []string{
		"COMSRV_URL=http://comsrv:6000", "APIGATEWAY_LISTEN=0.0.0.0:80", "VOLTAGE_INFLUX_TOKEN=secret", "APIGATEWAY_CORS_ORIGINS=http://a,http://b",
	})
	if err != nil {
		t.Fatal(err)
	}
	if service.Listen != "0.0.0.0:80" || service.Influx.Token != "secret" || service.Influx.URL != "http://127.0.0.1:8086" || len(service.CORSOrigins) != 2 {
		t.Errorf("got %+v", service)
	}
	if service.Endpoints[ems.Comsrv] != "http://comsrv:6000" || service.Endpoints[ems.Netsrv] != "http://127.0.0.1:6006" {
		t.Errorf("endpoints %v", service.Endpoints)
	}
	history, err := config.ReadService(sound, ems.Hissrv, nil)
	if err != nil || history.CollectionPeriod != 5*time.Second || history.Listen != "127.0.0.1:6004" {
		t.Errorf("got %+v, %v", history, err)
	}
}

func TestBadSettingsNameTheirPlace(t *testing.T) {
	dir := t.TempDir()
	text := "site:\n  name: x\nall:\n  redis_url: http://redis\ncomsrv:\n  log_level: loud\n"
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.ReadService(dir, ems.Comsrv, []string{"COMSRV_LISTEN=nowhere", "VOLTAGE_COLLECTION_PERIOD=often"})
	for _, want := range []string{
		`site.yaml:4: all.redis_url: "http://redis" is not a URL of the form redis://`,
		`site.yaml:6: comsrv.log_level: unknown level "loud"`,
		"environment: listen of comsrv: \"nowhere\" is not host:port",
		"environment: VOLTAGE_*:",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got:\n%v\nwant: %s", err, want)
		}
	}
}

// TestNoPartOfAPasswordIsTold, however a URL is malformed and wherever it stands.
func TestNoPartOfAPasswordIsTold(t *testing.T) {
	for _, url := range []string{
		"ftp://user:s3cret@h:1", "ftp://s3cret@h:1", "ftp://h:1/?token=s3cret", "redis://:pa%zzs3cret@h:1", "http://:s3cret%zz@h:1",
		"user:s3cret@h:1", "redis:user:s3cret@h:1", "http:user:s3cret@h", "redis://:1/s3cret@h:1", "redis://:1?s3cret@h:1", "redis://:1#s3cret@h:1",
		"redis://u:s3cret@h:port", "redis://u:x@h:1/s3cret@h", "s3cret", "/s3cret@h", "://u:s3cret@h", "http://u:s3cret@",
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(sound)); err != nil {
			t.Fatal(err)
		}
		text := "enabled: true\ntarget: \"" + url + "\"\n"
		if err := os.WriteFile(filepath.Join(dir, "forward.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		check := func(what string, err error, wanted bool) {
			if wanted && err == nil {
				t.Errorf("%s %s was taken", what, url)
			} else if err != nil && (strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "%zz")) {
				t.Errorf("%s %s is told as %v", what, url, err)
			}
		}
		_, err := config.ReadSite(dir, nil, protocols())
		check("target", err, !strings.HasPrefix(url, "http:/"))
		for _, name := range []string{"VOLTAGE_REDIS_URL", "VOLTAGE_INFLUX_URL", "COMSRV_URL"} {
			_, err := config.ReadService(sound, ems.Comsrv, []string{name + "=" + url})
			check(name, err, name == "VOLTAGE_REDIS_URL" && !strings.Contains(url, "#"))
		}
	}
	_, err := config.ReadService(sound, ems.Comsrv, []string{"VOLTAGE_REDIS_URL=http://user:s3cret@h:1"})
	if want := `environment: redis_url of comsrv: "http://xxxxx@h:1" is not a URL of the form redis://host:port`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestARedisURLNamesADatabaseByNumber(t *testing.T) {
	for url, sound := range map[string]bool{
		"redis://h:1/7": true, "redis://h": true, "rediss://u:p%2Fw@h:1/": true, "unix:///run/redis.sock": true,
		"redis://h:1/seven": false, "redis://h:1/1/2": false, "redis://:12/pw@h:1": false, "unix://": false,
	} {
		if _, err := config.ReadService("testdata/site", ems.Comsrv, []string{"VOLTAGE_REDIS_URL=" + url}); sound != (err == nil) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestListenIsHostAndPort(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:0": "", ":6000": "", "[::1]:65535": "", "0.0.0.0:80": "",
		"nowhere":         `"nowhere" is not host:port`,
		"127.0.0.1:abc":   `port "abc" is not a number from 0 to 65535`,
		"127.0.0.1:65536": `port "65536" is not a number from 0 to 65535`,
		"127.0.0.1:":      `port "" is not a number from 0 to 65535`,
		"127.0.0.1:+80":   `port "+80" is not a number from 0 to 65535`,
		"127.0.0.1:http":  `port "http" is not a number from 0 to 65535`,
	} {
		service, err := config.ReadService(sound, ems.Comsrv, []string{"COMSRV_LISTEN=" + listen})
		switch {
		case want == "" && (err != nil || service.Listen != listen):
			t.Errorf("%s: %q, %v", listen, service.Listen, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), "environment: listen of comsrv: "+want)):
			t.Errorf("%s: got %v, want %s", listen, err, want)
		}
	}
}

// TestListenBelongsToOneService: for all it would give every service one address.
func TestListenBelongsToOneService(t *testing.T) {
	_, err := config.ReadService(sound, ems.Modsrv, []string{"VOLTAGE_LISTEN=127.0.0.1:7000"})
	if want := "environment: VOLTAGE_LISTEN would give every service one address: set MODSRV_LISTEN"; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v\nwant %s", err, want)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte("site:\n  name: x\nall:\n  listen: :7000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = config.ReadService(dir, ems.Modsrv, nil)
	if want := "site.yaml:4: all.listen: it would give every service one address: write it in the section of the service, modsrv.listen"; err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
