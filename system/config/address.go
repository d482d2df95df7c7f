package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// thisMachine stands for every name of the machine itself.
const thisMachine = "127.0.0.1"

// PlainAddress returns the one form that all ways to write the address of a device
// have in common: localhost, 127.0.0.1 and [::1] are one host, and capitals make
// no other. What is no host:port stays as it is.
func PlainAddress(address string) string {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil { // a socket
		return address
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	if host == "localhost" || host == netip.IPv6Loopback().String() {
		host = thisMachine
	}
	return net.JoinHostPort(host, strconv.FormatUint(port, 10))
}

// SameDevice reports whether two channels lead to one device, whatever frames they
// speak with it.
func (c *Channel) SameDevice(other *Channel) bool {
	return (c.Protocol == other.Protocol || IsModbus(c.Protocol) && IsModbus(other.Protocol)) &&
		c.Protocol != ProtocolVirtual && PlainAddress(c.Address) == PlainAddress(other.Address)
}

// checkWritten makes sure that no two channels of one device have points that write
// the same: each has limits and interlocks of its own, and one would undo the other.
func checkWritten(channels []placed) {
	written := map[string]writeTargets{}
	for _, channel := range channels {
		if !IsModbus(channel.Protocol) || !channel.Enabled {
			continue
		}
		address := PlainAddress(channel.Address)
		if written[address] == nil {
			written[address] = writeTargets{}
		}
		own := writeTargets{} // noted at the end: what is twice within a channel is told by its tables
		for i := range channel.Points {
			point := &channel.Points[i]
			if !point.Type.Writable() {
				continue
			}
			name := fmt.Sprintf("%s:%d (%s)", point.Type, point.ID, point.Name)
			if place, other := written[address].meets(&point.Mapping); other != "" {
				channel.doc.add(channel.below("address"), "%s writes to %d of unit %d, as %s does at the same device: give each place one point that writes it",
					name, place, point.Mapping.Unit, other)
			}
			own.add(&point.Mapping, fmt.Sprintf("%s of channel %d", name, channel.ID))
		}
		for at, bits := range own {
			written[address][at] = append(written[address][at], bits...)
		}
	}
}
