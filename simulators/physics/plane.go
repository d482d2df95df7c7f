package physics

import "math"

// Sun is where the sun stands, in degrees, and what it shines with above the atmosphere,
// normal to its rays, in W/m2.
type Sun struct {
	ElevationDeg, AzimuthDeg float64
	Extraterrestrial         float64
}

// Sky is the irradiance of a horizontal plane in W/m2 and the beam normal to the rays
// that is part of it: Global = Diffuse + Beam sin(elevation).
type Sky struct{ Global, Diffuse, Beam float64 }

// Plane is how an array is mounted: its tilt from the horizontal, 0 to 90 degrees, where
// it looks, clockwise from north, and the part of the light that the ground before it
// reflects, 0 to 1.
type Plane struct{ TiltDeg, AzimuthDeg, Albedo float64 }

// Extraterrestrial returns the irradiance above the atmosphere in W/m2 on a day of the
// year, 1 to 366.
// Source: J. W. Spencer, Search 2 (1971), with a solar constant of 1366.1 W/m2.
func Extraterrestrial(day int) float64 {
	b := 2 * math.Pi * float64(day-1) / 365
	return 1366.1 * (1.00011 + 0.034221*math.Cos(b) + 0.00128*math.Sin(b) + 0.000719*math.Cos(2*b) + 0.000077*math.Sin(2*b))
}

// Limits of the elevation of the sun, as sines: below the first there is no beam, below
// the second the air is as thick as there, and below the third the ring of light about
// the sun is not spread any further.
const (
	leastBeamSine      = 0.05233595624294383 // 3 degrees
	leastClearnessSine = 0.065
	leastRingSine      = 0.01745
)

// Split parts a global horizontal irradiance in W/m2 into beam and diffuse light by how
// clear the sky is.
// Source: D. G. Erbs, S. A. Klein, J. A. Duffie, Solar Energy 28 (1982).
func Split(global float64, sun Sun) Sky {
	sine := math.Sin(radians(sun.ElevationDeg))
	if sine < leastBeamSine || global <= 0 {
		return Sky{Global: global, Diffuse: global}
	}
	clearness := min(1, global/(sun.Extraterrestrial*max(sine, leastClearnessSine)))
	part := 0.165
	switch k := clearness; {
	case k <= 0.22:
		part = 1 - 0.09*k
	case k <= 0.8:
		part = 0.9511 - 0.1604*k + 4.388*k*k - 16.638*k*k*k + 12.336*k*k*k*k
	}
	return Sky{Global: global, Diffuse: part * global, Beam: (1 - part) * global / sine}
}

// Irradiance returns what falls on the plane in W/m2: the beam, the diffuse light of
// which a part stands about the sun, and what the ground reflects.
// Source: J. E. Hay, J. A. Davies, Proc. First Canadian Solar Radiation Data Workshop
// (1980): D ((1 - A) (1 + cos t) / 2 + A Rb), with A the part of the beam that the
// atmosphere lets through and Rb that of the plane in the beam of the horizontal one.
// The ground is isotropic: B. Y. H. Liu, R. C. Jordan, Solar Energy 4 (1960).
func (p Plane) Irradiance(sun Sun, sky Sky) float64 {
	if p.TiltDeg == 0 {
		return sky.Global
	}
	tilt, elevation := radians(p.TiltDeg), radians(sun.ElevationDeg)
	facing := max(0, math.Sin(elevation)*math.Cos(tilt)+math.Cos(elevation)*math.Sin(tilt)*math.Cos(radians(sun.AzimuthDeg-p.AzimuthDeg)))
	through := sky.Beam / sun.Extraterrestrial
	ratio := facing / max(math.Sin(elevation), leastRingSine)
	diffuse := sky.Diffuse * ((1-through)*(1+math.Cos(tilt))/2 + through*ratio)
	return sky.Beam*facing + diffuse + sky.Global*p.Albedo*(1-math.Cos(tilt))/2
}
