package modbusserver

import "github.com/tbrandon/mbserver"

// Identity is what a unit says of itself. See 6.17 and 6.21 of the specification.
type Identity struct {
	Vendor      string
	ProductCode string
	Revision    string // major and minor

	// What follows may be empty, and is then not there.
	VendorURL   string
	ProductName string
	ModelName   string
	Application string // what the user calls it
}

// Of reading a device identification.
const (
	deviceIdentification = 14 // the MEI type
	mostObject           = 240
	regularObjects       = 3 // the first object that is not basic
	individual           = 4 // the access to one object
)

// SetIdentity lets a unit answer the functions 17 and 43/14, which it refuses
// before. Texts are cut after 240 bytes.
func (u *Unit) SetIdentity(identity Identity) {
	texts := []string{
		identity.Vendor, identity.ProductCode, identity.Revision,
		identity.VendorURL, identity.ProductName, identity.ModelName, identity.Application,
	}
	for i := range texts {
		texts[i] = texts[i][:min(len(texts[i]), mostObject)]
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.objects = texts
}

// reportServerID appends the number of the unit, that it runs, and what it is.
func (u *Unit) reportServerID(_ *function, reply []byte, asked call) ([]byte, int, mbserver.Exception) {
	switch {
	case u.objects == nil:
		return reply, 0, mbserver.IllegalFunction
	case len(asked.data) != 0:
		return reply, 0, mbserver.IllegalDataValue
	}
	text := u.objects[0] + " " + u.objects[1] + " " + u.objects[2]
	text = text[:min(len(text), mostObject)]
	reply = append(reply, byte(2+len(text)), asked.unit, 0xFF)
	return append(reply, text...), 0, mbserver.Success
}

// identify appends the objects of an access from one on, as many as fit a PDU.
func (u *Unit) identify(_ *function, reply []byte, asked call) ([]byte, int, mbserver.Exception) {
	switch {
	case u.objects == nil || len(asked.data) > 0 && asked.data[0] != deviceIdentification:
		return reply, 0, mbserver.IllegalFunction
	case len(asked.data) != 3 || asked.data[1] < 1 || asked.data[1] > individual:
		return reply, 0, mbserver.IllegalDataValue
	}
	access, first := asked.data[1], int(asked.data[2])
	last := len(u.objects)
	switch {
	case access == individual && !u.has(first):
		return reply, 0, mbserver.IllegalDataAddress
	case access == individual:
		last = first + 1
	case access == 1:
		last = regularObjects
	}
	if first >= last { // one that there is not: from the beginning
		first = 0
	}
	start := len(reply) - 1
	reply = append(reply, deviceIdentification, access, u.conformity(), 0, 0, 0)
	more := len(reply) - 3 // whether more follows, from which object on, how many are here
	for object := first; object < last; object++ {
		if !u.has(object) {
			continue
		}
		text := u.objects[object]
		if len(reply)-start+2+len(text) > mostPDU {
			reply[more], reply[more+1] = 0xFF, byte(object)
			break
		}
		reply = append(append(reply, byte(object), byte(len(text))), text...)
		reply[more+2]++
	}
	return reply, 0, mbserver.Success
}

// has reports whether there is an object: the basic ones always are.
func (u *Unit) has(object int) bool {
	return object < len(u.objects) && (object < regularObjects || u.objects[object] != "")
}

// conformity tells which objects there are, and that they can be read one by one.
func (u *Unit) conformity() byte {
	for object := regularObjects; object < len(u.objects); object++ {
		if u.has(object) {
			return 0x82
		}
	}
	return 0x81
}
