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
	{"6: the device fails", "06 000F 0001", "86 04"},
	{"16: the device fails", "10 000F 0001 02 0001", "90 04"},
	{"7: no serial line", "07", "87 01"},
	{"8: return query data", "08 0000 A537", "08 0000 A537"},
	{"8: restart communications", "08 0001 0000", "88 01"},
	{"8: bus message count", "08 000B 0000", "88 01"},
	{"8: short", "08 0000", "88 03"},
	{"8: half a word", "08 0000 A5", "88 03"},
	{"11: no serial line", "0B", "8B 01"},
	{"12: no serial line", "0C", "8C 01"},
	{"17: report server id", "11", "11 12 01 FF 566F6C74616765 20 53494D31 20 312E32"},
	{"17: long", "11 00", "91 03"},
	{"20: no files", "14 07 06 0004 0001 0002", "94 01"},
	{"21: no files", "15 09 06 0004 0007 0001 06AF", "95 01"},
	{"22: before", "06 0004 0012", "06 0004 0012"},
	{"22: the example of the specification", "16 0004 00F2 0025", "16 0004 00F2 0025"},
	{"22: read back", "03 0004 0001", "03 02 0017"},
	{"22: after the gap", "16 0021 FF00 00AA", "16 0021 FF00 00AA"},
	{"22: read back after the gap", "03 0021 0001", "03 02 01AA"},
	{"22: unmapped", "16 0014 00F2 0025", "96 02"},
	{"22: a value that the device refuses", "16 000D 00F2 0025", "96 03"},
	{"22: the device fails", "16 000F 00F2 0025", "96 04"},
	{"22: short", "16 0004 00F2 00", "96 03"},
	{"22: long", "16 0004 00F2 0025 00", "96 03"},
	{"22: nothing", "16", "96 03"},
	{"23: writes, then reads", "17 0002 0003 0003 0002 04 AAAA BBBB", "17 06 1234 AAAA BBBB"},
	{"23: most read", "17 001E 007D 0003 0001 02 0001", "17 FA 0101*"},
	{"23: too many read", "17 001E 007E 0003 0001 02 0001", "97 03"},
	{"23: none read", "17 001E 0000 0003 0001 02 0001", "97 03"},
	{"23: most written", "17 0000 0001 001E 0079 F2" + strings.Repeat("0202", 121), "17 02 1000"},
	{"23: too many written", "17 0000 0001 001E 007A F2" + strings.Repeat("0202", 121), "97 03"},
	{"23: none written", "17 0000 0001 001E 0000 00", "97 03"},
	{"23: count does not fit", "17 0000 0001 0003 0002 02 0001", "97 03"},
	{"23: bytes missing", "17 0000 0001 0003 0001 02 00", "97 03"},
	{"23: short", "17 0000 0001 0003", "97 03"},
	{"23: nothing", "17", "97 03"},
	{"23: unmapped read", "17 0014 0001 0003 0001 02 7777", "97 02"},
	{"23: unmapped write", "17 0000 0001 0014 0001 02 7777", "97 02"},
	{"23: a value that the device refuses", "17 0000 0001 000D 0001 02 7777", "97 03"},
	{"23: refused means unchanged", "03 0003 0001", "03 02 0001"},
	{"24: no queue", "18 04DE", "98 01"},
	{"43/14: basic", "2B 0E 01 00", "2B 0E 01 82 00 00 03 00 07 566F6C74616765 01 04 53494D31 02 03 312E32"},
	{"43/14: from the second on", "2B 0E 01 01", "2B 0E 01 82 00 00 02 01 04 53494D31 02 03 312E32"},
	{"43/14: basic, from one that is not there", "2B 0E 01 03", "2B 0E 01 82 00 00 03 00 07 566F6C74616765 01 04 53494D31 02 03 312E32"},
	{"43/14: regular, as much as fits", "2B 0E 02 00", "2B 0E 02 82 FF 05 04 00 07 566F6C74616765 01 04 53494D31 02 03 312E32 04 0F 556E697420756E6465722074657374"},
	{"43/14: the rest", "2B 0E 02 05", "2B 0E 02 82 00 00 01 05 F0" + strings.Repeat("6D", 240)},
	{"43/14: extended is as much as there is", "2B 0E 03 05", "2B 0E 03 82 00 00 01 05 F0 6D*"},
	{"43/14: one", "2B 0E 04 02", "2B 0E 04 82 00 00 01 02 03 312E32"},
	{"43/14: one that is not there", "2B 0E 04 03", "AB 02"},
	{"43/14: one of nobody", "2B 0E 04 80", "AB 02"},
	{"43/14: access 0", "2B 0E 00 00", "AB 03"},
	{"43/14: access 5", "2B 0E 05 00", "AB 03"},
	{"43/14: short", "2B 0E 01", "AB 03"},
	{"43/14: long", "2B 0E 01 00 00", "AB 03"},
	{"43/13: CANopen", "2B 0D 00 00", "AB 01"},
	{"43: nothing", "2B", "AB 03"},
	{"function 0", "00", "80 01"},
	{"function 9", "09 00", "89 01"},
	{"function 65", "41 0000 0001", "C1 01"},
	{"function 100", "64", "E4 01"},
	{"function 127", "7F 00", "FF 01"},
	{"function 131", "83 02", "83 01"},
}

// conformanceWrites are what these requests wrote.
var conformanceWrites = []writeCall{
	{Coils, 3, []uint16{1}}, {Coils, 3, []uint16{0}}, {Coils, 65535, []uint16{0}},
	{HoldingRegisters, 1, []uint16{0xABCD}}, {HoldingRegisters, 30, []uint16{7}},
	{Coils, 100, []uint16{1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1}}, {Coils, 0, make([]uint16, 1968)},
	{HoldingRegisters, 2, []uint16{0x1234, 0x5678}}, {HoldingRegisters, 32, []uint16{0x4321}},
	{HoldingRegisters, 30, slicesOf(0x0101, 123)},
	{HoldingRegisters, 4, []uint16{0x12}}, {HoldingRegisters, 4, []uint16{0x17}}, {HoldingRegisters, 33, []uint16{0x01AA}},
	{HoldingRegisters, 3, []uint16{0xAAAA, 0xBBBB}}, {HoldingRegisters, 3, []uint16{1}}, {HoldingRegisters, 30, slicesOf(0x0202, 121)},
}

// TestConformance asks the same over every transport: whatever carries a request,
// the answer is one and the same.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, transport := range transports() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p := transport(t)
			for i, c := range conformance {
				p.send(t, uint16(i), 1, bytesOf(t, c.ask))
				got := p.receive(t, uint16(i), 1)
				prefix, open := strings.CutSuffix(c.want, "*")
				want := bytesOf(t, prefix)
				if open && len(got) > len(want) {
					got = got[:len(want)]
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s: % X, want % X", c.name, got, want)
				}
			}
			if diff := cmp.Diff(conformanceWrites, s.writes.seen()); diff != "" {
				t.Error(diff)
			}
			// What the device does at the moment comes before what it is asked.
			s.units[1].SetBusy(true)
			p.ask(t, 1, "03 0000 0001", "83 06")
			p.ask(t, 1, "06 0000 0001", "86 06")
			p.ask(t, 2, "03 0000 0001", "03 02 0000")
			s.units[1].SetBusy(false)
			p.ask(t, 1, "03 0000 0001", "03 02 1000")
			// A unit that says nothing of itself does not have the functions for that.
			p.ask(t, 2, "11", "91 01")
			p.ask(t, 2, "2B 0E 01 00", "AB 01")
			if got := s.counters.malformed.Load(); got != 0 {
				t.Errorf("%d malformed frames", got)
			}
		})
	}
}

// TestIdentityOfBasicObjectsAlone tells its level of conformity.
func TestIdentityOfBasicObjectsAlone(t *testing.T) {
	t.Parallel()
	u := NewUnit(nil, nil)
	u.SetIdentity(Identity{Vendor: "V", ProductCode: "P"})
	got, _ := u.answer(nil, 1, bytesOf(t, "2B 0E 02 00"))
	if want := bytesOf(t, "2B 0E 02 81 00 00 03 00 01 56 01 01 50 02 00"); !bytes.Equal(got, want) {
		t.Errorf("% X", got)
	}
}
