package device

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The registers of these vectors were written by hand from the layout of
// two's complement and IEEE 754 numbers.
func TestGoldenVectors(t *testing.T) {
	t.Parallel()
	cases := []struct {
		raw   float64
		kind  Type
		order Order
		want  []uint16
	}{
		{0x1234, Uint16, "AB", []uint16{0x1234}},
		{0x1234, Uint16, "BA", []uint16{0x3412}},
		{-2, Int16, "AB", []uint16{0xFFFE}},
		{-2, Int16, "BA", []uint16{0xFEFF}},
		{-32768, Int16, "AB", []uint16{0x8000}},
		{0x12345678, Uint32, "ABCD", []uint16{0x1234, 0x5678}},
		{0x12345678, Uint32, "DCBA", []uint16{0x7856, 0x3412}},
		{0x12345678, Uint32, "BADC", []uint16{0x3412, 0x7856}},
		{0x12345678, Uint32, "CDAB", []uint16{0x5678, 0x1234}},
		{-2, Int32, "CDAB", []uint16{0xFFFE, 0xFFFF}},
		{-123456789, Int32, "ABCD", []uint16{0xF8A4, 0x32EB}},
		{123.456, Float32, "ABCD", []uint16{0x42F6, 0xE979}},
		{123.456, Float32, "DCBA", []uint16{0x79E9, 0xF642}},
		{123.456, Float32, "BADC", []uint16{0xF642, 0x79E9}},
		{123.456, Float32, "CDAB", []uint16{0xE979, 0x42F6}},
		{-0.5, Float32, "ABCD", []uint16{0xBF00, 0x0000}},
		{0x0123456789ABC000, Uint64, "ABCDEFGH", []uint16{0x0123, 0x4567, 0x89AB, 0xC000}},
		{0x0123456789ABC000, Uint64, "HGFEDCBA", []uint16{0x00C0, 0xAB89, 0x6745, 0x2301}},
		{0x0123456789ABC000, Uint64, "BADCFEHG", []uint16{0x2301, 0x6745, 0xAB89, 0x00C0}},
		{0x0123456789ABC000, Uint64, "GHEFCDAB", []uint16{0xC000, 0x89AB, 0x4567, 0x0123}},
		{-2, Int64, "GHEFCDAB", []uint16{0xFFFE, 0xFFFF, 0xFFFF, 0xFFFF}},
		{123.456, Float64, "ABCDEFGH", []uint16{0x405E, 0xDD2F, 0x1A9F, 0xBE77}},
		{123.456, Float64, "GHEFCDAB", []uint16{0xBE77, 0x1A9F, 0xDD2F, 0x405E}},
		{-1, Float64, "BADCFEHG", []uint16{0xF0BF, 0, 0, 0}},
	}
	for _, c := range cases {
		if got := pack(c.raw, c.kind, c.order); !cmp.Equal(got, c.want) {
			t.Errorf("%v as %s %s: %04X, want %04X", c.raw, c.kind, c.order, got, c.want)
		}
		want := c.raw
		if c.kind == Float32 {
			want = float64(float32(want))
		}
		if got := unpack(c.want, c.kind, c.order); got != want {
			t.Errorf("%04X as %s %s: %v, want %v", c.want, c.kind, c.order, got, want)
		}
	}
}

func TestValuesThatDoNotFitSaturate(t *testing.T) {
	t.Parallel()
	cases := []struct {
		raw  float64
		kind Type
		want []uint16
	}{
		{40000, Int16, []uint16{0x7FFF}},
		{-40000, Int16, []uint16{0x8000}},
		{-1, Uint16, []uint16{0}},
		{70000, Uint16, []uint16{0xFFFF}},
		{0.5, Uint16, []uint16{1}},
		{-0.4, Uint16, []uint16{0}},
		{-1.5, Int16, []uint16{0xFFFE}},
		{5e9, Uint32, []uint16{0xFFFF, 0xFFFF}},
		{-5e9, Int32, []uint16{0x8000, 0x0000}},
		{5e9, Int32, []uint16{0x7FFF, 0xFFFF}},
		{1e30, Uint64, []uint16{0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF}},
		{-1, Uint64, []uint16{0, 0, 0, 0}},
		{1e30, Int64, []uint16{0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF}},
		{-1e30, Int64, []uint16{0x8000, 0, 0, 0}},
		{1e300, Float32, []uint16{0x7F7F, 0xFFFF}},
		{-1e300, Float32, []uint16{0xFF7F, 0xFFFF}},
	}
	for _, c := range cases {
		if got := pack(c.raw, c.kind, Order(ordersOf(c.kind.width())[0])); !cmp.Equal(got, c.want) {
			t.Errorf("%v as %s: %04X, want %04X", c.raw, c.kind, got, c.want)
		}
	}
}

// TestUnpackInverts holds for every type, order and content of registers.
func TestUnpackInverts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		kind := Type(rapid.SampledFrom(typeNames[1:]).Draw(t, "type"))
		order := Order(rapid.SampledFrom(ordersOf(kind.width())).Draw(t, "order"))
		registers := rapid.SliceOfN(rapid.Uint16(), kind.width(), kind.width()).Draw(t, "registers")
		value := unpack(registers, kind, order)
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return
		}
		again := pack(value, kind, order)
		if kind == Int64 || kind == Uint64 || kind == Acc64 { // a float64 keeps 53 bits of them
			if back := unpack(again, kind, order); back != value && (kind != Acc64 || value < 1<<64 || back != 0) {
				t.Fatalf("%04X is %v, which becomes %04X", registers, value, again)
			}
			return
		}
		if !cmp.Equal(registers, again) {
			t.Fatalf("%04X is %v, which becomes %04X", registers, value, again)
		}
	})
}
