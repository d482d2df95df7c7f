package suite_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
	"github.com/voltageems/voltageems-go/system/rtdb"
	"github.com/voltageems/voltageems-go/system/suite"
	"github.com/voltageems/voltageems-go/system/testkit"
)

// newSite writes the smallest site there can be.
func newSite(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"site.yaml": "site:\n  name: small\n", "channels.yaml": "channels: []\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTargetsAreReadInStartOrder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]ems.Target{
		"all":                     ems.Targets[:],
		"hissrv,comsrv":           {ems.Comsrv, ems.Hissrv},
		" apigateway , modsrv ":   {ems.Modsrv, ems.Apigateway},
		"comsrv,comsrv":           {ems.Comsrv},
		"comsrv,kitchen":          nil,
		"":                        nil,
		"all,comsrv":              nil,
		"Comsrv":                  nil,
		"netsrv,rulesrv,alarmsrv": {ems.Alarmsrv, ems.Rulesrv, ems.Netsrv},
	} {
		got, err := suite.ParseTargets(text)
		if want == nil && ems.CodeOf(err) != ems.CodeInvalid || want != nil && (err != nil || !slices.Equal(got, want)) {
			t.Errorf("ParseTargets(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestEveryPortInUseIsNamedBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	var environment []string
	var taken []string
	for _, target := range ems.Targets {
		address := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
		if target == ems.Modsrv || target == ems.Netsrv {
			listener, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			taken = append(taken, fmt.Sprintf("%s cannot listen on %s", target, address))
		}
		environment = append(environment, strings.ToUpper(string(target))+"_LISTEN="+address)
	}
	err := suite.Run(t.Context(), suite.Options{
		SiteDir: newSite(t), Targets: ems.Targets[:], Environment: environment, Clock: ems.SystemClock{}, Log: io.Discard,
	})
	for _, want := range taken {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant: %s", err, want)
		}
	}
}

func TestAStartThatFailsHoldsNoPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	targets := []ems.Target{ems.Modsrv, ems.Alarmsrv, ems.Rulesrv, ems.Hissrv, ems.Netsrv, ems.Apigateway, ems.Comsrv}
	environment := []string{"COMSRV_LISTEN=" + taken.Addr().String()}
	free := map[ems.Target]string{}
	for _, target := range targets[:6] {
		free[target] = fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
		environment = append(environment, strings.ToUpper(string(target))+"_LISTEN="+free[target])
	}
	err = suite.Run(t.Context(), suite.Options{
		SiteDir: newSite(t), Targets: targets, Environment: environment, Clock: ems.SystemClock{}, Log: io.Discard,
	})
	if err == nil || !strings.Contains(err.Error(), "comsrv cannot listen on") {
		t.Fatal(err)
	}
	for target, address := range free {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("%s still listens: %v", target, err)
			continue
		}
		_ = listener.Close()
	}
}

func TestASuiteWithoutRedisStartsAndStopsWhenTold(t *testing.T) {
	t.Parallel()
	environment := []string{fmt.Sprintf("VOLTAGE_REDIS_URL=redis://127.0.0.1:%d", testkit.FreePort(t))}
	for _, target := range ems.Targets {
		environment = append(environment, fmt.Sprintf("%s_LISTEN=127.0.0.1:%d", strings.ToUpper(string(target)), testkit.FreePort(t)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := suite.Run(ctx, suite.Options{
		SiteDir: newSite(t), Targets: ems.Targets[:], Environment: environment, Clock: ems.SystemClock{}, Log: io.Discard,
	})
	if err != nil {
		t.Errorf("told to stop, it ended with %v", err)
	}
}

// The folder that is read again is the one that the suite was started with.
func TestModelsOfTheFolderAreReloaded(t *testing.T) {
	t.Parallel()
	redis, dir := testkit.Redis(t), newSite(t)
	db, err := rtdb.Open(rtdb.Options{URL: redis.URL, Clock: ems.SystemClock{}, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- suite.Run(ctx, suite.Options{
			SiteDir: dir, Targets: []ems.Target{ems.Modsrv}, Clock: ems.SystemClock{}, Log: io.Discard,
			Environment: []string{"VOLTAGE_REDIS_URL=" + redis.URL, "MODSRV_LISTEN=" + address},
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	template := "id: rack\nname: Rack\n"
	if err := os.Mkdir(filepath.Join(dir, "templates"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "templates", "rack.yaml"), []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		reply, err := http.Post("http://"+address+"/api/models/reload", "", nil)
		if err != nil {
			return err
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err == nil && reply.StatusCode != http.StatusOK {
			err = fmt.Errorf("%d %s", reply.StatusCode, text)
		}
		return err
	}, "the reload")
	found, err := db.Template(t.Context(), "rack")
	if err != nil || found.Name != "Rack" {
		t.Errorf("the template: %+v, %v", found, err)
	}
	// A fault in the settings of a service is a fault of the folder too.
	if err := os.WriteFile(filepath.Join(dir, "site.yaml"), []byte("site:\n  name: small\nmodsrv:\n  colour: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reply, err := http.Post("http://"+address+"/api/models/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if text, err := io.ReadAll(reply.Body); err != nil || reply.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), "site.yaml:4") {
		t.Errorf("%d %s %v", reply.StatusCode, text, err)
	}
}

func TestTheMicrogridIsSound(t *testing.T) {
	t.Parallel()
	site, err := suite.Check("../../scenarios/microgrid", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(site.Channels) != 5 || len(site.Models) != 5 {
		t.Errorf("%d channels, %d models", len(site.Channels), len(site.Models))
	}
}
