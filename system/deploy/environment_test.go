// Package deploy_test holds what a deployment is described with to what the
// programs really take and offer.
package deploy_test

import (
	"fmt"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// environment returns what a service gets, as os.Environ would give it.
func environment(service types.ServiceConfig) []string {
	var list []string
	for name, value := range service.Environment {
		if value != nil {
			list = append(list, name+"="+*value)
		}
	}
	slices.Sort(list)
	return list
}

// settings lists the names that the configuration of a service reads, after
// VOLTAGE_ or the name of the service.
func settings(of reflect.Type, prefix string) []string {
	var names []string
	for i := range of.NumField() {
		field := of.Field(i)
		if inner, ok := field.Tag.Lookup("envPrefix"); ok {
			names = append(names, settings(field.Type, prefix+inner)...)
		} else if name, ok := field.Tag.Lookup("env"); ok && name != "-" {
			names = append(names, prefix+name)
		}
	}
	return names
}

func TestEveryVariableIsOneThatTheServiceReads(t *testing.T) {
	loaded := project(t)
	folder, err := config.ReadSite(site, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	names := settings(reflect.TypeFor[config.Service](), "")
	for _, want := range []string{"LISTEN", "REDIS_URL", "INFLUX_TOKEN"} {
		if !slices.Contains(names, want) {
			t.Fatalf("the settings of a service are %v: %s is missing", names, want)
		}
	}
	check := func(service string, target ems.Target) {
		known := map[string]bool{}
		for _, name := range names {
			known["VOLTAGE_"+name] = true
			known[strings.ToUpper(string(target))+"_"+name] = true
		}
		if target == ems.Apigateway {
			for _, other := range ems.Targets {
				known[strings.ToUpper(string(other))+"_URL"] = true
			}
		}
		if target == ems.Comsrv {
			for _, channel := range folder.Channels {
				known[fmt.Sprintf("COMSRV_CHANNEL_%d_ADDRESS", channel.ID)] = true
			}
		}
		if target == ems.Netsrv {
			for _, one := range folder.Forward.Notify {
				known["NETSRV_NOTIFY_"+strings.ToUpper(one.Name)+"_URL"] = true
				known["NETSRV_NOTIFY_"+strings.ToUpper(one.Name)+"_AUTHORIZATION"] = true
			}
		}
		for name := range loaded.Services[service].Environment {
			if !known[name] {
				t.Errorf("%s gets %s, which it does not read", service, name)
			}
		}
	}
	for _, target := range ems.Targets {
		check(string(target), target)
	}
	check("functions", "none")
}

func TestTheEnvironmentMakesTheSettingsOfTheDeployment(t *testing.T) {
	loaded := project(t)
	for _, target := range ems.Targets {
		service := loaded.Services[string(target)]
		read, err := config.ReadService(site, target, environment(service))
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if want := fmt.Sprintf("0.0.0.0:%d", target.Port()); read.Listen != want {
			t.Errorf("%s listens on %s, want %s", target, read.Listen, want)
		}
		if read.RedisURL != "redis://voltage:testpassword@redis:6379" || read.LogLevel != "info" {
			t.Errorf("%s uses %s and logs from %s on", target, read.RedisURL, read.LogLevel)
		}
		want := []string{"serve", "--site", "/site", "--target", string(target)}
		if !slices.Equal([]string(service.Command), want) || service.Build.Target != "voltage" {
			t.Errorf("%s runs %v of target %s, want %v", target, service.Command, service.Build.Target, want)
		}
		if len(service.Volumes) != 1 || service.Volumes[0].Target != "/site" || !strings.HasSuffix(service.Volumes[0].Source, "/scenarios/microgrid") {
			t.Errorf("%s mounts %+v", target, service.Volumes)
		}
		switch target {
		case ems.Hissrv:
			if want := (config.Influx{URL: "http://influxdb:8086", Token: "test-token", Org: "voltage", Bucket: "ems_data"}); read.Influx != want {
				t.Errorf("hissrv writes to %+v, want %+v", read.Influx, want)
			}
		case ems.Apigateway:
			for _, other := range ems.Targets {
				want := fmt.Sprintf("http://%s:%d", other, other.Port())
				if other != ems.Apigateway && read.Endpoints[other] != want {
					t.Errorf("the gateway asks for %s at %s, want %s", other, read.Endpoints[other], want)
				}
			}
		}
	}
	if got := loaded.Services["redis"].Environment["REDISCLI_AUTH"]; got == nil || *got != "testpassword" {
		t.Error("Redis gets another password than the services")
	}
	if got := loaded.Services["redis"].Environment["LOADER_PASSWORD"]; got == nil || *got != "testloader" {
		t.Error("Redis gets another password than the loader")
	}
	if got := loaded.Services["functions"].Environment["VOLTAGE_REDIS_URL"]; got == nil || *got != "redis://loader:testloader@redis:6379" {
		t.Error("the functions are loaded into another Redis, or not by the loader")
	}
	for name, service := range loaded.Services {
		if holds := strings.Contains(strings.Join(environment(service), "\n"), "testloader"); holds != (name == "redis" || name == "functions") {
			t.Errorf("%s holds the password of the loader: %v", name, holds)
		}
	}
	influx := loaded.Services["influxdb"].Environment
	for name, want := range map[string]string{"ORG": "voltage", "BUCKET": "ems_data", "ADMIN_TOKEN": "test-token", "MODE": "setup"} {
		if got := influx["DOCKER_INFLUXDB_INIT_"+name]; got == nil || *got != want {
			t.Errorf("InfluxDB is set up with %s other than %s", name, want)
		}
	}
}

// Each channel leads to the device that its address in channels.yaml leads to
// on one machine.
func TestChannelsLeadToTheSimulatedDevices(t *testing.T) {
	loaded := project(t)
	var plant struct {
		Devices []struct{ ID, Listen string }
	}
	readYAML(t, site+"/plant.yaml", &plant)
	devices := map[string]string{} // port on one machine -> device
	for _, device := range plant.Devices {
		_, port, err := net.SplitHostPort(device.Listen)
		if err != nil {
			t.Fatal(err)
		}
		devices[port] = device.ID
	}
	listening := map[string]string{} // port in the container -> device
	simulators := loaded.Services["simulators"]
	for _, argument := range simulators.Command {
		flag, found := strings.CutPrefix(argument, "--listen=")
		if !found {
			continue
		}
		device, address, _ := strings.Cut(flag, "=")
		host, port, err := net.SplitHostPort(address)
		if err != nil || host != "0.0.0.0" {
			t.Errorf("device %s listens on %s", device, address)
		}
		listening[port] = device
	}
	if len(listening) != len(devices) || !slices.Equal(simulators.Command[:2], []string{"serve", "/plant"}) || simulators.Build.Target != "voltlab" {
		t.Errorf("the simulators run %v of target %s for the devices %v", simulators.Command, simulators.Build.Target, devices)
	}
	before, err := config.ReadSite(site, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	after, err := config.ReadSite(site, environment(loaded.Services["comsrv"]), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, channel := range after.Channels {
		host, port, err := net.SplitHostPort(channel.Address)
		if err != nil || host != "simulators" {
			t.Errorf("channel %d leads to %s", channel.ID, channel.Address)
		}
		_, local, err := net.SplitHostPort(before.Channels[i].Address)
		if err != nil || devices[local] == "" || listening[port] != devices[local] {
			t.Errorf("channel %d leads to %q in containers and to %q on one machine", channel.ID, listening[port], devices[local])
		}
	}
}

// The control room is told in the log until the environment says where it is.
func TestTheEnvironmentSaysWhereTheControlRoomIs(t *testing.T) {
	target := func(variables ...string) config.NotifyTarget {
		found, err := config.ReadSite(site, environment(project(t, variables...).Services["netsrv"]), nil)
		if err != nil {
			t.Fatal(err)
		}
		return found.Forward.Notify[0]
	}
	if got := target(); !got.Log || got.URL != "" || got.Authorization != "" {
		t.Errorf("without an address: %+v", got)
	}
	got := target("NETSRV_NOTIFY_CONTROL_ROOM_URL=https://alerts.example/in", "NETSRV_NOTIFY_CONTROL_ROOM_AUTHORIZATION=Bearer x")
	if got.Log || got.URL != "https://alerts.example/in" || got.Authorization != "Bearer x" {
		t.Errorf("with an address: %+v", got)
	}
}

// A plant of one's own: the site folder is another, and empty variables leave
// the addresses of its channels as they are.
func TestAPlantOfOnesOwnTakesThePlaceOfTheSimulatedOne(t *testing.T) {
	folder := t.TempDir()
	variables := []string{"SITE_DIR=" + folder, "HTTP_PORT=8080"}
	for _, name := range regexp.MustCompile(`COMSRV_CHANNEL_\d+_ADDRESS`).FindAllString(read(t, "example.env"), -1) {
		variables = append(variables, name+"=")
	}
	loaded := project(t, variables...)
	after, err := config.ReadSite(site, environment(loaded.Services["comsrv"]), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, channel := range after.Channels {
		if !strings.HasPrefix(channel.Address, "127.0.0.1:") {
			t.Errorf("channel %d leads to %s instead of where channels.yaml says", channel.ID, channel.Address)
		}
	}
	if mounted := loaded.Services["comsrv"].Volumes[0]; mounted.Source != folder || mounted.Target != "/site" {
		t.Errorf("comsrv mounts %+v", mounted)
	}
	if port := loaded.Services["nginx"].Ports[0].Published; port != "8080" {
		t.Errorf("nginx is published on %s", port)
	}
	for name, service := range loaded.Services {
		if _, waits := service.DependsOn["simulators"]; waits {
			t.Errorf("%s waits for the simulators, which a plant of one's own does without", name)
		}
	}
}
