package modbusserver

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// conformance holds each function and its boundaries to the MODBUS Application
// Protocol Specification V1.1b3. The requests are sent in this order to one unit,
// so that a read shows what a write did.
var conformance = []struct {
	name string
	ask  string // PDU
	want string // PDU; a trailing * stands for whatever follows
}{
	{"1: ten coils", "01 0000 000A", "01 02 24 01"},
	{"1: the last address", "01 FFFF 0001", "01 01 01"},
	{"1: no coils", "01 0000 0000", "81 03"},
	{"1: most coils", "01 0000 07D0", "01 FA 24 49 92*"},
	{"1: one too many", "01 0000 07D1", "81 03"},
	{"1: into a gap", "01 0833 0002", "81 02"},
	{"1: over the end", "01 FFFF 0002", "81 02"},
	{"1: short", "01 0000 00", "81 03"},
	{"1: long", "01 0000 0001 00", "81 03"},
	{"1: nothing", "01", "81 03"},
	{"2: nine inputs", "02 0064 0009", "02 02 AA 00"},
	{"2: the last address", "02 FFFA 0006", "02 01 2D"},
	{"2: most", "02 0064 07D0", "02 FA AA*"},
	{"2: too many", "02 0064 07D1", "82 03"},
	{"2: before the first", "02 0063 0002", "82 02"},
	{"3: one", "03 0000 0001", "03 02 1000"},
	{"3: across to the gap's edge", "03 0012 0002", "03 04 1012 1013"},
	{"3: into the gap", "03 0013 0002", "83 02"},
	{"3: over the gap", "03 0013 000C", "83 02"},
	{"3: in the gap", "03 0014 0001", "83 02"},
	{"3: after the gap", "03 001E 0002", "03 04 101E 101F"},
	{"3: most", "03 001E 007D", "03 FA 101E*"},
	{"3: too many", "03 001E 007E", "83 03"},
	{"3: far too many", "03 001E FFFF", "83 03"},
	{"3: none", "03 0000 0000", "83 03"},
	{"3: the last address", "03 FFFF 0001", "03 02 BEEF"},
	{"3: over the end", "03 FFFF 0002", "83 02"},
	{"3: SunSpec probe", "03 9C40 0002", "83 02"},
	{"4: two", "04 FFFE 0002", "04 04 CAFE F00D"},
	{"4: most", "04 03E8 007D", "04 FA 2000*"},
	{"4: too many", "04 03E8 007E", "84 03"},
	{"4: unmapped", "04 0000 0001", "84 02"},
	{"5: on", "05 0003 FF00", "05 0003 FF00"},
	{"5: read back", "01 0003 0001", "01 01 01"},
	{"5: off", "05 0003 0000", "05 0003 0000"},
	{"5: read back off", "01 0003 0001", "01 01 00"},
	{"5: neither on nor off", "05 0003 0001", "85 03"},
	{"5: unmapped", "05 1000 FF00", "85 02"},
	{"5: the last address", "05 FFFF 0000", "05 FFFF 0000"},
	{"5: short", "05 0003 FF", "85 03"},
	{"6: write", "06 0001 ABCD", "06 0001 ABCD"},
	{"6: read back", "03 0001 0001", "03 02 ABCD"},
	{"6: after the gap", "06 001E 0007", "06 001E 0007"},
	{"6: read back after the gap", "03 001E 0002", "03 04 0007 101F"},
	{"6: unmapped", "06 0014 0001", "86 02"},
	{"6: a value that the device refuses", "06 000D 0001", "86 03"},
	{"6: a register that is read only", "06 000E 0001", "86 02"},
	{"6: refused means unchanged", "03 000D 0002", "03 04 100D 100E"},
	{"6: short", "06 0001 AB", "86 03"},
	{"15: eleven coils", "0F 0064 000B 02 CD FD", "0F 0064 000B"},
	{"15: read back", "01 0064 000B", "01 02 CD 05"},
	{"15: most", "0F 0000 07B0 F6" + strings.Repeat("00", 246), "0F 0000 07B0"},
	{"15: too many", "0F 0000 07B1 F7" + strings.Repeat("00", 247), "8F 03"},
	{"15: none", "0F 0000 0000 00", "8F 03"},
	{"15: count does not fit", "0F 0064 000B 01 CD", "8F 03"},
	{"15: bytes missing", "0F 0064 000B 02 CD", "8F 03"},
	{"15: bytes over", "0F 0064 0003 01 CD 00", "8F 03"},
	{"15: without count", "0F 0064 0003", "8F 03"},
	{"15: only an address", "0F 0064", "8F 03"},
	{"15: unmapped", "0F 0833 0002 01 03", "8F 02"},
	{"16: two", "10 0002 0002 04 1234 5678", "10 0002 0002"},
	{"16: read back", "03 0001 0004", "03 08 ABCD 1234 5678 1004"},
	{"16: after the gap", "10 0020 0001 02 4321", "10 0020 0001"},
	{"16: read back after the gap", "03 0020 0001", "03 02 4321"},
	{"16: most", "10 001E 007B F6" + strings.Repeat("0101", 123), "10 001E 007B"},
	{"16: too many", "10 001E 007C F8" + strings.Repeat("0101", 123), "90 03"},
	{"16: none", "10 0002 0000 00", "90 03"},
	{"16: count does not fit", "10 0002 0002 02 1234", "90 03"},
	{"16: half a register", "10 0002 0001 02 12", "90 03"},
	{"16: odd bytes over", "10 0002 0001 02 1234 56", "90 03"},
	{"16: without count", "10 0002 0001", "90 03"},
	{"16: nothing", "10", "90 03"},
	{"16: into the gap", "10 0013 0002 04 0000 0000", "90 02"},
	{"16: one of the values refused", "10 000C 0002 04 0000 0000", "90 03"},
	{"16: refused means unchanged", "03 000C 0002", "03 04 100C 100D"},
	{"function 0", "00", "80 01"},
	{"function 7", "07", "87 01"},
	{"function 23", "17 0000 0001 0000 0001 02 0000", "97 01"},
	{"function 43", "2B 0E 01 00", "AB 01"},
	{"function 131", "83 02", "83 01"},
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := startServer(t, 0)
	connection := dial(t, s)
	for i, c := range conformance {
		send(t, connection, frameOf(uint16(i), 1, bytesOf(t, c.ask)))
		got := receive(t, connection, uint16(i), 1)
		prefix, open := strings.CutSuffix(c.want, "*")
		want := bytesOf(t, prefix)
		if open && len(got) > len(want) {
			got = got[:len(want)]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: % X, want % X", c.name, got, want)
		}
	}
	want := []writeCall{
		{Coils, 3, []uint16{1}}, {Coils, 3, []uint16{0}}, {Coils, 65535, []uint16{0}},
		{HoldingRegisters, 1, []uint16{0xABCD}}, {HoldingRegisters, 30, []uint16{7}},
		{Coils, 100, []uint16{1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1}}, {Coils, 0, make([]uint16, 1968)},
		{HoldingRegisters, 2, []uint16{0x1234, 0x5678}}, {HoldingRegisters, 32, []uint16{0x4321}},
		{HoldingRegisters, 30, slicesOf(0x0101, 123)},
	}
	if diff := cmp.Diff(want, s.writes.seen()); diff != "" {
		t.Error(diff)
	}
}
