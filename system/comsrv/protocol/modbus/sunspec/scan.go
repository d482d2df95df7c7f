package sunspec

import (
	"fmt"
	"math"
	"strings"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Read reads holding registers of the device. An error of code CONFLICT is about these
// registers alone, and others may be read.
type Read func(address uint16, count int) ([]uint16, error)

// Device is what a scan found.
type Device struct {
	Base         uint16   `json:"base"` // address of the marker
	Manufacturer string   `json:"manufacturer"`
	Model        string   `json:"model"`
	Options      string   `json:"options,omitempty"`
	Version      string   `json:"version,omitempty"`
	Serial       string   `json:"serial"`
	Models       []Model  `json:"models"`
	Notes        []string `json:"notes,omitempty"` // what the device has otherwise than the specification
}

// Model is a block of registers of a device.
type Model struct {
	ID      uint16 `json:"id"`
	Name    string `json:"name"`    // empty: not known here
	Address uint16 `json:"address"` // of its id
	Length  int    `json:"length"`  // registers after id and length

	words []uint16 // from the id on, as far as they are known here
}

// Bounds of a scan.
const (
	maxModels  = 64
	maxModules = 32 // of a model that repeats a part
	endModel   = 0xFFFF
)

// bases are where the marker may stand.
var bases = [...]uint16{40000, 0, 50000}

// marker is "SunS".
var marker = [...]uint16{0x5375, 0x6e53}

// Scan finds the marker and walks the models. A device without the marker is
// NOT_FOUND, and the error of the first read behind it is passed on; after that, what
// cannot be read is noted. No read asks for more than most registers, which is 2 or
// more.
func Scan(read Read, most int) (*Device, error) {
	device := &Device{}
	if err := device.find(read); err != nil {
		return nil, err
	}
	for address := int(device.Base) + len(marker); ; {
		if len(device.Models) == maxModels {
			device.note("the list of models has no end after %d: the rest was not looked at", maxModels)
			break
		}
		if address+2 > math.MaxUint16+1 {
			device.note("the list of models runs past address 65535")
			break
		}
		head, err := read(uint16(address), 2)
		if err != nil && len(device.Models) == 0 {
			return nil, err
		}
		if err != nil {
			device.note("the list of models has no end: %v", err)
			break
		}
		if head[0] == endModel {
			break
		}
		model := Model{ID: head[0], Address: uint16(address), Length: int(head[1])}
		if model.ID == 0 || model.Length == 0 || address+2+model.Length > math.MaxUint16+1 {
			device.note("what stands at %d is no model: id %d, length %d", address, model.ID, model.Length)
			break
		}
		least, err := model.fetch(read, most)
		device.Models = append(device.Models, model)
		switch {
		case err == nil:
			most = least
		case refused(err):
			device.note("model %d at %d cannot be read, and nothing of it is proposed: %v", model.ID, model.Address, err)
		default:
			device.note("model %d at %d cannot be read, and nothing after it was looked at: %v", model.ID, model.Address, err)
			device.introduce()
			return device, nil
		}
		address += 2 + model.Length
	}
	device.introduce()
	return device, nil
}

func (d *Device) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// find looks for the marker. A device that refuses an address, or is silent about
// it, may have it elsewhere.
func (d *Device) find(read Read) error {
	var refused []string
	for _, base := range bases {
		found, err := read(base, len(marker))
		switch {
		case err != nil:
			refused = append(refused, fmt.Sprintf("%d: %v", base, err))
		case found[0] == marker[0] && found[1] == marker[1]:
			d.Base = base
			return nil
		default:
			refused = append(refused, fmt.Sprintf("%d: %04x %04x", base, found[0], found[1]))
		}
	}
	return ems.Errorf(ems.CodeNotFound, `no SunSpec device: none of the usual addresses holds "SunS" (%s)`, strings.Join(refused, "; "))
}

// refused reports whether an error is about the registers of one read alone.
func refused(err error) bool { return ems.CodeOf(err) == ems.CodeConflict }

// fetch reads what is known of a model, all of it or nothing: a value without its
// exponent would be wrong. A read that is refused is tried in halves, because the device
// may take short ones alone; fetch returns how many registers it took at most.
func (m *Model) fetch(read Read, most int) (least int, err error) {
	known := definitions()[m.ID]
	if known == nil {
		return most, nil
	}
	m.Name = known.name
	size := end(known.points)
	if len(known.module) > 0 {
		size += maxModules * end(known.module)
	}
	size = min(size, 2+m.Length)
	for len(m.words) < size {
		count := min(most, size-len(m.words))
		part, err := read(m.Address+uint16(len(m.words)), count)
		switch {
		case err == nil:
			m.words = append(m.words, part...)
		case refused(err) && count > 1:
			most = count / 2
		default:
			m.words = nil
			return most, err
		}
	}
	return max(most, 2), nil
}

// introduce reads the common model.
func (d *Device) introduce() {
	for i := range d.Models {
		common := &d.Models[i]
		if common.ID != 1 {
			continue
		}
		for _, field := range definitions()[1].points {
			into := map[string]*string{"Mn": &d.Manufacturer, "Md": &d.Model, "Opt": &d.Options, "Vr": &d.Version, "SN": &d.Serial}[field.name]
			if words := common.at(field.offset, field.size); into != nil && words != nil {
				*into = text(words)
			}
		}
		return
	}
	d.note("the common model, which says who made the device, is missing")
}

// at returns registers of the model, nil where it does not have them all.
func (m *Model) at(offset, size int) []uint16 {
	if offset+size > len(m.words) {
		return nil
	}
	return m.words[offset : offset+size]
}

// text reads characters up to the first zero; what is none becomes a question mark.
func text(words []uint16) string {
	var letters strings.Builder
	for _, word := range words {
		for _, letter := range []byte{byte(word >> 8), byte(word)} {
			if letter == 0 {
				return strings.TrimSpace(letters.String())
			}
			if letter < ' ' || letter > '~' {
				letter = '?'
			}
			letters.WriteByte(letter)
		}
	}
	return strings.TrimSpace(letters.String())
}
