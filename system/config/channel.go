package config

import (
	"time"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Channel is one connection to field devices and the points behind it.
type Channel struct {
	ID          ems.ChannelID
	Name        string
	Description string
	Protocol    string // a driver's name, for example "modbus_tcp"
	Address     string // host:port; of modbus_rtu the serial port, /dev/…
	PollPeriod  time.Duration
	Timeout     time.Duration // for one request and its whole answer
	Enabled     bool
	Modbus      Modbus
	Serial      Serial        // of modbus_rtu
	Points      []MappedPoint // telemetry, signals, controls, adjustments; by id within each
}

// MappedPoint is a point and where the device keeps it.
type MappedPoint struct {
	ems.Point
	Mapping Mapping
}

// Mapping is one row of a mapping table: a place in a device's register map.
type Mapping struct {
	Unit      uint8  // slave id, 0 to 255
	Function  uint8  // 1 to 6, 15 or 16
	Address   uint16 // as on the wire: from 0
	DataType  DataType
	ByteOrder ByteOrder
	Bit       int // within the register, 0 is the lowest; -1 when the whole register is meant
}

// DataType says how registers become a number.
type DataType string

// The data types of a mapping.
const (
	Bool    DataType = "bool"
	Int16   DataType = "int16"
	Uint16  DataType = "uint16"
	Int32   DataType = "int32"
	Uint32  DataType = "uint32"
	Int64   DataType = "int64"
	Uint64  DataType = "uint64"
	Float32 DataType = "float32"
	Float64 DataType = "float64"
)

// Registers returns how many 16-bit registers a value takes, 0 for an unknown
// type.
func (t DataType) Registers() int {
	switch t {
	case Bool, Int16, Uint16:
		return 1
	case Int32, Uint32, Float32:
		return 2
	case Int64, Uint64, Float64:
		return 4
	default:
		return 0
	}
}

// ByteOrder says in which order the bytes of a value travel: A is the most
// significant. The empty order is big-endian of the value's size.
type ByteOrder string

var byteOrders = map[int][]ByteOrder{
	1: {"AB", "BA"},
	2: {"ABCD", "DCBA", "BADC", "CDAB"},
	4: {"ABCDEFGH", "HGFEDCBA", "BADCFEHG", "GHEFCDAB"},
}

// channelsFile is the shape of channels.yaml.
type channelsFile struct {
	Channels []channelEntry `yaml:"channels"`
}

type channelEntry struct {
	ID          uint32        `yaml:"id"`
	Name        string        `yaml:"name"`
	Description string        `yaml:"description"`
	Protocol    string        `yaml:"protocol"`
	Address     string        `yaml:"address"`
	PollPeriod  time.Duration `yaml:"poll_period"`
	Timeout     time.Duration `yaml:"timeout"`
	Enabled     *bool         `yaml:"enabled"`
	Modbus      *modbusEntry  `yaml:"modbus"`
	Serial      *serialEntry  `yaml:"serial"`
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
			channel.Points = s.readPoints(channel.ID)
		}
		seen[entry.ID] = i
		channels = append(channels, channel)
	}
	checkShared(doc, channels)
	return channels
}

func (s *siteReader) channel(doc *document, at []any, entry channelEntry) Channel {
	channel := Channel{
		ID: ems.ChannelID(entry.ID), Name: entry.Name, Description: entry.Description,
		Protocol: entry.Protocol, Address: entry.Address,
		PollPeriod: entry.PollPeriod, Timeout: entry.Timeout,
		Enabled: entry.Enabled == nil || *entry.Enabled,
	}
	if channel.PollPeriod == 0 {
		channel.PollPeriod = defaultPollPeriod
	}
	if channel.Timeout == 0 {
		channel.Timeout = min(defaultTimeout, channel.PollPeriod/entry.Modbus.tries())
	}
	variable := "COMSRV_CHANNEL_" + uintText(entry.ID) + "_ADDRESS"
	address := s.environment[variable]
	if address != "" {
		channel.Address = address
	}
	if entry.Name == "" {
		doc.add(append(at, "name"), "a channel needs a name")
	}
	if entry.Protocol == "" {
		doc.add(append(at, "protocol"), "a channel needs a protocol, for example modbus_tcp")
	} else if len(s.protocols) > 0 && !contains(s.protocols, entry.Protocol) {
		doc.add(append(at, "protocol"), "no driver for %q: use one of %s", entry.Protocol, listText(s.protocols))
	}
	if err := checkChannelAddress(channel.Protocol, channel.Address); err != nil && address != "" {
		s.faults.add("environment", 0, "%s: %v", variable, err)
	} else if err != nil {
		doc.add(append(at, "address"), "%v", err)
	}
	if channel.PollPeriod < leastPollPeriod || channel.PollPeriod > longestPollPeriod {
		doc.add(append(at, "poll_period"), "%v is not between %v and %v", channel.PollPeriod, leastPollPeriod, longestPollPeriod)
	}
	if channel.Timeout < time.Millisecond || channel.Timeout > channel.PollPeriod {
		doc.add(append(at, "timeout"), "%v is not between 1ms and the poll period of %v", channel.Timeout, channel.PollPeriod)
	}
	s.readModbus(doc, at, entry, &channel)
	return channel
}
