package modbus

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// vector is a row of testdata/vectors.csv, which was written by hand from the
// Modbus specification, IEEE 754 and the SunSpec information model.
type vector struct {
	line    int
	mapping config.Mapping
	wire    []byte
	number  float64
	bad     bool
	text    string // of the value, or why it is bad
}

// readVectors reads the mappings as a site does, so that what a table says is
// what is decoded.
func readVectors(t testing.TB) []vector {
	t.Helper()
	file, err := os.Open("testdata/vectors.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	points, mappings := "point_id,signal_name,scale,offset,unit,reverse,data_type\n",
		"point_id,slave_id,function_code,register_address,data_type,byte_order,bit_position,length,sentinel\n"
	var vectors []vector
	for i, row := range rows[1:] {
		points += fmt.Sprintf("%d,p%d,,,,,\n", i+1, i+1)
		mappings += fmt.Sprintf("%d,1,3,0,%s\n", i+1, strings.Join(row[:5], ","))
		one := vector{line: i + 2, bad: row[6] == "bad", text: row[7]}
		if one.wire, err = hex.DecodeString(strings.ReplaceAll(row[5], " ", "")); err != nil {
			t.Fatal(err)
		}
		if !one.bad {
			if one.number, err = strconv.ParseFloat(row[6], 64); err != nil {
				t.Fatal(err)
			}
		}
		vectors = append(vectors, one)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"site.yaml": "site: {name: test}\n", "points/1/telemetry.csv": points, "points/1/telemetry_mapping.csv": mappings,
		"channels.yaml": "channels: [{id: 1, name: a, protocol: modbus_tcp, address: '127.0.0.1:502'}]\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site, err := config.ReadSite(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, point := range site.Channels[0].Points {
		vectors[i].mapping = point.Mapping
	}
	return vectors
}

// isInPart reports whether a type is some bits of registers that hold others too.
func isInPart(data config.DataType) bool {
	return data == config.Bool || data == config.Bits || data == config.Int8 || data == config.Uint8
}

// held is what a value of the mapping is written among, for a type that needs it.
func held(mapping *config.Mapping, wire []byte) []byte {
	if isInPart(mapping.DataType) {
		return wire
	}
	return nil
}

func TestVectors(t *testing.T) {
	t.Parallel()
	types := map[config.DataType]bool{}
	for _, v := range readVectors(t) {
		types[v.mapping.DataType] = true
		number, text, err := decodeRegisters(&v.mapping, v.wire)
		switch {
		case v.bad && (err == nil || err.Error() != v.text || number != 0 || text != ""):
			t.Errorf("line %d decodes to %v %q, %v; want it bad: %s", v.line, number, text, err, v.text)
		case !v.bad && (err != nil || math.Float64bits(number) != math.Float64bits(v.number) || text != v.text):
			t.Errorf("line %d decodes to %v %q, %v; want %v %q", v.line, number, text, err, v.number, v.text)
		}
		if v.bad || v.text != "" || v.mapping.DataType == config.String {
			continue // nothing that a command could carry
		}
		wire, err := encodeRegisters(&v.mapping, v.number, held(&v.mapping, v.wire))
		if err != nil || !bytes.Equal(wire, v.wire) {
			t.Errorf("line %d encodes to % X, %v; want % X", v.line, wire, err, v.wire)
		}
	}
	for _, data := range config.DataTypes {
		if !types[data] {
			t.Errorf("no vector of %s", data)
		}
	}
}

// TestSpecifiedBits: the examples of the specification for functions 1, 2 and 22.
func TestSpecifiedBits(t *testing.T) {
	t.Parallel()
	for name, example := range map[string]struct {
		packed []byte
		want   []float64
	}{
		"coils 20 to 38":    {[]byte{0xcd, 0x6b, 0x05}, []float64{1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1}},
		"inputs 197 to 218": {[]byte{0xac, 0xdb, 0x35}, []float64{0, 0, 1, 1, 0, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 0, 1, 1}},
	} {
		for at, want := range example.want {
			if got := decodeBit(example.packed, at); got != want {
				t.Errorf("%s: number %d is %v, want %v", name, at, got, want)
			}
		}
	}
}

// drawMapping draws a sound mapping of any type.
func drawMapping(t *rapid.T) config.Mapping {
	mapping := config.Mapping{Unit: 1, Function: 3, Bit: -1, DataType: rapid.SampledFrom(config.DataTypes).Draw(t, "type")}
	mapping.ByteOrder = rapid.SampledFrom(mapping.DataType.ByteOrders()).Draw(t, "order")
	switch mapping.DataType {
	case config.String:
		mapping.Length = rapid.IntRange(1, 6).Draw(t, "length")
	case config.Bool:
		mapping.Bit = rapid.IntRange(0, 15).Draw(t, "bit")
	case config.Int8, config.Uint8:
		mapping.Bit = rapid.SampledFrom([]int{0, 8}).Draw(t, "byte")
	case config.Bits:
		mapping.Bit = rapid.IntRange(0, 16*mapping.Registers()-1).Draw(t, "first")
		mapping.Bits = rapid.IntRange(1, 16*mapping.Registers()-mapping.Bit).Draw(t, "bits")
	}
	mapping.Check(ems.Telemetry, func(column, format string, args ...any) {
		t.Fatalf("%s %s", column, fmt.Sprintf(format, args...))
	})
	return mapping
}

// TestEncodedIsDecoded: what is encoded decodes to the same, rounded to what the
// type can hold, and leaves every other bit as it was; what does not fit is
// refused.
func TestEncodedIsDecoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		mapping := drawMapping(t)
		if mapping.DataType == config.String {
			return
		}
		raw := rapid.OneOf(rapid.Float64(), rapid.Float64Range(-300, 300), rapid.Float64Range(-70000, 70000), rapid.Float64Range(-5e9, 5e9),
			rapid.SampledFrom([]float64{0, 1, math.Inf(1), math.NaN()})).Draw(t, "raw")
		size := 2 * mapping.Registers()
		before := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "held")
		wire, err := encodeRegisters(&mapping, raw, held(&mapping, before))
		want, fits := rounded(&mapping, raw)
		if (err == nil) != fits {
			t.Fatalf("%v as %s: %v, and it fits: %v", raw, mapping.DataType, err, fits)
		}
		if err != nil {
			return
		}
		got, _, err := decodeRegisters(&mapping, wire)
		if err != nil || got != want {
			t.Fatalf("%v as %s %s comes back as %v, %v; want %v", raw, mapping.DataType, mapping.ByteOrder, got, err, want)
		}
		if isInPart(mapping.DataType) {
			was, _, _ := decodeRegisters(&mapping, before)
			back, err := encodeRegisters(&mapping, was, wire)
			if was <= exact && (err != nil || !bytes.Equal(back, before)) {
				t.Fatalf("% x with bits %d+%d set becomes % x, and set back % x, %v", before, mapping.Bit, mapping.Bits, wire, back, err)
			}
		}
	})
}

// rounded says by plain comparison what a type makes of a raw value.
func rounded(mapping *config.Mapping, raw float64) (number float64, fits bool) {
	if math.IsNaN(raw) || math.IsInf(raw, 0) {
		return 0, false
	}
	whole := math.Round(raw)
	switch mapping.DataType {
	case config.Bool:
		return raw, raw == 0 || raw == 1
	case config.Bits:
		return whole, whole >= 0 && whole < math.Pow(2, float64(mapping.Bits))
	case config.Int8:
		return whole, whole >= -128 && whole <= 127
	case config.Uint8:
		return whole, whole >= 0 && whole <= 255
	case config.Int16:
		return whole, whole >= -32768 && whole <= 32767
	case config.Uint16:
		return whole, whole >= 0 && whole <= 65535
	case config.Int32:
		return whole, whole >= -2147483648 && whole <= 2147483647
	case config.Uint32:
		return whole, whole >= 0 && whole <= 4294967295
	case config.Int64:
		return whole, whole >= -9223372036854775808 && whole < 9223372036854775808
	case config.Uint64:
		return whole, whole >= 0 && whole < 18446744073709551616
	case config.BCD16:
		return whole, whole >= 0 && whole <= 9999
	case config.BCD32:
		return whole, whole >= 0 && whole <= 99999999
	case config.Float16:
		return nearestHalf(raw), math.Abs(raw) < 65520
	case config.Float32:
		return float64(float32(raw)), !math.IsInf(float64(float32(raw)), 0)
	default:
		return raw, true
	}
}

// nearestHalf looks a number up among all that 16 bits hold: the nearest, and the
// even one of two that are as near.
func nearestHalf(raw float64) float64 {
	best, distance := 0.0, math.Inf(1)
	for bits := range uint16(0x7c00) {
		number := math.Copysign(fromHalf(bits), raw)
		if away := math.Abs(number - raw); away < distance || away == distance && bits%2 == 0 {
			best, distance = number, away
		}
	}
	return best
}

func TestEveryHalfComesBack(t *testing.T) {
	t.Parallel()
	for bits := range 1 << 16 {
		number := fromHalf(uint16(bits))
		if math.IsNaN(number) || math.IsInf(number, 0) {
			if bits>>10&0x1f != 0x1f {
				t.Fatalf("%04x is %v", bits, number)
			}
			continue
		}
		if back, fits := toHalf(number); !fits || back != uint16(bits) {
			t.Fatalf("%04x is %v, which becomes %04x, %v", bits, number, back, fits)
		}
	}
}

// TestHalvesInTheMiddle go to the even neighbour, as IEEE 754 has it.
func TestHalvesInTheMiddle(t *testing.T) {
	t.Parallel()
	for raw, want := range map[float64]uint16{
		1.00048828125: 0x3c00, 1.00146484375: 0x3c02, -1.00048828125: 0xbc00, // 1 + 2^-11 and 1 + 3 x 2^-11
		0.0000000298023223876953125: 0, 0.0000000894069671630859375: 2, // 2^-25 and 3 x 2^-25
		0.00006100535392761230468750: 0x0400, 65519: 0x7bff,
	} {
		if got, fits := toHalf(raw); !fits || got != want {
			t.Errorf("%v becomes %04x, %v; want %04x", raw, got, fits, want)
		}
	}
}

func TestEncodeRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, refused := range []struct {
		data config.DataType
		raw  float64
	}{
		{config.Int16, 32767.5}, {config.Int16, 32768}, {config.Int16, -32769}, {config.Int16, math.NaN()},
		{config.Uint16, -1}, {config.Uint16, 65536}, {config.Int8, 128}, {config.Uint8, 256}, {config.Uint8, -1},
		{config.Int32, 2147483648}, {config.Int32, -2147483649}, {config.Uint32, -0.6}, {config.Uint32, 4294967296},
		{config.Int64, 9223372036854775808}, {config.Uint64, 18446744073709551616}, {config.Uint64, -1},
		{config.Float16, 65520}, {config.Float32, 3.5e38}, {config.Float32, math.NaN()}, {config.Float64, math.Inf(1)},
		{config.BCD16, 10000}, {config.BCD16, -1}, {config.BCD32, 1e8},
		{config.Bool, 0.5}, {config.Bool, -1}, {config.Bool, 2}, {config.Bool, math.NaN()},
	} {
		mapping := register(1, 16, 0, refused.data)
		mapping.Bit = 0
		if wire, err := encodeRegisters(&mapping, refused.raw, held(&mapping, []byte{0, 0})); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("%v as %s is encoded to % x, %v", refused.raw, refused.data, wire, err)
		}
	}
	mapping := register(1, 16, 0, config.Int16)
	mapping.Sentinel = &config.Sentinel{Mask: 0xffff, Bits: 0x8000}
	want := "raw value -32768 is what the device says of a value that it does not have"
	if _, err := encodeRegisters(&mapping, -32768, nil); err == nil || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
}

// TestScaleIsUndone: a command that carries what a point shows writes what the
// device holds.
func TestScaleIsUndone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		mapping := drawMapping(t)
		size := 2 * mapping.Registers()
		wire := rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "wire")
		kind := rapid.SampledFrom([]ems.PointType{ems.Telemetry, ems.Adjustment, ems.Signal, ems.Control}).Draw(t, "kind")
		raw, text, err := decodeRegisters(&mapping, wire)
		switch mapping.DataType {
		case config.Float16, config.Float32, config.Float64, config.String:
			return // a float comes back within its last digits
		}
		if err != nil || text != "" || math.Abs(raw) > 1e12 {
			return
		}
		point := ems.Point{
			Type: kind, Reverse: rapid.Bool().Draw(t, "reverse"),
			Scale:  rapid.SampledFrom([]float64{1, -1, 0.1, 0.01, 0.001, 3, 1.0 / 3, 1000}).Draw(t, "scale"),
			Offset: rapid.SampledFrom([]float64{0, -40, 273.15, 0.1}).Draw(t, "offset"),
		}
		back, err := encodeRegisters(&mapping, math.Round(point.ToRaw(point.FromRaw(raw))), held(&mapping, wire))
		if err != nil || !bytes.Equal(back, wire) {
			t.Fatalf("% x is %v, and that encodes to % x, %v", wire, raw, back, err)
		}
	})
}

// FuzzDecode: whatever travels under whatever mapping, a value is finite or bad,
// what is no value has a reason, and a value goes back to the same bytes.
func FuzzDecode(f *testing.F) {
	for _, v := range readVectors(f) {
		m := v.mapping
		sentinel := config.Sentinel{}
		if m.Sentinel != nil {
			sentinel = *m.Sentinel
		}
		f.Add(string(m.DataType), string(m.ByteOrder), v.wire, m.Bit, m.Bits, m.Length, m.Sentinel != nil, sentinel.Mask, sentinel.Bits)
	}
	f.Fuzz(func(t *testing.T, data, order string, wire []byte, first, count, length int, knows bool, mask, bits uint64) {
		mapping := config.Mapping{
			Function: 3, DataType: config.DataType(data), ByteOrder: config.ByteOrder(order), Bit: first, Bits: count, Length: length,
		}
		if knows {
			mapping.Sentinel = &config.Sentinel{Mask: mask, Bits: bits}
		}
		point, channel := config.MappedPoint{Point: ems.Point{Type: ems.Telemetry}, Mapping: mapping}, readsOf(config.Reads{}.OrDefault())
		if checkMapping(&point, channel) != nil || len(wire) != 2*point.Mapping.Registers() {
			return
		}
		mapping = point.Mapping // with what was left out in place
		number, text, err := decodeRegisters(&mapping, wire)
		if math.IsNaN(number) || math.IsInf(number, 0) {
			t.Fatalf("% x as %s is %v", wire, data, number)
		}
		if err != nil {
			if err.Error() == "" || number != 0 || text != "" {
				t.Fatalf("% x as %s is %v %q and %v", wire, data, number, text, err)
			}
			return
		}
		switch {
		case mapping.DataType == config.String:
			if len(text) > len(wire) || strings.ContainsRune(text, 0) {
				t.Fatalf("% x is the text %q", wire, text)
			}
			return
		case text != "":
			if whole, err := strconv.ParseFloat(text, 64); err != nil || whole != number || math.Abs(number) < exact {
				t.Fatalf("% x as %s is %v, and in digits %s", wire, data, number, text)
			}
			return
		}
		back, err := encodeRegisters(&mapping, number, held(&mapping, wire))
		if err != nil || !bytes.Equal(back, wire) {
			t.Fatalf("% x as %s is %v, which encodes to % x, %v", wire, data, number, back, err)
		}
	})
}
