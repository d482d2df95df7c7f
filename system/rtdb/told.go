package rtdb

import (
	"math"

	"github.com/voltageems/voltageems-go/system/ems"
)

// Told is what Redis was last told of one point. Whoever polls a device keeps
// one for each point, and sends what has changed since.
type Told struct {
	known   bool
	number  float64
	quality ems.Quality
}

// Changed reports whether Redis does not know the newest value of the point.
// Within its deadband, in engineering units around what Redis was told, a number
// has not changed; the number of a bad point is none.
func (t *Told) Changed(number float64, quality ems.Quality, deadband float64) bool {
	if !t.known || quality != t.quality {
		return true
	}
	if quality == ems.Bad || math.Float64bits(number) == math.Float64bits(t.number) {
		return false
	}
	return deadband == 0 || math.Abs(number-t.number) > deadband
}

// Note keeps what a call of Ingest that succeeded has told.
func (t *Told) Note(number float64, quality ems.Quality) {
	*t = Told{known: true, number: number, quality: quality}
}
