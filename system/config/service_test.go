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
		"environment: listen of comsrv: address nowhere: missing port",
		"environment: VOLTAGE_*:",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got:\n%v\nwant: %s", err, want)
		}
	}
}
