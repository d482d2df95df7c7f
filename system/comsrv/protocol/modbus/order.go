package modbus

import (
	"slices"

	"github.com/voltageems/voltageems-go/system/config"
)

// bigEndian is the order in which a value of one, two or four registers travels
// when its mapping does not say otherwise.
var bigEndian = map[int]config.ByteOrder{1: "AB", 2: "ABCD", 4: "ABCDEFGH"}

// knownOrder reports whether order names every byte of a value of so many
// registers once.
func knownOrder(order config.ByteOrder, registers int) bool {
	letters := []byte(order)
	slices.Sort(letters)
	return string(letters) == string(bigEndian[registers])
}

// fromWire copies bytes from the order of the wire to big-endian: byte i of
// the wire is the byte of the value that letter i of the order names, A being
// the most significant. BADC has the bytes of each register swapped, CDAB has
// the registers swapped.
func fromWire(order config.ByteOrder, wire, value []byte) {
	for i := range wire {
		value[order[i]-'A'] = wire[i]
	}
}

// toWire is the inverse of fromWire.
func toWire(order config.ByteOrder, value, wire []byte) {
	for i := range wire {
		wire[i] = value[order[i]-'A']
	}
}
