package config

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Channel is one connection to field devices and the points behind it.
type Channel struct {
	ID          ems.ChannelID
	Name        string
	Description string
	Protocol    string        // a driver's name, for example "modbus_tcp"
	Address     string        // host:port, or what else the protocol takes
	PollPeriod  time.Duration // of the default poll group
	PollGroups  PollGroups    // all others
	Timeout     time.Duration // for one request and its whole answer
	Enabled     bool
	Modbus      Modbus
	Serial      Serial             // of modbus_rtu
	Points      []MappedPoint      // telemetry, signals, controls, adjustments; by id within each
	Interlocks  []Interlock        // what must hold before a point is written
	Heartbeat   *Heartbeat         // nil is none
	SafeState   map[string]float64 // "A:3" and what is written to it once when comsrv is stopped
	Virtual     Virtual            // of a virtual channel
	GRPC        GRPC               // of one whose driver is another process
}

// MappedPoint is a point and where the device keeps it.
type MappedPoint struct {
	ems.Point
	Mapping   Mapping
	ForReader string // the data_type that its table tells the reader, where no mapping has one
}

// channelsFile is the shape of channels.yaml.
type channelsFile struct {
	Channels []channelEntry `yaml:"channels"`
}

type channelEntry struct {
	ID          uint32             `yaml:"id"`
	Name        string             `yaml:"name"`
	Description string             `yaml:"description"`
	Protocol    string             `yaml:"protocol"`
	Address     string             `yaml:"address"`
	PollPeriod  time.Duration      `yaml:"poll_period"`
	PollGroups  PollGroups         `yaml:"poll_groups"`
	Timeout     time.Duration      `yaml:"timeout"`
	Enabled     *bool              `yaml:"enabled"`
	Interlocks  []Interlock        `yaml:"interlocks"`
	Heartbeat   *Heartbeat         `yaml:"heartbeat"`
	SafeState   map[string]float64 `yaml:"safe_state"`
	Modbus      *modbusEntry       `yaml:"modbus"`
	Serial      *serialEntry       `yaml:"serial"`
	Virtual     *Virtual           `yaml:"virtual"`
	GRPC        *GRPC              `yaml:"grpc"`
}

// Defaults and bounds of a channel's timing.
const (
	defaultPollPeriod = time.Second
	leastPollPeriod   = 10 * time.Millisecond
	longestPollPeriod = 24 * time.Hour
	defaultTimeout    = time.Second
)

func (s *siteReader) readChannels() []Channel {
	var file channelsFile
	doc, ok := readDocument(s.path("channels.yaml"), "channels.yaml", &file, &s.faults)
	if !ok {
		return nil
	}
	seen := map[uint32]int{}
	channels := make([]Channel, 0, len(file.Channels))
	for i, entry := range file.Channels {
		at := []any{"channels", i}
		channel := s.channel(doc, at, entry)
		if entry.ID == 0 {
			doc.add(append(at, "id"), "a channel needs an id of 1 or more")
		} else if first, twice := seen[entry.ID]; twice {
			doc.add(append(at, "id"), "%d is already the id of channels[%d]: give each channel its own", entry.ID, first)
		} else {
			s.complete(doc, at, &channel)
		}
		seen[entry.ID] = i
		channels = append(channels, channel)
	}
	all := make([]placed, len(channels))
	for i := range channels {
		all[i] = placed{Channel: &channels[i], doc: doc, at: []any{"channels", i}}
	}
	checkInterlocks(all, channels)
	checkShared(all)
	checkWritten(all)
	return channels
}

// placed is a channel and where it is written.
type placed struct {
	*Channel
	doc *document
	at  []any
}

// below is the path of what stands in the entry of the channel.
func (p placed) below(path ...any) []any { return append(slices.Clone(p.at), path...) }

// complete reads the points of a channel, and what is checked against them.
func (s *siteReader) complete(doc *document, at []any, channel *Channel) {
	channel.Points = s.readPoints(channel)
	if channel.Protocol == ProtocolVirtual {
		channel.checkVirtual(doc, append(at, "virtual"))
	}
	channel.checkLoss(doc, at)
}

func (s *siteReader) channel(doc *document, at []any, entry channelEntry) Channel {
	channel := Channel{
		ID: ems.ChannelID(entry.ID), Name: entry.Name, Description: entry.Description,
		Protocol: entry.Protocol, Address: entry.Address,
		PollPeriod: entry.PollPeriod, PollGroups: entry.PollGroups, Timeout: entry.Timeout,
		Enabled: entry.Enabled == nil || *entry.Enabled, Interlocks: entry.Interlocks,
		Heartbeat: entry.Heartbeat, SafeState: entry.SafeState,
	}
	if channel.PollPeriod == 0 {
		channel.PollPeriod = defaultPollPeriod
	}
	if channel.Timeout == 0 {
		channel.Timeout = min(defaultTimeout, channel.ShortestPeriod()/entry.Modbus.tries())
	}
	variable := "COMSRV_CHANNEL_" + uintText(entry.ID) + "_ADDRESS"
	address := s.environment[variable]
	if address != "" {
		channel.Address = address
	}
	if entry.Name == "" {
		doc.add(append(at, "name"), "a channel needs a name")
	}
	checkProse(doc, append(at, "name"), entry.Name, maxChannelName)
	checkProse(doc, append(at, "description"), strings.ReplaceAll(entry.Description, "\n", " "), maxDescription)
	if entry.Protocol == "" {
		doc.add(append(at, "protocol"), "a channel needs a protocol, for example modbus_tcp")
	} else if len(s.protocols) > 0 && !contains(s.protocols, entry.Protocol) {
		doc.add(append(at, "protocol"), "no driver for %q: use one of %s", entry.Protocol, listText(s.protocols))
	}
	if err := CheckDevice(channel.Protocol, channel.Address); err != nil && address != "" {
		s.faults.add("environment", 0, "%s: %v", variable, err)
	} else if err != nil {
		doc.add(append(at, "address"), "%v", err)
	}
	channel.checkPeriods(doc, at)
	s.readSections(doc, at, entry, &channel)
	return channel
}

// Bounds of what people call a channel, in bytes.
const (
	maxChannelName = 100
	maxDescription = 1000
)

// checkProse refuses what would spoil a line of a log or of a screen.
func checkProse(doc *document, at []any, text string, most int) {
	if len(text) > most || strings.ContainsFunc(text, unicode.IsControl) {
		doc.add(at, "has control characters, or more than %d bytes", most)
	}
}
