package testbed

import (
	"testing"

	"github.com/voltageems/voltageems-go/simulators/plant"
)

// walkModels follows the list of models of a SunSpec device from its marker to its end,
// and returns where each begins.
func walkModels(t *testing.T, client foreign) map[int]uint16 {
	t.Helper()
	marker, err := client.values("holding", 40000, 2)
	if err != nil || len(marker) != 2 || marker[0] != 0x5375 || marker[1] != 0x6E53 {
		t.Fatalf("the marker is %x, %v", marker, err)
	}
	models := map[int]uint16{}
	for at := uint16(40002); ; {
		header, err := client.values("holding", at, 2)
		if err != nil || len(header) != 2 {
			t.Fatalf("the header at %d: %x, %v", at, header, err)
		}
		if header[0] == 0xFFFF {
			return models
		}
		models[int(header[0])] = at
		at += 2 + header[1]
	}
}

// Clients that nobody here wrote find the models of every SunSpec device that is on
// TCP, and limit its power where it can be limited.
func TestForeignClientsReadAndWriteThePark(t *testing.T) {
	t.Parallel()
	bed := startFrozen(t, solarStorage)
	walked, written := 0, 0
	for _, device := range bed.Plant().Definition().Devices {
		rows := sunspecModelsOf(t, solarStorage, device.Profile)
		if len(rows) == 0 || device.Transport.Kind != plant.TCP {
			continue
		}
		for name, client := range map[string]foreign{
			"mbpoll": mbpollTCP(t, bed.Address(device.ID), int(device.Unit)), "pymodbus": pymodbusTCP(t, bed.Address(device.ID), int(device.Unit)),
		} {
			models := walkModels(t, client)
			for _, row := range rows {
				if _, found := models[row.Model]; !found {
					t.Errorf("%s: %s has no model %d, but %v", name, device.ID, row.Model, models)
				}
			}
			walked++
			controls, limited := models[123]
			if !limited {
				continue
			}
			limit := controls + 2 + 3 // WMaxLimPct
			if err := client.write("holding", limit, 4321); err != nil {
				t.Errorf("%s: %s: %v", name, device.ID, err)
			}
			if back, err := client.values("holding", limit, 1); err != nil || len(back) != 1 || back[0] != 4321 {
				t.Errorf("%s: %s reads back %v, %v", name, device.ID, back, err)
			}
			if err := client.write("holding", controls, 1); err == nil {
				t.Errorf("%s: %s lets the id of a model be written", name, device.ID)
			}
			written++
		}
	}
	if walked < 2*14 || written < 2*14 {
		t.Errorf("%d devices walked, %d written", walked, written)
	}
}
