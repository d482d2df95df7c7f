package modbus

import (
	"encoding/binary"
	"slices"

	"github.com/voltageems/voltageems-go/system/config"
)

// fromWire returns the number that the bytes of a value make, 8 at most: byte i of
// the wire is the byte that letter i of the order names, A being the most
// significant. BADC has the bytes of each register swapped, CDAB has the
// registers swapped.
func fromWire(order config.ByteOrder, wire []byte) uint64 {
	var buffer [8]byte
	value := buffer[8-len(wire):]
	for i, b := range wire {
		value[order[i]-'A'] = b
	}
	return binary.BigEndian.Uint64(buffer[:])
}

// toWire is the inverse of fromWire, for a value of so many registers.
func toWire(order config.ByteOrder, bits uint64, registers int) []byte {
	var buffer [8]byte
	binary.BigEndian.PutUint64(buffer[:], bits)
	value := buffer[8-2*registers:]
	wire := make([]byte, len(value))
	for i := range wire {
		wire[i] = value[order[i]-'A']
	}
	return wire
}

// inOrder returns the bytes of a text: as they travel, with those of each register
// swapped (BADC), with the last register first (CDAB), or both (DCBA).
func inOrder(order config.ByteOrder, wire []byte) []byte {
	text := slices.Clone(wire)
	if order == "CDAB" || order == "DCBA" {
		slices.Reverse(text)
	}
	if order == "BA" || order == "BADC" || order == "CDAB" {
		for i := 0; i < len(text); i += 2 {
			text[i], text[i+1] = text[i+1], text[i]
		}
	}
	return text
}
