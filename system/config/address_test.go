package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

func TestAnAddressIsOneHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:502": "127.0.0.1:502", "localhost:502": "127.0.0.1:502", "LOCALHOST.:0502": "127.0.0.1:502", "[::1]:502": "127.0.0.1:502",
		"[0:0:0:0:0:0:0:1]:502": "127.0.0.1:502", "[::ffff:127.0.0.1]:502": "127.0.0.1:502", "127.0.0.2:502": "127.0.0.2:502",
		"PLC-1.Site:502": "plc-1.site:502", "[2001:DB8:0::7]:502": "[2001:db8::7]:502", "plc:503": "plc:503",
		"/dev/ttyUSB0": "/dev/ttyUSB0", "unix:/run/A.sock": "unix:/run/A.sock", "": "",
	} {
		if got := config.PlainAddress(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}

// TestOnePlaceHasOnePointThatWritesIt, also where two channels lead to it: of both
// the points are named.
func TestOnePlaceHasOnePointThatWritesIt(t *testing.T) {
	t.Parallel()
	const first = "1,1,16,10,float32,,\n2,1,22,20,bits,,0-3\n3,1,5,30,bool,,\n"
	for name, test := range map[string]struct {
		channel, mapping string
		want             []string
	}{
		"the same": {`protocol: modbus_tcp, address: "LOCALHOST:502"`, "1,1,6,11,uint16,,\n", []string{
			"A:1 (b_1) writes to 11 of unit 1, as A:1 (a_1) of channel 1 does at the same device"}},
		"a bit of the same": {`protocol: modbus_tcp, address: "[::1]:502"`, "1,1,6,20,bool,,3\n", []string{
			"A:1 (b_1) writes to 20 of unit 1, as A:2 (a_2) of channel 1 does at the same device"}},
		"on a connection of its own": {`protocol: modbus_rtu_over_tcp, address: "127.0.0.1:502", modbus: {own_connection: true}`, "1,1,15,30,bool,,\n", []string{
			"A:1 (b_1) writes to 30 of unit 1, as A:3 (a_3) of channel 1 does at the same device"}},
		"other bits":      {`protocol: modbus_tcp, address: "localhost:502"`, "1,1,6,20,bool,,4\n", nil},
		"another unit":    {`protocol: modbus_tcp, address: "localhost:502"`, "1,2,6,11,uint16,,\n", nil},
		"another device":  {`protocol: modbus_tcp, address: "localhost:503"`, "1,1,6,11,uint16,,\n", nil},
		"not enabled":     {`protocol: modbus_tcp, address: "localhost:502", enabled: false`, "1,1,6,11,uint16,,\n", nil},
		"without devices": {`protocol: virtual`, "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := siteOf(t, fmt.Sprintf("  - {id: 1, name: a, protocol: modbus_tcp, address: \"127.0.0.1:502\"}\n  - {id: 2, name: b, %s}\n", test.channel))
			for file, text := range map[string]string{
				"1/adjustment": namedPoints(3, "a"), "1/adjustment_mapping": mappingHead + first,
				"2/adjustment": namedPoints(1, "b"), "2/adjustment_mapping": mappingHead + test.mapping,
			} {
				path := filepath.Join(dir, "points", filepath.FromSlash(file)+".csv")
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var want []string
			for _, fault := range test.want {
				want = append(want, "channels.yaml:3: channels[1].address: "+fault+": give each place one point that writes it")
			}
			_, err := config.ReadSite(dir, nil, protocols())
			if diff := cmp.Diff(want, details(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestChannelsMadeThroughTheAPIWriteNothingTwice beside those of the site folder.
func TestChannelsMadeThroughTheAPIWriteNothingTwice(t *testing.T) {
	t.Parallel()
	document := func(id int, address string) string {
		return fmt.Sprintf("{id: %d, name: c, protocol: modbus_tcp, address: %q, points: {control: %q, control_mapping: %q}}",
			id, address, namedPoints(1, "c"), mappingHead+"1,1,5,7,bool,,\n")
	}
	site := &config.Site{}
	var made []*config.MadeChannel
	for i, address := range []string{"localhost:502", "plc:502", "127.0.0.1:502"} {
		one, err := site.ParseChannel([]byte(document(i+7, address)))
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, one)
	}
	found := config.CheckTogether(nil, made)
	const want = "channel 9:1: address: C:1 (c_1) writes to 7 of unit 1, as C:1 (c_1) of channel 7 does at the same device: give each place one point that writes it"
	if len(found) != 1 || found[9] == nil || found[9].Error() != want || ems.CodeOf(found[9]) != ems.CodeInvalid {
		t.Errorf("%v", found)
	}
	if found := config.CheckTogether([]config.Channel{made[0].Channel}, []*config.MadeChannel{made[2].Switched(false), made[1]}); len(found) != 0 {
		t.Errorf("%v", found)
	}
}
