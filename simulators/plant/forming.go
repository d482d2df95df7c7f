package plant

import (
	"time"

	"github.com/voltageems/voltageems-go/simulators/document"
)

// forming is the parameters of a device that can form an island.
type forming struct {
	droop   float64       // part of the nominal frequency from no load to the rating
	inertia time.Duration // H
	lag     time.Duration // of the governor
	reset   time.Duration // time constant of what brings the frequency back, 0 for none
}

// readForming reads them; the droop is in percent, and one without a lag is a
// converter.
func readForming(m *document.Mapping, droopPct float64, inertia, lag time.Duration) forming {
	f := forming{
		droop:   m.About("part of the frequency by which that of its island falls from no load to all").Number("island_droop_pct", 0.1, 10, droopPct) / 100,
		inertia: seconds(m.About("H: kinetic energy over the rating; a converter emulates it"), "inertia_s", 0.1, 20, inertia),
		reset:   seconds(m.About("time constant of what brings the frequency of its island back, 0 for none"), "frequency_reset_s", 0, 3600, 10*time.Second),
	}
	if lag > 0 {
		f.lag = seconds(m.About("lag of the engine behind its governor"), "governor_s", 0.01, 10, lag)
	}
	return f
}

func seconds(m *document.Mapping, key string, least, most float64, fallback time.Duration) time.Duration {
	return time.Duration(m.Number(key, least, most, fallback.Seconds()) * float64(time.Second))
}

// restore returns what is added to the reference of a governor while it forms an
// island: the integral part that brings the frequency back to its nominal value, as
// an isochronous governor does. Beside a grid there is none.
//
// It stands still while the device can give no more, or no less.
func (f forming) restore(before Power, g governor, got flow, nominalHz float64, now moment) Power {
	if !got.holds || f.reset == 0 {
		return 0
	}
	lack := (nominalHz - got.on.FrequencyHz) / (f.droop * nominalHz)
	if lack > 0 && got.driving >= g.most || lack < 0 && got.driving <= g.least {
		return before
	}
	return before + powerOfKW(g.rating.KW()*lack*now.seconds()/f.reset.Seconds())
}
