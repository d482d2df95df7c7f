package sunspec

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/voltageems/voltageems-go/system/config"
	"github.com/voltageems/voltageems-go/system/ems"
)

// image is the holding registers of a device; all others are refused.
type image map[uint16]uint16

var errRefused = ems.Errorf(ems.CodeConflict, "exception 2")

func (i image) read(address uint16, count int) ([]uint16, error) {
	words := make([]uint16, count)
	for at := range words {
		word, mapped := i[address+uint16(at)]
		if !mapped || int(address)+at > 65535 {
			return nil, errRefused
		}
		words[at] = word
	}
	return words, nil
}

// put writes registers and returns the address after them.
func (i image) put(address uint16, words ...uint16) uint16 {
	for _, word := range words {
		i[address] = word
		address++
	}
	return address
}

// text writes characters to so many registers.
func (i image) text(address uint16, size int, text string) uint16 {
	text += strings.Repeat("\x00", 2*size-len(text))
	for at := 0; at < len(text); at += 2 {
		address = i.put(address, uint16(text[at])<<8|uint16(text[at+1]))
	}
	return address
}

// common writes model 1 with a length, and returns the address after it.
func (i image) common(address uint16, length int) uint16 {
	end := address + 2 + uint16(length)
	address = i.put(address, 1, uint16(length))
	address = i.text(address, 16, "Acme")
	address = i.text(address, 16, "SunBox 10\xff")
	address = i.text(address, 8, "")
	address = i.text(address, 8, "1.2.3")
	address = i.text(address, 16, "SN-0042")
	for address < end {
		address = i.put(address, 1)
	}
	return end
}

// none is what a signed value that is not there reads as.
const none = 0x8000

// inverter writes model 103 from the registers of the specification.
func (i image) inverter(address uint16) uint16 {
	return i.put(address, 103, 50,
		152, 51, 50, 51, 0xFFFF, // A, its phases, exponent -1
		4000, 4001, 4002, 2300, 2301, 0xFFFF, 0xFFFF, // voltages, of which that of phase C is not there, exponent -1
		1047, 1, // W, exponent 1
		5001, 0xFFFE, // Hz, exponent -2
		none, none, none, none, none, none, // VA, VAr and PF are not there
		0x0001, 0xE240, 0, // WH 123456
		0xFFFF, none, 0xFFFF, none, none, none, // DC is not there
		355, none, none, none, 0xFFFF, // 35.5 C
		4, 0xFFFF, // producing
		0, 2, 0x8000, 0, 0, 0, 0, 0, 0, 0, 0, 0, // events, of which the second ones are not there
	)
}

// device is a whole device at 40000.
func device() image {
	i := image{}
	next := i.inverter(i.common(i.put(40000, 0x5375, 0x6e53), 66))
	next = i.put(next, 64999, 3, 7, 7, 7) // of the maker
	next = i.put(next, 160, 68, 0xFFFE, 0xFFFF, 0, none, 0, 0, 2, 0)
	for module := uint16(1); module <= 2; module++ {
		next = i.text(i.put(next, module), 8, "string")
		next = i.put(next, 100*module, 5000, 0xFFFF, 0, 9, 0, 0, none, 4, 0, 0)
	}
	i.put(i.put(next, make([]uint16, 20)...), 0xFFFF, 0) // room for a module that is not counted
	return i
}

func TestADeviceIsReadWhole(t *testing.T) {
	t.Parallel()
	got, err := Scan(device().read, 125)
	want := &Device{
		Base: 40000, Manufacturer: "Acme", Model: "SunBox 10?", Version: "1.2.3", Serial: "SN-0042",
		Models: []Model{
			{ID: 1, Name: "common", Address: 40002, Length: 66}, {ID: 103, Name: "inverter, three phases", Address: 40070, Length: 50},
			{ID: 64999, Address: 40122, Length: 3}, {ID: 160, Name: "inputs of a multiple tracker", Address: 40127, Length: 68},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Model{})); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	for _, most := range []int{2, 10} { // of a device that answers no more
		small, err := Scan(func(address uint16, count int) ([]uint16, error) {
			if count > most {
				return nil, fmt.Errorf("%d registers", count)
			}
			return device().read(address, count)
		}, most)
		if diff := cmp.Diff(got, small, cmp.AllowUnexported(Model{})); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
}

// line tells of a proposed point what matters.
func line(point *config.MappedPoint) string {
	mapping := &point.Mapping
	sentinel := ""
	if mapping.Sentinel != nil {
		sentinel = fmt.Sprintf(" %X/%X", mapping.Sentinel.Bits, mapping.Sentinel.Mask)
	}
	return fmt.Sprintf("%d %s x%v %s @%d/%d %s%s", point.ID, point.Name, point.Scale, point.Unit, mapping.Address, mapping.Unit, mapping.DataType, sentinel)
}

func TestPointsAreProposed(t *testing.T) {
	t.Parallel()
	found, err := Scan(device().read, 125)
	if err != nil {
		t.Fatal(err)
	}
	var proposal Proposal
	proposal.Propose(found, 3, "", false)
	var lines []string
	for i := range proposal.Points {
		if !strings.HasPrefix(proposal.Points[i].Name, "m1_") {
			lines = append(lines, line(&proposal.Points[i]))
		}
	}
	want := []string{
		"6 m103_A x0.1 A @40072/3 uint16 FFFF/FFFF", "7 m103_AphA x0.1 A @40073/3 uint16 FFFF/FFFF",
		"8 m103_AphB x0.1 A @40074/3 uint16 FFFF/FFFF", "9 m103_AphC x0.1 A @40075/3 uint16 FFFF/FFFF",
		"10 m103_PPVphAB x0.1 V @40077/3 uint16 FFFF/FFFF", "11 m103_PPVphBC x0.1 V @40078/3 uint16 FFFF/FFFF",
		"12 m103_PPVphCA x0.1 V @40079/3 uint16 FFFF/FFFF", "13 m103_PhVphA x0.1 V @40080/3 uint16 FFFF/FFFF",
		"14 m103_PhVphB x0.1 V @40081/3 uint16 FFFF/FFFF",
		"15 m103_W x10 W @40084/3 int16 8000/FFFF", "16 m103_Hz x0.01 Hz @40086/3 uint16 FFFF/FFFF",
		"17 m103_WH x1 Wh @40094/3 uint32", "18 m103_TmpCab x0.1 C @40103/3 int16 8000/FFFF",
		"19 m103_St x1  @40108/3 uint16 FFFF/FFFF", "20 m103_Evt1 x1  @40110/3 bits 80000000/80000000",
		"21 m103_EvtVnd1 x1  @40114/3 bits 80000000/80000000", "22 m103_EvtVnd2 x1  @40116/3 bits 80000000/80000000",
		"23 m103_EvtVnd3 x1  @40118/3 bits 80000000/80000000", "24 m103_EvtVnd4 x1  @40120/3 bits 80000000/80000000",
		"25 m160_Evt x1  @40133/3 bits 80000000/80000000", "26 m160_N x1  @40135/3 uint16 FFFF/FFFF", "27 m160_TmsPer x1  @40136/3 uint16 FFFF/FFFF",
	}
	for module, at := range []uint16{40137, 40157} {
		id, name := 28+8*module, fmt.Sprintf("m160_%d_", module+1)
		want = append(want,
			fmt.Sprintf("%d %sID x1  @%d/3 uint16 FFFF/FFFF", id, name, at), fmt.Sprintf("%d %sIDStr x1  @%d/3 string 0/0", id+1, name, at+1),
			fmt.Sprintf("%d %sDCA x0.01 A @%d/3 uint16 FFFF/FFFF", id+2, name, at+9), fmt.Sprintf("%d %sDCV x0.1 V @%d/3 uint16 FFFF/FFFF", id+3, name, at+10),
			fmt.Sprintf("%d %sDCWH x1 Wh @%d/3 uint32", id+4, name, at+12), fmt.Sprintf("%d %sTms x1 Secs @%d/3 uint32 FFFFFFFF/FFFFFFFF", id+5, name, at+14),
			fmt.Sprintf("%d %sDCSt x1  @%d/3 uint16 FFFF/FFFF", id+6, name, at+17), fmt.Sprintf("%d %sDCEvt x1  @%d/3 bits 80000000/80000000", id+7, name, at+18),
		)
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	absent := []string{
		"m1_Opt", "m103_PhVphC", "m103_VA", "m103_VAr", "m103_PF", "m103_DCA", "m103_DCV", "m103_DCW", "m103_TmpSnk", "m103_TmpTrns", "m103_TmpOt", "m103_StVnd", "m103_Evt2",
		"m160_1_DCW", "m160_1_Tmp", "m160_2_DCW", "m160_2_Tmp",
	}
	if diff := cmp.Diff(absent, proposal.Absent); diff != "" {
		t.Error(diff)
	}
	var scales []string
	for _, scale := range proposal.Scales {
		scales = append(scales, fmt.Sprintf("%s@%d/%d=%d:%d", scale.Name, scale.Address, scale.Unit, scale.Exponent, len(scale.Points)))
	}
	if diff := cmp.Diff([]string{
		"m103_A_SF@40076/3=-1:4", "m103_V_SF@40083/3=-1:5", "m103_W_SF@40085/3=1:1", "m103_Hz_SF@40087/3=-2:1", "m103_WH_SF@40096/3=0:1", "m103_Tmp_SF@40107/3=-1:1",
		"m160_DCA_SF@40129/3=-2:2", "m160_DCV_SF@40130/3=-1:2", "m160_DCWH_SF@40132/3=0:2",
	}, scales); diff != "" {
		t.Error(diff)
	}
	var all Proposal
	all.Propose(found, 3, "u3_", true)
	if len(all.Points) != len(proposal.Points)+len(absent) || len(all.Absent) > 0 || all.Points[0].Name != "u3_m1_Mn" {
		t.Errorf("%d points, %q absent", len(all.Points), all.Absent)
	}
	usable(t, proposal.Points)
	usable(t, all.Points)
}

// usable fails the test unless points become tables that a channel takes.
func usable(t *testing.T, points []config.MappedPoint) {
	t.Helper()
	channel := config.Channel{ID: 1, Protocol: config.ProtocolModbusTCP, Points: points}
	channel.Modbus.Reads = config.Reads{}.OrDefault()
	again := channel
	if err := again.ParsePoints(channel.Tables()); err != nil {
		t.Fatal(err)
	}
	if len(points) != len(again.Points) || len(points) > 0 && !reflect.DeepEqual(points, again.Points) {
		t.Errorf("%+v\nbecame %+v", points, again.Points)
	}
}

// TestDevicesThatAreOtherwise than the specification has them.
func TestDevicesThatAreOtherwise(t *testing.T) {
	t.Parallel()
	at := func(base uint16) (image, uint16) {
		i := image{}
		return i, i.put(base, 0x5375, 0x6e53)
	}
	for name, test := range map[string]struct {
		make   func() image
		models []uint16
		notes  []string
		serial string
	}{
		"at 0, padded to 65": {func() image {
			i, next := at(0)
			i.put(i.inverter(i.common(next, 65)), 0xFFFF, 0)
			return i
		}, []uint16{1, 103}, nil, "SN-0042"},
		"at 50000, no end": {func() image {
			i, next := at(50000)
			i.inverter(i.common(next, 66))
			return i
		}, []uint16{1, 103}, []string{"the list of models has no end: exception 2"}, "SN-0042"},
		"a shorter model than it should be": {func() image {
			i, next := at(40000)
			i.put(i.put(next, 103, 3, 1, 2, 3), 0xFFFF, 0)
			return i
		}, []uint16{103}, []string{"the common model, which says who made the device, is missing"}, ""},
		"zeros": {func() image {
			i, next := at(40000)
			i.put(i.common(next, 66), 0, 0)
			return i
		}, []uint16{1}, []string{"what stands at 40070 is no model: id 0, length 0"}, "SN-0042"},
		"a length beyond the registers": {func() image {
			i, next := at(50000)
			i.put(i.common(next, 66), 103, 0xFFF0)
			return i
		}, []uint16{1}, []string{"what stands at 50070 is no model: id 103, length 65520"}, "SN-0042"},
		"no length": {func() image {
			i, next := at(0)
			i.put(i.common(next, 66), 103, 0)
			return i
		}, []uint16{1}, []string{"what stands at 70 is no model: id 103, length 0"}, "SN-0042"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			found, err := Scan(test.make().read, 125)
			if err != nil {
				t.Fatal(err)
			}
			var models []uint16
			for _, model := range found.Models {
				models = append(models, model.ID)
			}
			if cmp.Diff(test.models, models) != "" || cmp.Diff(test.notes, found.Notes) != "" || found.Serial != test.serial {
				t.Errorf("models %v, notes %q, serial %q", models, found.Notes, found.Serial)
			}
			var proposal Proposal
			proposal.Propose(found, 1, "", true)
			usable(t, proposal.Points)
		})
	}
	endless, next := at(0)
	for range maxModels + 1 {
		next = endless.put(next, 64002, 1, 0)
	}
	found, err := Scan(endless.read, 125)
	if err != nil || len(found.Models) != maxModels || found.Notes[0] != "the list of models has no end after 64: the rest was not looked at" {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := Scan(image{40000: 1, 40001: 2}.read, 125); ems.CodeOf(err) != ems.CodeNotFound ||
		err.Error() != `no SunSpec device: none of the usual addresses holds "SunS" (40000: 0001 0002; 0: exception 2; 50000: exception 2)` {
		t.Errorf("%v", err)
	}
	many, next := at(0)
	for range maxModels {
		next = many.put(many.put(next, 160, 648, 0, 0, 0, 0, 0, 0, 32, 0), make([]uint16, 640)...)
	}
	many.put(next, 0xFFFF, 0)
	if found, err = Scan(many.read, 125); err != nil || len(found.Models) != maxModels {
		t.Fatalf("%+v, %v", found, err)
	}
	var proposal Proposal
	proposal.Propose(found, 1, "", true)
	if len(proposal.Points) != maxPoints || proposal.Omitted != maxModels*(3+32*10)-maxPoints {
		t.Errorf("%d points, and %d too many", len(proposal.Points), proposal.Omitted)
	}
}

// TestWhatCannotBeReadCostsItsModelAlone, and is told; a device that is silent is not
// asked any more.
func TestWhatCannotBeReadCostsItsModelAlone(t *testing.T) {
	t.Parallel()
	whole, err := Scan(device().read, 125)
	if err != nil {
		t.Fatal(err)
	}
	proposed := func(found *Device) (names []string) {
		var proposal Proposal
		proposal.Propose(found, 1, "", true)
		usable(t, proposal.Points)
		for i := range proposal.Points {
			names = append(names, proposal.Points[i].Name)
		}
		return names
	}
	broken, reads := device(), 0
	delete(broken, 40080)
	found, err := Scan(func(address uint16, count int) ([]uint16, error) {
		reads++
		return broken.read(address, count)
	}, 125)
	if err != nil || found.Serial != "SN-0042" || len(found.Models) != 4 || reads > 8+7+6 {
		t.Fatalf("%+v, %v after %d reads", found, err, reads)
	}
	var want []string
	for _, name := range proposed(whole) {
		if !strings.HasPrefix(name, "m103_") {
			want = append(want, name)
		}
	}
	if diff := cmp.Diff(want, proposed(found)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"model 103 at 40070 cannot be read, and nothing of it is proposed: exception 2"}, found.Notes); diff != "" {
		t.Error(diff)
	}
	short, err := Scan(func(address uint16, count int) ([]uint16, error) { // a device that takes short reads alone, and does not say so
		if count > 10 {
			return nil, errRefused
		}
		return device().read(address, count)
	}, 125)
	if diff := cmp.Diff(whole, short, cmp.AllowUnexported(Model{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	silence := errors.New("silence")
	reads = 0
	found, err = Scan(func(address uint16, count int) ([]uint16, error) {
		if reads++; address == 40070 && count > 2 {
			return nil, silence
		}
		return device().read(address, count)
	}, 125)
	if err != nil || found.Serial != "SN-0042" || len(found.Models) != 2 || reads != 5 {
		t.Fatalf("%+v, %v after %d reads", found, err, reads)
	}
	if diff := cmp.Diff([]string{"model 103 at 40070 cannot be read, and nothing after it was looked at: silence"}, found.Notes); diff != "" {
		t.Error(diff)
	}
	if _, err = Scan(func(address uint16, count int) ([]uint16, error) {
		if address == 40002 {
			return nil, silence
		}
		return device().read(address, count)
	}, 125); !errors.Is(err, silence) {
		t.Error(err)
	}
}

// TestTheTablesOfModels are in order, and every exponent that a value names is
// there.
func TestTheTablesOfModels(t *testing.T) {
	t.Parallel()
	if count := len(definitions()); count != 18 {
		t.Errorf("%d models", count)
	}
	for id, model := range definitions() {
		has := map[string]bool{}
		for _, field := range model.points {
			has[field.name] = field.kind == "sunssf"
		}
		for _, fields := range [][]field{model.points, model.module} {
			last := 0
			for _, field := range fields {
				sizes := map[string]int{"float32": 2, "acc32": 2, "uint32": 2, "bitfield32": 2, "acc64": 4}
				if size := max(1, sizes[field.kind]); field.kind != "string" && field.size != size || field.offset < last || field.scale != "" && !has[field.scale] {
					t.Errorf("model %d: %+v", id, field)
				}
				last = field.offset + field.size
			}
		}
	}
}

// FuzzScan: whatever a device holds, a scan ends, within its models, and what it
// proposes can be used.
func FuzzScan(f *testing.F) {
	var seed []byte
	for at := range uint16(200) {
		word := device()[40000+at]
		seed = append(seed, byte(word>>8), byte(word))
	}
	f.Add(seed, uint8(125))
	f.Add(seed[:150], uint8(2))
	f.Add([]byte("SunS\x00\xa0\x00\x1c\x00\x00"), uint8(9))
	f.Fuzz(func(t *testing.T, registers []byte, most uint8) {
		registers = registers[:min(len(registers), 4096)]
		reads := 0
		read := func(address uint16, count int) ([]uint16, error) {
			reads++
			if count > max(2, int(most)) || reads > 10_000 {
				t.Fatalf("%d registers at once, after %d reads", count, reads)
			}
			words := make([]uint16, count)
			for i := range words {
				at := 2 * (int(address) + i - 40000)
				if at < 0 || at+1 >= len(registers) {
					return nil, errRefused
				}
				words[i] = uint16(registers[at])<<8 | uint16(registers[at+1])
			}
			return words, nil
		}
		found, err := Scan(read, max(2, int(most)))
		if err != nil {
			return
		}
		var proposal Proposal
		proposal.Propose(found, 1, "", most%2 == 0)
		for i := range proposal.Points {
			mapping := &proposal.Points[i].Mapping
			if mapping.Address < 40002 || mapping.End() > 40000+len(registers)/2 {
				t.Fatalf("%s is outside of the device", line(&proposal.Points[i]))
			}
		}
		usable(t, proposal.Points)
	})
}
