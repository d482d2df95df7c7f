// Package scenarios runs a plant folder, which is also a site folder, as a
// whole local system: Redis, InfluxDB, the simulated plant and the services.
// The end-to-end tests and "voltlab up" use the same description.
package scenarios

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/system/ems"
)

// folder is what the stack needs to know of a plant folder: who listens where,
// and who calls whom. Everything else in the files is checked by the programs
// that use it.
type folder struct {
	control  string // host:port of the plant's control API
	devices  []device
	channels []channel
}

type device struct {
	ID     string `yaml:"id"`
	Listen string `yaml:"listen"` // host:port; several units may share one
}

type channel struct {
	ID      ems.ChannelID `yaml:"id"`
	Address string        `yaml:"address"` // host:port
}

func readFolder(dir string) (folder, error) {
	var plant struct {
		Control string   `yaml:"control"`
		Devices []device `yaml:"devices"`
	}
	var site struct {
		Channels []channel `yaml:"channels"`
	}
	if err := readYAML(dir, "plant.yaml", &plant); err != nil {
		return folder{}, err
	}
	if err := readYAML(dir, "channels.yaml", &site); err != nil {
		return folder{}, err
	}
	if plant.Control == "" {
		return folder{}, ems.Errorf(ems.CodeInvalid, "%s names no control address: add a line like control: 127.0.0.1:5020", filepath.Join(dir, "plant.yaml"))
	}
	return folder{control: plant.Control, devices: plant.Devices, channels: site.Channels}, nil
}

func readYAML(dir, name string, into any) error {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ems.Errorf(ems.CodeInvalid, "%s is missing: a plant folder holds plant.yaml and the files of a site", path)
	}
	if err != nil {
		return ems.Errorf(ems.CodeInvalid, "%w", err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		return ems.Errorf(ems.CodeInvalid, "%s: %w", path, err)
	}
	return nil
}

// moveTo gives every listener of the plant a port from next, and every channel
// that called one of them the new address.
func (f *folder) moveTo(next func() (int, error)) error {
	moved := map[string]string{}
	move := func(address string) (string, error) {
		if to, done := moved[address]; done {
			return to, nil
		}
		port, err := next()
		if err != nil {
			return "", err
		}
		to := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if address != "" {
			moved[address] = to
		}
		return to, nil
	}
	for i := range f.devices {
		to, err := move(f.devices[i].Listen)
		if err != nil {
			return err
		}
		f.devices[i].Listen = to
	}
	control, err := move(f.control)
	if err != nil {
		return err
	}
	f.control = control
	for i := range f.channels {
		if to, ok := moved[f.channels[i].Address]; ok {
			f.channels[i].Address = to
		}
	}
	return nil
}
