package testbed

import (
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/voltageems/voltageems-go/simulators/device"
	"github.com/voltageems/voltageems-go/simulators/document"
	"github.com/voltageems/voltageems-go/simulators/plant"
	"github.com/voltageems/voltageems-go/system/ems"
)

// loaded is a plant with the register map of each of its devices.
type loaded struct {
	definition *plant.Definition
	maps       map[string]*device.Map  // by device id
	views      map[string]*device.View // by device id
}

// load reads the plant.yaml of a folder and every profile that it names. The
// error lists all faults of all files.
func load(folder string, addresses plant.Addresses) (*loaded, error) {
	file := filepath.Join(folder, "plant.yaml")
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ems.Errorf(ems.CodeNotFound, "%s does not exist: name the folder of a plant, which holds a plant.yaml", file)
	}
	if err != nil {
		return nil, ems.Errorf(ems.CodeUnavailable, "the plant cannot be read: %w", err)
	}
	var faults document.Faults
	result := &loaded{
		definition: plant.ReadDefinition(file, data, addresses, &faults),
		maps:       map[string]*device.Map{}, views: map[string]*device.View{},
	}
	if result.definition != nil {
		result.bind(folder, file, &faults)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return result, nil
}

// Read reads a plant without running it, with all faults of its files as an error.
func Read(folder string, addresses plant.Addresses) (*plant.Definition, error) {
	source, err := load(folder, addresses)
	if err != nil {
		return nil, err
	}
	return source.definition, nil
}

func (l *loaded) bind(folder, file string, faults *document.Faults) {
	profiles := map[string]*device.Profile{}
	for _, one := range l.definition.Devices {
		if !filepath.IsLocal(one.Profile) { // noted already
			continue
		}
		profile, read := profiles[one.Profile]
		if !read {
			profile = readProfile(filepath.Join(folder, one.Profile), file, one, faults)
			profiles[one.Profile] = profile
		}
		quantities, setpoints := one.Names()
		if profile != nil && quantities != nil {
			view := device.NewView(quantities, [2]uint64{l.definition.Seed, numberOf(one.ID)})
			l.views[one.ID] = view
			l.maps[one.ID] = device.Bind(profile, view.Names(), setpoints, faults)
		}
	}
}

// numberOf makes the noise of each device one of its own.
func numberOf(id string) uint64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(id)) // a hash never fails
	return hash.Sum64()
}

func readProfile(path, file string, one plant.DeviceDefinition, faults *document.Faults) *device.Profile {
	data, err := os.ReadFile(path)
	if err != nil {
		faults.Add(file, one.Line, "the profile of device %s cannot be read: %v", one.ID, err)
		return nil
	}
	return device.ReadProfile(path, data, faults)
}
