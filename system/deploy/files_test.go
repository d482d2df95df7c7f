package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/system/ems"
)

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, file)), into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestPrometheusAsksEveryServiceWhereItListens(t *testing.T) {
	var file struct {
		Jobs []struct {
			Name   string `yaml:"job_name"`
			Path   string `yaml:"metrics_path"`
			Static []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, "prometheus.yml", &file)
	asked := map[string][]string{}
	for _, job := range file.Jobs {
		if job.Path != "" {
			t.Errorf("job %s asks for %s", job.Name, job.Path)
		}
		for _, static := range job.Static {
			asked[job.Name] = append(asked[job.Name], static.Targets...)
		}
	}
	var services []string
	for _, target := range ems.Targets {
		services = append(services, fmt.Sprintf("%s:%d", target, target.Port()))
	}
	slices.Sort(services)
	slices.Sort(asked["voltage"])
	want := map[string][]string{"voltage": services, "bench": {"host.docker.internal:9464"}, "prometheus": {"127.0.0.1:9090"}}
	if !reflect.DeepEqual(asked, want) {
		t.Errorf("Prometheus asks %v\nwant            %v", asked, want)
	}
}

// instruction is one instruction of a Dockerfile, its continuation lines joined.
type instruction struct{ name, rest string }

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	var list []instruction
	joined := strings.ReplaceAll(read(t, "Dockerfile"), "\\\n", " ")
	for line := range strings.Lines(joined) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			name, rest, _ := strings.Cut(line, " ")
			list = append(list, instruction{name, strings.Join(strings.Fields(rest), " ")})
		}
	}
	return list
}

func TestDockerfileBuildsBothProgramsFromPinnedImages(t *testing.T) {
	stages := map[string]string{} // name -> image or stage that it begins with
	users, entries := map[string]string{}, map[string]string{}
	ignored := read(t, "Dockerfile.dockerignore")
	stage := ""
	for _, one := range dockerfile(t) {
		words := strings.Fields(one.rest)
		switch one.name {
		case "FROM":
			if len(words) != 3 || words[1] != "AS" {
				t.Fatalf("stage %q has no name", one.rest)
			}
			stage = words[2]
			if _, isStage := stages[words[0]]; !isStage && !regexp.MustCompile(`^[a-z]+:\d+\.\d+\.\d+(-[a-z0-9.]+)?$`).MatchString(words[0]) {
				t.Errorf("the image %s is not pinned to a release", words[0])
			}
			stages[stage], users[stage], entries[stage] = words[0], users[words[0]], entries[words[0]]
		case "USER":
			users[stage] = one.rest
		case "ENTRYPOINT":
			entries[stage] = one.rest
		case "COPY":
			if strings.HasPrefix(words[0], "--from=") {
				if from := strings.TrimPrefix(words[0], "--from="); stages[from] == "" {
					t.Errorf("COPY from unknown stage %s", from)
				}
				continue
			}
			for _, source := range words[:len(words)-1] {
				if _, err := os.Stat(filepath.Join(root, source)); err != nil || !strings.Contains(ignored, "\n!"+source+"\n") {
					t.Errorf("%s is copied and is not there, or is ignored: %v", source, err)
				}
			}
		}
	}
	for target, entry := range map[string]string{"voltage": `["/usr/local/bin/voltage"]`, "voltlab": `["/usr/local/bin/voltlab"]`} {
		if users[target] != "10001:10001" || entries[target] != entry {
			t.Errorf("target %s runs %s as %s", target, entries[target], users[target])
		}
	}
	text := read(t, "Dockerfile")
	for _, want := range []string{"CGO_ENABLED=0", "-o /out/voltage ./system/cmd/voltage", "-o /out/voltlab ./simulators/cmd/voltlab"} {
		if !strings.Contains(text, want) {
			t.Errorf("the Dockerfile lacks %s", want)
		}
	}
	needed := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, root+"/go.mod"))
	if needed == nil || !strings.Contains(text, "FROM golang:"+needed[1]+".") {
		t.Errorf("go.mod needs Go %v and the image is another", needed)
	}
	// What goes to production holds nothing of the testbed.
	production, _, _ := strings.Cut(text, "FROM source AS build-voltlab")
	if strings.Contains(production, "simulators") || strings.Contains(production, "bench") {
		t.Error("the production image is built from the testbed")
	}
}

// unit is a systemd unit: section -> key -> values.
type unit map[string]map[string][]string

func readUnit(t *testing.T, file string) unit {
	t.Helper()
	parsed := unit{}
	section := ""
	for line := range strings.Lines(read(t, filepath.Join("systemd", file))) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			section = strings.Trim(line, "[]")
			parsed[section] = map[string][]string{}
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found || section == "" {
			t.Fatalf("%s: %q is no setting", file, line)
		}
		parsed[section][key] = append(parsed[section][key], strings.Fields(value)...)
	}
	return parsed
}

func TestSystemdRunsEveryServiceHardenedAfterTheFunctions(t *testing.T) {
	service, loader := readUnit(t, "voltage@.service"), readUnit(t, "voltage-functions.service")
	if got := strings.Join(service["Service"]["ExecStart"], " "); got != "/usr/local/bin/voltage serve --site /etc/voltage/site --target=%i" {
		t.Errorf("a service runs %s", got)
	}
	if got := strings.Join(loader["Service"]["ExecStart"], " "); got != "/usr/local/bin/voltage functions load" || loader["Service"]["Type"][0] != "oneshot" {
		t.Errorf("the loader runs %s as %v", got, loader["Service"]["Type"])
	}
	if !slices.Contains(service["Unit"]["After"], "voltage-functions.service") || !slices.Contains(service["Unit"]["Wants"], "voltage-functions.service") {
		t.Error("a service does not wait for the functions")
	}
	if got := loader["Service"]["EnvironmentFile"]; !slices.Equal(got, []string{"-/etc/voltage/environment", "-/etc/voltage/loader"}) {
		t.Errorf("the loader reads %v", got)
	}
	if got := service["Service"]["EnvironmentFile"]; !slices.Equal(got, []string{"-/etc/voltage/environment"}) {
		t.Errorf("a service reads %v, and may hold the rights of the loader", got)
	}
	for name, one := range map[string]unit{"voltage@.service": service, "voltage-functions.service": loader} {
		for key, want := range map[string]string{
			"DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes",
			"PrivateDevices": "yes", "RestrictNamespaces": "yes", "MemoryDenyWriteExecute": "yes", "Restart": "on-failure",
		} {
			if got := strings.Join(one["Service"][key], " "); got != want {
				t.Errorf("%s: %s=%s, want %s", name, key, got, want)
			}
		}
		if capabilities, set := one["Service"]["CapabilityBoundingSet"]; !set || len(capabilities) > 0 {
			t.Errorf("%s keeps capabilities %v", name, capabilities)
		}
	}
	wanted := readUnit(t, "voltage.target")["Unit"]["Wants"]
	before := readUnit(t, "voltage@apigateway.service.d/order.conf")["Unit"]["After"]
	for _, target := range ems.Targets {
		name := "voltage@" + string(target) + ".service"
		if !slices.Contains(wanted, name) {
			t.Errorf("voltage.target does not start %s", name)
		}
		if slices.Contains(before, name) == (target == ems.Apigateway) {
			t.Errorf("the gateway starts after %v, which is wrong about %s", before, target)
		}
	}
	if len(wanted) != len(ems.Targets)+1 || !slices.Contains(wanted, "voltage-functions.service") {
		t.Errorf("voltage.target starts %v", wanted)
	}
}

// systemd's own judgement, where there is a systemd. The program is not
// installed at its path here, so this one stands in for it.
func TestSystemdReadsTheUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("no systemd-analyze on this machine: the units are judged by their settings alone")
		return
	}
	folder := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"voltage@.service", "voltage-functions.service", "voltage.target", "voltage@apigateway.service.d/order.conf"} {
		path := filepath.Join(folder, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(read(t, filepath.Join("systemd", file)), "/usr/local/bin/voltage", program)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var units []string
	for _, target := range ems.Targets {
		units = append(units, filepath.Join(folder, "voltage@"+string(target)+".service"))
	}
	units = append(units, filepath.Join(folder, "voltage-functions.service"), filepath.Join(folder, "voltage.target"))
	command := exec.CommandContext(t.Context(), "systemd-analyze", append([]string{"verify", "--man=no"}, units...)...)
	command.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+folder+":")
	output, err := command.CombinedOutput()
	if err != nil || len(output) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, output)
	}
}
