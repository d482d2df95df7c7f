package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// everyKey are channels that use every key there is.
const everyKey = `
  - id: 1
    name: meters
    description: all of them
    protocol: modbus_rtu
    address: /dev/ttyUSB0
    poll_period: 2s
    timeout: 300ms
    enabled: false
    serial: {baud_rate: 9600, parity: none, stop_bits: 2}
    modbus: {retries: 1, spacing: 20ms}
  - id: 2
    name: inverter
    protocol: modbus_tls
    address: 192.168.1.20:802
    modbus:
      own_connection: true
      tls: {ca: tls/theirs.pem, certificate: tls/ours.pem, key: tls/ours.key, server_name: inverter-1}
      max_registers: 60
      max_coils: 100
      max_gap: 2
      max_coil_gap: 3
      probe_after: 1m
      forbidden: [{unit: 1, function: 3, first: 100, last: 119}]
    interlocks:
      - {point: "A:1", value: 0, logic: OR, reason: open, conditions: [{source: "comsrv:2:A:1", operator: ">", value: 3}]}
    heartbeat: {point: "A:2", period: 1s, values: count}
    safe_state: {"A:1": 0}
  - id: 3
    name: site
    protocol: virtual
    virtual: {seed: 7, max_age: 5m, points: {power: {wave: sine, period: 24h, offset: 12, amplitude: 8, phase: 16h}}}
  - id: 4
    name: chiller
    protocol: grpc
    address: unix:/run/chiller.sock
    grpc: {settings: {folder: /sys}}
`

// everyTable are the tables of its channels.
func everyTable() map[string]map[string]string {
	const points, mapping = "point_id,signal_name,scale,offset,unit,reverse,data_type,deadband,min,max,max_step,max_rate,safe_value,select_timeout\n",
		"point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position\n"
	adjustments := map[string]string{
		"adjustment":         points + "1,limit,0.5,1,kW,,,,0,50,5,2.5,0,30s\n2,beat,1,0,,,,,,,,,,\n",
		"adjustment_mapping": mapping + "1,1,6,10,int16,AB,\n2,1,6,11,uint16,,\n",
	}
	return map[string]map[string]string{
		"1": {"telemetry": points + "1,power,1,0,kW,,,0.5,,,,,,\n", "telemetry_mapping": mapping + "1,5,3,0,float32,CDAB,\n"},
		"2": adjustments,
		"3": {"telemetry": points + "1,power,1,0,kW,,,,,,,,,\n"},
		"4": {"telemetry": points + "1,power,1,0,kW,,,,,,,,,\n", "telemetry_mapping": "point_id,address\n1,level\n"},
	}
}

// TestADocumentIsAnEntryOfChannelsYAML: what is read of it, as JSON and as YAML, is
// what is read of the site folder, whatever the key.
func TestADocumentIsAnEntryOfChannelsYAML(t *testing.T) {
	t.Parallel()
	dir := siteOf(t, everyKey)
	for channel, tables := range everyTable() {
		folder := filepath.Join(dir, "points", channel)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range tables {
			if err := os.WriteFile(filepath.Join(folder, name+".csv"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	site, err := config.ReadSite(dir, []string{"COMSRV_CHANNEL_4_ADDRESS=127.0.0.1:7001"}, []string{"modbus_rtu", "modbus_tls", "virtual", "grpc"})
	if err != nil {
		t.Fatal(err)
	}
	var entries []map[string]any
	if err := yaml.Unmarshal([]byte(everyKey), &entries); err != nil {
		t.Fatal(err)
	}
	for i, entry := range entries {
		entry["points"] = everyTable()[[]string{"1", "2", "3", "4"}[i]]
		asJSON, err := json.Marshal(entry)
		if err != nil {
			t.Fatal(err)
		}
		asYAML, err := yaml.Marshal(entry)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range [][]byte{asJSON, asYAML} {
			made, err := site.ParseChannel(text)
			if err != nil {
				t.Errorf("%v in\n%s", err, text)
				continue
			}
			if diff := cmp.Diff(site.Channels[i], made.Channel); diff != "" {
				t.Error(diff)
			}
		}
	}
	if site.Channels[3].Address != "127.0.0.1:7001" || len(site.Channels[1].Points) != 2 {
		t.Errorf("%+v", site.Channels)
	}
}

func TestFaultsOfADocument(t *testing.T) {
	t.Parallel()
	dir := siteOf(t, "  - {id: 1, name: a, protocol: virtual}\n")
	site, err := config.ReadSite(dir, nil, []string{"modbus_tls", "modbus_tcp", "virtual"})
	if err != nil {
		t.Fatal(err)
	}
	tls := "id: 7\nname: a\nprotocol: modbus_tls\naddress: a:802\nmodbus:\n  tls: {ca: %}\n"
	for text, want := range map[string]string{
		"":                            "channel: id: a channel needs an id of 1 or more",
		"[]":                          "channel:1: a list where an object is expected",
		"id: 7\nname: a\nprotocol: x": `channel:3: protocol: no driver for "x": use one of modbus_tls, modbus_tcp, virtual`,
		"id: 7\nname: \"a\\0\"\nprotocol: virtual":                                                                                           "channel:2: name: has control characters, or more than 100 bytes",
		"id: 7\nname: \"a\\nb\"\nprotocol: virtual":                                                                                          "channel:2: name: has control characters, or more than 100 bytes",
		"id: 7\nname: " + strings.Repeat("x", 101) + "\nprotocol: virtual":                                                                   "channel:2: name: has control characters, or more than 100 bytes",
		"id: 7\nname: a\nprotocol: virtual\ndescription: \"a\\eb\"":                                                                          "channel:4: description: has control characters, or more than 1000 bytes",
		"id: 7\nname: a\nprotocol: virtual\ndescription: " + strings.Repeat("x", 1001):                                                       "channel:4: description: has control characters, or more than 1000 bytes",
		"id: 7\nname: a\nprotocol: virtual\npoll_perod: 1s":                                                                                  `channel:4: unknown key "poll_perod": check its spelling and indentation`,
		"id: 7\nname: a\nprotocol: virtual\n---\nid: 8":                                                                                      "channel:4: a second YAML document: put everything into one",
		"id: 7\nname: a\nprotocol: virtual\npoints: {telemetry: \"point_id,signal_name,scale,offset,unit,reverse,data_type\\n1,=x,1,0,,,\"}": "points/7/telemetry.csv:2: signal_name",
		"id: 7\nname: a\nprotocol: virtual\npoints: {telemetri: x}":                                                                          `channel:4: points.telemetri: no table has this name: use one of telemetry`,
		"id: 7\nname: a\nprotocol: virtual\npoints: {telemetry: [1]}":                                                                        "channel:4: points.telemetry: a list where a text is expected",
		strings.Replace(tls, "%", "/etc/ssl/cert.pem", 1):                                                                                    `channel:6: modbus.tls.ca: "/etc/ssl/cert.pem" is not below the site folder`,
		strings.Replace(tls, "%", "../ours.pem", 1):                                                                                          `channel:6: modbus.tls.ca: "../ours.pem" is not below the site folder`,
		strings.Replace(tls, "%", "tls/../../ours.pem", 1):                                                                                   `channel:6: modbus.tls.ca: "tls/../../ours.pem" is not below the site folder`,
	} {
		_, err := site.ParseChannel([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%q\n got %v\nwant %s", text, err, want)
		}
	}
	longest := "id: 7\nname: " + strings.Repeat("x", 100) + "\nprotocol: virtual\ndescription: |\n  one line\n  " + strings.Repeat("x", 990) + "\n"
	for _, sound := range []string{strings.Replace(tls, "%", "tls/theirs.pem", 1), longest} {
		if _, err := site.ParseChannel([]byte(sound)); err != nil {
			t.Error(err)
		}
	}
}

// TestBesideMade finds points that the folder does not name, and asks once.
func TestBesideMade(t *testing.T) {
	t.Parallel()
	site := &config.Site{Channels: []config.Channel{{ID: 1, Name: "folder"}}}
	asked := 0
	whole := site.BesideMade(func(id ems.ChannelID) (string, bool) {
		asked++
		return `{"id": 7, "name": "made", "protocol": "virtual", "points": {"telemetry": "point_id,signal_name,scale,offset,unit,reverse,data_type\n1,x,1,0,,,"}}`, id == 7
	})
	for range 2 {
		_, here := whole.Point(ems.PointRef{Channel: 7, Type: ems.Telemetry, Point: 1})
		_, other := whole.Point(ems.PointRef{Channel: 7, Type: ems.Telemetry, Point: 2})
		_, none := whole.Channel(8)
		if channel, found := whole.Channel(1); !here || other || none || !found || channel.Name != "folder" {
			t.Error(here, other, none, found, channel)
		}
	}
	if _, found := site.Channel(7); found || asked != 2 {
		t.Errorf("found %v; asked %d times", found, asked)
	}
}
