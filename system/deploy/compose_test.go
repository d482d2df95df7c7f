// Package deploy_test holds what a deployment is described with to what the
// programs really take and offer.
package deploy_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/voltageems/voltageems-go/system/ems"
)

const (
	root = "../.."
	site = root + "/scenarios/microgrid"
)

// secrets are what example.env asks for.
var secrets = []string{"REDIS_PASSWORD=testpassword", "REDIS_LOADER_PASSWORD=testloader", "INFLUX_TOKEN=test-token", "INFLUX_PASSWORD=test-password", "GRAFANA_PASSWORD=test-password"}

func load(ctx context.Context, environment ...string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{root + "/compose.yaml"}, cli.WithEnv(environment))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(ctx)
}

func project(t *testing.T, environment ...string) *types.Project {
	t.Helper()
	loaded, err := load(t.Context(), append(slices.Clone(secrets), environment...)...)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// loadAlone makes a process of this test load the file and do nothing else, so
// that its standard error holds the warnings of the loader alone.
const loadAlone = "VOLTAGE_TEST_LOAD_COMPOSE"

func TestComposeLoadsWithoutWarnings(t *testing.T) {
	if os.Getenv(loadAlone) != "" {
		if _, err := load(t.Context(), secrets...); err != nil {
			t.Fatal(err)
		}
		return
	}
	command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestComposeLoadsWithoutWarnings$")
	command.Env = append(os.Environ(), loadAlone+"=1")
	var warnings bytes.Buffer
	command.Stderr = &warnings
	if err := command.Run(); err != nil || warnings.Len() > 0 {
		t.Errorf("compose.yaml: %v\n%s", err, warnings.String())
	}
}

// The standard of comparison is docker compose itself, where there is one.
func TestDockerComposeReadsTheFile(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "docker", "compose", "version").Run(); err != nil {
		t.Log("no docker compose on this machine: compose.yaml is judged by compose-go alone")
		return
	}
	command := exec.CommandContext(t.Context(), "docker", "compose", "--file", "compose.yaml", "config", "--quiet")
	command.Dir = root
	command.Env = append(os.Environ(), secrets...)
	output, err := command.CombinedOutput()
	if err != nil || len(output) > 0 {
		t.Errorf("docker compose config: %v\n%s", err, output)
	}
	t.Log("compose.yaml is judged by compose-go and by docker compose")
}

func TestAMissingSecretIsNamedWithWhatToDo(t *testing.T) {
	for _, missing := range secrets {
		name, _, _ := strings.Cut(missing, "=")
		others := slices.DeleteFunc(slices.Clone(secrets), func(one string) bool { return one == missing })
		_, err := load(t.Context(), others...)
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "copy system/deploy/example.env to .env and fill it in") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	text := read(t, "example.env")
	for _, name := range regexp.MustCompile(`(?m)^#?([A-Z0-9_]+)=`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(read(t, root+"/compose.yaml"), "${"+name[1]) {
			t.Errorf("example.env offers %s, which compose.yaml does not use", name[1])
		}
	}
}

// startOrder returns at which step each service starts: after all that it
// depends on.
func startOrder(t *testing.T, loaded *types.Project) map[string]int {
	t.Helper()
	steps := map[string]int{}
	var step func(name string, path []string) int
	step = func(name string, path []string) int {
		if slices.Contains(path, name) {
			t.Fatalf("services wait for each other: %v", append(path, name))
		}
		if known, ok := steps[name]; ok {
			return known
		}
		after := 0
		for other := range loaded.Services[name].DependsOn {
			after = max(after, step(other, append(slices.Clone(path), name))+1)
		}
		steps[name] = after
		return after
	}
	for name := range loaded.Services {
		step(name, nil)
	}
	return steps
}

func TestServicesStartInTheOrderOfTheReference(t *testing.T) {
	loaded := project(t)
	want := map[string]int{
		"redis": 0, "influxdb": 0, "simulators": 0, "prometheus": 0,
		"functions": 1, "grafana": 1,
		"comsrv": 2, "modsrv": 2, "alarmsrv": 2, "rulesrv": 2, "hissrv": 2, "netsrv": 2,
		"apigateway": 3,
		"nginx":      4,
	}
	if got := startOrder(t, loaded); !reflect.DeepEqual(got, want) {
		t.Errorf("start order %v\nwant        %v", got, want)
	}
	if len(loaded.DisabledServices) > 0 {
		t.Errorf("services %v do not start by themselves", loaded.DisabledServices)
	}
	for name, service := range loaded.Services {
		for other, dependency := range service.DependsOn {
			condition := types.ServiceConditionHealthy
			if other == "functions" {
				condition = types.ServiceConditionCompletedSuccessfully
			}
			if dependency.Condition != condition || !dependency.Required {
				t.Errorf("%s waits for %s to be %s, want %s", name, other, dependency.Condition, condition)
			}
		}
	}
	depends := func(name string) []string {
		var others []string
		for other := range loaded.Services[name].DependsOn {
			others = append(others, other)
		}
		slices.Sort(others)
		return others
	}
	for name, want := range map[string][]string{
		"functions": {"redis"}, "comsrv": {"functions", "redis"}, "netsrv": {"functions", "redis"},
		"hissrv": {"functions", "influxdb", "redis"}, "nginx": {"apigateway"},
	} {
		if got := depends(name); !slices.Equal(got, want) {
			t.Errorf("%s waits for %v, want %v", name, got, want)
		}
	}
}

func TestEveryServiceHasAHealthCheckThatItsImageCanRun(t *testing.T) {
	loaded := project(t)
	want := map[string]string{
		"redis":      "CMD-SHELL redis-cli --user voltage ping | grep -q PONG",
		"influxdb":   "CMD influx ping --host http://127.0.0.1:8086",
		"simulators": "CMD wget -q -O /dev/null http://127.0.0.1:5020/health",
		"nginx":      "CMD wget -q -O /dev/null http://127.0.0.1/nginx-health",
		"prometheus": "CMD wget -q -O /dev/null http://127.0.0.1:9090/-/healthy",
		"grafana":    "CMD wget -q -O /dev/null http://127.0.0.1:3000/api/health",
	}
	for _, target := range ems.Targets {
		want[string(target)] = fmt.Sprintf("CMD wget -q -O /dev/null http://127.0.0.1:%d/health", target.Port())
	}
	for name, service := range loaded.Services {
		check := service.HealthCheck
		if name == "functions" { // it ends
			if check == nil || !check.Disable {
				t.Error("functions is checked for health and has ended")
			}
			continue
		}
		if check == nil || strings.Join(check.Test, " ") != want[name] {
			t.Errorf("%s is checked with %+v, want %s", name, check, want[name])
			continue
		}
		if check.Interval == nil || check.Timeout == nil || check.Retries == nil || check.StartPeriod == nil || *check.Timeout >= *check.Interval {
			t.Errorf("the check of %s is not bounded: %+v", name, check)
		}
	}
}

func TestServicesAreHardenedAndBounded(t *testing.T) {
	loaded := project(t)
	for name, service := range loaded.Services {
		if !service.ReadOnly || !slices.Equal(service.CapDrop, []string{"ALL"}) || len(service.CapAdd) > 0 || service.Privileged ||
			!slices.Contains(service.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s may do more than it needs", name)
		}
		if user, _, _ := strings.Cut(service.User, ":"); user == "" || user == "0" || user == "root" {
			t.Errorf("%s runs as user %q", name, service.User)
		}
		if limits := service.Deploy; limits == nil || limits.Resources.Limits == nil ||
			limits.Resources.Limits.MemoryBytes == 0 || limits.Resources.Limits.NanoCPUs == 0 {
			t.Errorf("%s may take all memory or processors", name)
		}
		if service.Logging == nil || service.Logging.Options["max-size"] == "" || service.Logging.Options["max-file"] == "" {
			t.Errorf("the log of %s may grow without bound", name)
		}
		wantRestart := "unless-stopped"
		if name == "functions" {
			wantRestart = "on-failure:5"
		}
		if service.Restart != wantRestart {
			t.Errorf("%s restarts %q, want %q", name, service.Restart, wantRestart)
		}
		if service.Image == "" || !regexp.MustCompile(`:v?\d+\.\d+|^voltageems/(voltage|voltlab):dev$`).MatchString(service.Image) {
			t.Errorf("the image of %s, %q, is not pinned", name, service.Image)
		}
		for _, volume := range service.Volumes {
			if volume.Type == types.VolumeTypeBind && !volume.ReadOnly {
				t.Errorf("%s may write to %s of the machine", name, volume.Source)
			}
			if volume.Type == types.VolumeTypeVolume && loaded.Volumes[volume.Source].Name == "" {
				t.Errorf("%s uses a volume without a name: %+v", name, volume)
			}
			if volume.Type == types.VolumeTypeBind {
				if _, err := os.Stat(volume.Source); err != nil {
					t.Errorf("%s mounts what is not there: %v", name, err)
				}
			}
		}
	}
}

func TestOnlyTheEntryIsReachableFromOutside(t *testing.T) {
	loaded := project(t)
	published := map[string]string{}
	for name, service := range loaded.Services {
		for _, port := range service.Ports {
			published[name] = net.JoinHostPort(port.HostIP, port.Published) + "->" + strconv.Itoa(int(port.Target))
		}
		if service.NetworkMode != "" {
			t.Errorf("%s has network mode %s", name, service.NetworkMode)
		}
	}
	want := map[string]string{"nginx": ":80->80", "prometheus": "127.0.0.1:9090->9090", "grafana": "127.0.0.1:3000->3000"}
	if !reflect.DeepEqual(published, want) {
		t.Errorf("published ports %v, want %v", published, want)
	}
	members := map[string][]string{}
	for name, service := range loaded.Services {
		for network := range service.Networks {
			members[network] = append(members[network], name)
		}
	}
	for _, names := range members {
		slices.Sort(names)
	}
	wantMembers := map[string][]string{
		"front": {"apigateway", "grafana", "nginx", "prometheus"},
		"back": {"alarmsrv", "apigateway", "comsrv", "functions", "grafana", "hissrv", "influxdb", "modsrv", "netsrv",
			"prometheus", "redis", "rulesrv"},
		"field":  {"comsrv", "simulators"},
		"uplink": {"netsrv"},
	}
	if !reflect.DeepEqual(members, wantMembers) {
		t.Errorf("networks %v\nwant     %v", members, wantMembers)
	}
	for name, network := range loaded.Networks {
		if network.Internal != (name == "back") {
			t.Errorf("network %s: internal is %v", name, network.Internal)
		}
	}
}
