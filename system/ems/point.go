// Package ems is the vocabulary of the system: the nouns that every service,
// the simulators and the tests share. It imports the standard library alone,
// so that anything may import it.
package ems

import (
	"fmt"
	"strconv"
	"strings"
)

// ChannelID numbers a channel: one connection to one or more field devices.
// Range 1 to 4294967295.
type ChannelID uint32

// PointID numbers a point within one channel and one type, starting from 1.
type PointID uint32

// PointType is the kind of a point: what it means and which way it flows.
type PointType byte

// The four remote types of supervisory control.
const (
	Telemetry  PointType = 'T' // a measurement, read from the device
	Signal     PointType = 'S' // a digital state, read from the device
	Control    PointType = 'C' // a digital command, written to the device
	Adjustment PointType = 'A' // an analogue setpoint, written to the device
)

// PointTypes lists every type in the order in which tables are shown.
var PointTypes = [...]PointType{Telemetry, Signal, Control, Adjustment}

func (t PointType) String() string { return string(rune(t)) }

// Writable reports whether a command may address a point of this type.
func (t PointType) Writable() bool { return t == Control || t == Adjustment }

// MarshalText writes the one-letter form.
func (t PointType) MarshalText() ([]byte, error) { return []byte{byte(t)}, nil }

// UnmarshalText reads the one-letter form.
func (t *PointType) UnmarshalText(text []byte) error {
	parsed, err := ParsePointType(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

// ParsePointType reads the one-letter form: T, S, C or A.
func ParsePointType(text string) (PointType, error) {
	if len(text) == 1 {
		for _, t := range PointTypes {
			if text[0] == byte(t) {
				return t, nil
			}
		}
	}
	return 0, Errorf(CodeInvalid, "unknown point type %q: use T (telemetry), S (signal), C (control) or A (adjustment)", text)
}

// PointRef names one point of the site. Its text form is the one that rules
// and histories use as a source: "comsrv:1001:T:1".
type PointRef struct {
	Channel ChannelID
	Type    PointType
	Point   PointID
}

func (r PointRef) String() string {
	return fmt.Sprintf("comsrv:%d:%s:%d", r.Channel, r.Type, r.Point)
}

// MarshalText writes the source form.
func (r PointRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the source form.
func (r *PointRef) UnmarshalText(text []byte) error {
	parsed, err := ParsePointRef(string(text))
	if err != nil {
		return err
	}
	*r = parsed
	return nil
}

// ParsePointRef reads "comsrv:{channel}:{type}:{point}".
func ParsePointRef(text string) (PointRef, error) {
	const form = "write it as comsrv:{channel}:{T|S|C|A}:{point}, for example comsrv:1001:T:1"
	parts := strings.Split(text, ":")
	if len(parts) != 4 || parts[0] != "comsrv" {
		return PointRef{}, Errorf(CodeInvalid, "unknown source %q: %s", text, form)
	}
	channel, err := ParseChannelID(parts[1])
	if err != nil {
		return PointRef{}, Errorf(CodeInvalid, "source %q: channel %q is not a number of 1 or more: %s", text, parts[1], form)
	}
	kind, err := ParsePointType(parts[2])
	if err != nil {
		return PointRef{}, Errorf(CodeInvalid, "source %q: %w", text, err)
	}
	point, err := ParsePointID(parts[3])
	if err != nil {
		return PointRef{}, Errorf(CodeInvalid, "source %q: point %q is not a number of 1 or more: %s", text, parts[3], form)
	}
	return PointRef{Channel: channel, Type: kind, Point: point}, nil
}

// ParseChannelID reads a decimal channel number of 1 or more.
func ParseChannelID(text string) (ChannelID, error) {
	number, err := parseID(text)
	if err != nil {
		return 0, Errorf(CodeInvalid, "channel %q is not a number of 1 or more", text)
	}
	return ChannelID(number), nil
}

// ParsePointID reads a decimal point number of 1 or more.
func ParsePointID(text string) (PointID, error) {
	number, err := parseID(text)
	if err != nil {
		return 0, Errorf(CodeInvalid, "point %q is not a number of 1 or more", text)
	}
	return PointID(number), nil
}

// parseID accepts the canonical decimal form only, because the text becomes
// part of a key: "01" and "1" must not name two things.
func parseID(text string) (uint32, error) {
	number, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, err
	}
	if number == 0 || strconv.FormatUint(number, 10) != text {
		return 0, strconv.ErrRange
	}
	return uint32(number), nil
}

// Point describes one row of a point table: how a raw value becomes a value in
// engineering units, and back.
type Point struct {
	ID       PointID   `json:"id"`
	Type     PointType `json:"type"`
	Name     string    `json:"name"`
	Scale    float64   `json:"scale"`   // T and A: value = raw x Scale + Offset; never 0
	Offset   float64   `json:"offset"`  // in Unit
	Unit     string    `json:"unit"`    // as shown, for example "kW"
	Reverse  bool      `json:"reverse"` // S and C: 0 and 1 change places
	Group    string    `json:"group"`   // poll group, DefaultGroup unless told otherwise
	Deadband float64   `json:"deadband,omitempty"`
	Min      *float64  `json:"min,omitempty"` // C and A: least value a command may carry; T and S: least plausible one
	Max      *float64  `json:"max,omitempty"` // C and A: greatest value a command may carry; T and S: greatest plausible one
	Safety
}

// DefaultGroup is the poll group of a point that names none.
const DefaultGroup = "default"

// FromRaw converts a raw device value to engineering units.
func (p *Point) FromRaw(raw float64) float64 {
	switch p.Type {
	case Signal, Control:
		if p.Reverse {
			return 1 - raw
		}
		return raw
	default:
		return raw*p.Scale + p.Offset
	}
}

// ToRaw converts a value in engineering units to what the device expects: the
// inverse of FromRaw.
func (p *Point) ToRaw(value float64) float64 {
	switch p.Type {
	case Signal, Control:
		if p.Reverse {
			return 1 - value
		}
		return value
	default:
		return (value - p.Offset) / p.Scale
	}
}

// Implausible says why a value that was read cannot be what it claims to be, and
// nothing where it can. Of what is written Min and Max bound commands alone: the
// device may hold what somebody else wrote.
func (p *Point) Implausible(value float64) string {
	below, above := p.Min != nil && value < *p.Min, p.Max != nil && value > *p.Max
	if p.Type.Writable() || !below && !above {
		return ""
	}
	side, limits := "above", ""
	if below {
		side = "below"
	}
	switch {
	case p.Max == nil:
		limits = "least plausible value of " + limitText(*p.Min)
	case p.Min == nil:
		limits = "greatest plausible value of " + limitText(*p.Max)
	default:
		limits = "plausible range of " + limitText(*p.Min) + " to " + limitText(*p.Max)
	}
	return strings.TrimSpace(side + " the " + limits + " " + p.Unit)
}

func limitText(limit float64) string { return strconv.FormatFloat(limit, 'f', -1, 64) }

// CheckRange refuses a value that a command must not carry.
func (p *Point) CheckRange(value float64) error {
	switch {
	case p.Min != nil && value < *p.Min:
		return Errorf(CodeInvalid, "%v is below the least value of %s, %v %s", value, p.Name, *p.Min, p.Unit)
	case p.Max != nil && value > *p.Max:
		return Errorf(CodeInvalid, "%v is above the greatest value of %s, %v %s", value, p.Name, *p.Max, p.Unit)
	default:
		return nil
	}
}
