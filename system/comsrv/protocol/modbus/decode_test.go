package modbus

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/config"
)

// vectors were written by hand from the definitions of the types and orders.
var vectors = []struct {
	data  config.DataType
	order config.ByteOrder
	wire  []byte
	want  float64
}{
	{config.Int16, "AB", []byte{0x12, 0x34}, 4660},
	{config.Int16, "BA", []byte{0x34, 0x12}, 4660},
	{config.Int16, "AB", []byte{0xff, 0xfe}, -2},
	{config.Int16, "AB", []byte{0x80, 0x00}, -32768},
	{config.Int16, "AB", []byte{0x7f, 0xff}, 32767},
	{config.Uint16, "AB", []byte{0xff, 0xfe}, 65534},
	{config.Uint16, "BA", []byte{0x01, 0x80}, 32769},

	{config.Uint32, "ABCD", []byte{0x12, 0x34, 0x56, 0x78}, 305419896},
	{config.Uint32, "DCBA", []byte{0x78, 0x56, 0x34, 0x12}, 305419896},
	{config.Uint32, "BADC", []byte{0x34, 0x12, 0x78, 0x56}, 305419896},
	{config.Uint32, "CDAB", []byte{0x56, 0x78, 0x12, 0x34}, 305419896},
	{config.Uint32, "ABCD", []byte{0xff, 0xff, 0xff, 0xff}, 4294967295},
	{config.Int32, "ABCD", []byte{0xff, 0xff, 0xff, 0xff}, -1},
	{config.Int32, "ABCD", []byte{0x80, 0x00, 0x00, 0x00}, -2147483648},
	{config.Int32, "CDAB", []byte{0x00, 0x00, 0x80, 0x00}, -2147483648},
	{config.Int32, "BADC", []byte{0xff, 0x7f, 0xff, 0xff}, 2147483647},

	// 0xBBA780 / 2^19 = 12298112 / 524288 = 23.456787109375, so its float32 is 0x41BBA780.
	{config.Float32, "ABCD", []byte{0x41, 0xbb, 0xa7, 0x80}, 23.456787109375},
	{config.Float32, "DCBA", []byte{0x80, 0xa7, 0xbb, 0x41}, 23.456787109375},
	{config.Float32, "BADC", []byte{0xbb, 0x41, 0x80, 0xa7}, 23.456787109375},
	{config.Float32, "CDAB", []byte{0xa7, 0x80, 0x41, 0xbb}, 23.456787109375},
	{config.Float32, "ABCD", []byte{0xc2, 0xc8, 0x00, 0x00}, -100},
	{config.Float32, "ABCD", []byte{0x80, 0x00, 0x00, 0x00}, math.Copysign(0, -1)},

	{config.Uint64, "ABCDEFGH", []byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x00}, 0x00112233445566 << 8},
	{config.Uint64, "HGFEDCBA", []byte{0x00, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00}, 0x00112233445566 << 8},
	{config.Uint64, "BADCFEHG", []byte{0x11, 0x00, 0x33, 0x22, 0x55, 0x44, 0x00, 0x66}, 0x00112233445566 << 8},
	{config.Uint64, "GHEFCDAB", []byte{0x66, 0x00, 0x44, 0x55, 0x22, 0x33, 0x00, 0x11}, 0x00112233445566 << 8},
	{config.Uint64, "ABCDEFGH", []byte{0x80, 0, 0, 0, 0, 0, 0, 0}, 9223372036854775808},
	{config.Int64, "ABCDEFGH", []byte{0x80, 0, 0, 0, 0, 0, 0, 0}, -9223372036854775808},
	{config.Int64, "ABCDEFGH", []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x9c}, -100},
	{config.Int64, "GHEFCDAB", []byte{0xff, 0x9c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, -100},

	// 12.5 as a float64 is 0x4029000000000000.
	{config.Float64, "ABCDEFGH", []byte{0x40, 0x29, 0, 0, 0, 0, 0, 0}, 12.5},
	{config.Float64, "HGFEDCBA", []byte{0, 0, 0, 0, 0, 0, 0x29, 0x40}, 12.5},
	{config.Float64, "BADCFEHG", []byte{0x29, 0x40, 0, 0, 0, 0, 0, 0}, 12.5},
	{config.Float64, "GHEFCDAB", []byte{0, 0, 0, 0, 0, 0, 0x40, 0x29}, 12.5},
}

func TestDecodeAndEncodeVectors(t *testing.T) {
	for _, vector := range vectors {
		mapping := config.Mapping{Function: 16, DataType: vector.data, ByteOrder: vector.order, Bit: -1}
		got, err := decodeRegisters(mapping, vector.wire)
		if err != nil || math.Float64bits(got) != math.Float64bits(vector.want) {
			t.Errorf("%s %s % x decodes to %v, %v; want %v", vector.data, vector.order, vector.wire, got, err, vector.want)
		}
		wire, err := encodeRegisters(mapping, vector.want)
		if err != nil || !bytes.Equal(wire, vector.wire) {
			t.Errorf("%s %s %v encodes to % x, %v; want % x", vector.data, vector.order, vector.want, wire, err, vector.wire)
		}
	}
}

func TestDecodeBits(t *testing.T) {
	mapping := config.Mapping{Function: 3, DataType: config.Bool, ByteOrder: "AB"}
	for at, want := range []float64{1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1} {
		mapping.Bit, mapping.ByteOrder = at, "AB"
		if got, err := decodeRegisters(mapping, []byte{0x82, 0x01}); err != nil || got != want {
			t.Errorf("bit %d of 0x8201 is %v, %v; want %v", at, got, err, want)
		}
		mapping.ByteOrder = "BA"
		if got, err := decodeRegisters(mapping, []byte{0x01, 0x82}); err != nil || got != want {
			t.Errorf("bit %d of 0x8201 with swapped bytes is %v, %v; want %v", at, got, err, want)
		}
	}
	// The example of the specification for function 1: coils 20 to 38.
	packed := []byte{0xcd, 0x6b, 0x05}
	for at, want := range []float64{1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1} {
		if got := decodeBit(packed, at); got != want {
			t.Errorf("coil %d is %v, want %v", 20+at, got, want)
		}
	}
}

func TestDecodeRefusesWhatIsNoValue(t *testing.T) {
	for name, wire := range map[string][]byte{
		"NaN float32":  {0x7f, 0xc0, 0x00, 0x00},
		"+Inf float32": {0x7f, 0x80, 0x00, 0x00},
		"-Inf float32": {0xff, 0x80, 0x00, 0x00},
		"NaN float64":  {0x7f, 0xf8, 0, 0, 0, 0, 0, 0},
		"+Inf float64": {0x7f, 0xf0, 0, 0, 0, 0, 0, 0},
	} {
		data := config.Float32
		if len(wire) == 8 {
			data = config.Float64
		}
		got, err := decodeRegisters(config.Mapping{DataType: data, ByteOrder: bigEndian[len(wire)/2]}, wire)
		if !errors.Is(err, errNotANumber) || got != 0 {
			t.Errorf("%s decodes to %v, %v", name, got, err)
		}
	}
}

var numericTypes = []config.DataType{
	config.Int16, config.Uint16, config.Int32, config.Uint32, config.Int64, config.Uint64, config.Float32, config.Float64,
}

var allOrders = map[int][]config.ByteOrder{
	1: {"AB", "BA"},
	2: {"ABCD", "DCBA", "BADC", "CDAB"},
	4: {"ABCDEFGH", "HGFEDCBA", "BADCFEHG", "GHEFCDAB"},
}

// TestEncodedIsDecoded: what is encoded decodes to the same, rounded to what the
// type can hold.
func TestEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SampledFrom(numericTypes).Draw(t, "type")
		order := rapid.SampledFrom(allOrders[data.Registers()]).Draw(t, "order")
		raw := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-70000, 70000), rapid.Float64Range(-5e9, 5e9)).Draw(t, "raw")
		mapping := config.Mapping{Function: 16, DataType: data, ByteOrder: order, Bit: -1}
		wire, err := encodeRegisters(mapping, raw)
		if err != nil {
			if fits(data, raw) {
				t.Fatalf("%v is refused for %s: %v", raw, data, err)
			}
			return
		}
		if !fits(data, raw) {
			t.Fatalf("%v is accepted for %s", raw, data)
		}
		got, err := decodeRegisters(mapping, wire)
		want := math.Round(raw)
		switch data {
		case config.Float32:
			want = float64(float32(raw))
		case config.Float64:
			want = raw
		}
		if err != nil || got != want {
			t.Fatalf("%v as %s %s comes back as %v, %v", raw, data, order, got, err)
		}
	})
}

// fits says by plain comparison what a type holds.
func fits(data config.DataType, raw float64) bool {
	whole := math.Round(raw)
	switch data {
	case config.Int16:
		return whole >= -32768 && whole <= 32767
	case config.Uint16:
		return whole >= 0 && whole <= 65535
	case config.Int32:
		return whole >= -2147483648 && whole <= 2147483647
	case config.Uint32:
		return whole >= 0 && whole <= 4294967295
	case config.Int64:
		return whole >= -9223372036854775808 && whole < 9223372036854775808
	case config.Uint64:
		return whole >= 0 && whole < 18446744073709551616
	case config.Float32:
		return !math.IsNaN(raw) && !math.IsInf(float64(float32(raw)), 0)
	default:
		return !math.IsNaN(raw) && !math.IsInf(raw, 0)
	}
}

func TestEncodeRefusesWhatDoesNotFit(t *testing.T) {
	for _, refused := range []struct {
		data config.DataType
		raw  float64
	}{
		{config.Int16, 32767.5}, {config.Int16, 32768}, {config.Int16, -32769},
		{config.Uint16, -1}, {config.Uint16, 65536},
		{config.Int32, 2147483648}, {config.Int32, -2147483649},
		{config.Uint32, -0.6}, {config.Uint32, 4294967296},
		{config.Int64, 9223372036854775808}, {config.Uint64, 18446744073709551616}, {config.Uint64, -1},
		{config.Float32, 3.5e38}, {config.Float32, math.NaN()}, {config.Float64, math.Inf(1)}, {config.Int16, math.NaN()},
	} {
		if wire, err := encodeRegisters(register(1, 16, 0, refused.data), refused.raw); err == nil {
			t.Errorf("%v as %s is encoded to % x", refused.raw, refused.data, wire)
		}
	}
	for _, raw := range []float64{0.5, -1, 2, math.NaN()} {
		if set, err := encodeBit(raw); err == nil {
			t.Errorf("%v as a bit is encoded to %v", raw, set)
		}
	}
}

func TestWithBit(t *testing.T) {
	mapping := config.Mapping{Function: 6, DataType: config.Bool, ByteOrder: "AB", Bit: 9}
	if got := withBit(mapping, []byte{0x81, 0x01}, true); !bytes.Equal(got, []byte{0x83, 0x01}) {
		t.Errorf("% x", got)
	}
	if got := withBit(mapping, []byte{0x83, 0x01}, false); !bytes.Equal(got, []byte{0x81, 0x01}) {
		t.Errorf("% x", got)
	}
	mapping.ByteOrder = "BA"
	if got := withBit(mapping, []byte{0x01, 0x81}, true); !bytes.Equal(got, []byte{0x01, 0x83}) {
		t.Errorf("% x", got)
	}
}

// FuzzDecode: whatever travels, a value is finite and goes back to the same
// bytes, but for integers that a float64 cannot hold and floats that are no
// value.
func FuzzDecode(f *testing.F) {
	for _, vector := range vectors {
		f.Add(string(vector.data), string(vector.order), vector.wire, uint8(0))
	}
	f.Add("bool", "BA", []byte{0x80, 0x01}, uint8(15))
	f.Fuzz(func(t *testing.T, data, order string, wire []byte, at uint8) {
		mapping := config.Mapping{Function: 16, DataType: config.DataType(data), ByteOrder: config.ByteOrder(order), Bit: int(at)}
		if checkMapping(&mapping) != nil || len(wire) != 2*mapping.DataType.Registers() {
			return
		}
		got, err := decodeRegisters(mapping, wire)
		if err != nil {
			if mapping.DataType != config.Float32 && mapping.DataType != config.Float64 {
				t.Fatalf("% x as %s: %v", wire, data, err)
			}
			return
		}
		if math.IsNaN(got) || math.IsInf(got, 0) {
			t.Fatalf("% x as %s is %v", wire, data, got)
		}
		if mapping.DataType == config.Bool {
			if back := withBit(mapping, wire, got == 1); !bytes.Equal(back, wire) {
				t.Fatalf("bit %d of % x is %v, and setting it so makes % x", at, wire, got, back)
			}
			return
		}
		if math.Abs(got) > 1<<53 && mapping.DataType.Registers() == 4 && mapping.DataType != config.Float64 {
			return
		}
		back, err := encodeRegisters(mapping, got)
		if err != nil || !bytes.Equal(back, wire) {
			t.Fatalf("% x as %s is %v, which encodes to % x, %v", wire, data, got, back, err)
		}
	})
}
