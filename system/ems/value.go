package ems

import (
	"math"
	"strconv"
	"time"
)

// Quality says how far a value may be trusted.
type Quality uint8

// The qualities, best first.
const (
	Good      Quality = iota // read, in range, fresh
	Uncertain                // read, but the source doubts it
	Stale                    // once good, no fresh source time
	Bad                      // could not be read, or is not a value
)

var qualityNames = [...]string{Good: "good", Uncertain: "uncertain", Stale: "stale", Bad: "bad"}

func (q Quality) String() string {
	if int(q) < len(qualityNames) {
		return qualityNames[q]
	}
	return "unknown"
}

// MarshalText writes the lower-case name.
func (q Quality) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// UnmarshalText reads the lower-case name.
func (q *Quality) UnmarshalText(text []byte) error {
	parsed, err := ParseQuality(string(text))
	if err != nil {
		return err
	}
	*q = parsed
	return nil
}

// ParseQuality reads the lower-case name; the empty text is good, because only
// what is not good is stored.
func ParseQuality(text string) (Quality, error) {
	if text == "" {
		return Good, nil
	}
	for q, name := range qualityNames {
		if name == text {
			return Quality(q), nil
		}
	}
	return Bad, Errorf(CodeInvalid, "unknown quality %q: use good, uncertain, stale or bad", text)
}

// Value is one sample of one point in engineering units.
type Value struct {
	Number  float64
	Time    time.Time // when the source had it; zero if it was never read
	Quality Quality
}

// AppendNumber appends the form in which every number is stored: six decimals,
// never an exponent. It refuses what is not finite, which Redis would otherwise
// keep as text that no reader can compute with.
func AppendNumber(to []byte, number float64) ([]byte, error) {
	if math.IsNaN(number) || math.IsInf(number, 0) {
		return to, Errorf(CodeInvalid, "%v is not a finite number", number)
	}
	start := len(to)
	to = strconv.AppendFloat(to, number, 'f', 6, 64)
	if string(to[start:]) == "-0.000000" {
		to = append(to[:start], "0.000000"...)
	}
	return to, nil
}

// FormatNumber is AppendNumber into a new string.
func FormatNumber(number float64) (string, error) {
	text, err := AppendNumber(make([]byte, 0, 24), number)
	return string(text), err
}

// ParseNumber reads a stored number and refuses what is not finite.
func ParseNumber(text string) (float64, error) {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
		return 0, Errorf(CodeInvalid, "%q is not a finite number", text)
	}
	return number, nil
}

// UnixMS is the stored form of a time: milliseconds since 1970, 0 for the zero
// time.
func UnixMS(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// FromUnixMS is the inverse of UnixMS.
func FromUnixMS(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
