package physics

import (
	"math"
	"testing"
)

// The values are what pvlib-python 0.16.1 gives: irradiance.erbs with
// irradiance.get_extra_radiation.
func TestSplit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		zenith, global float64
		day            int
		extra          float64
		beam, diffuse  float64
	}{
		{30, 800, 172, 1321.6235925714136, 696.885128765351, 196.47977496961636},
		{45, 500, 100, 1360.7897915626618, 270.4469774651082, 308.76510828301656},
		{60, 200, 15, 1412.9849538570536, 16.355680736833104, 191.82215963158345},
		{80, 150, 300, 1383.6362028955045, 529.7809661093004, 58.00450067249416},
		{78, 45, 120, 1345.6580254882049, 3.1331054393133835, 44.348590750602035},
		{10, 1050, 172, 1321.6235925714136, 890.275281970827, 173.25},
	} {
		sun := Sun{ElevationDeg: 90 - c.zenith, Extraterrestrial: Extraterrestrial(c.day)}
		isNear(t, "above the atmosphere", sun.Extraterrestrial, c.extra, 1e-9)
		sky := Split(c.global, sun)
		isNear(t, "beam", sky.Beam, c.beam, 1e-9)
		isNear(t, "diffuse", sky.Diffuse, c.diffuse, 1e-9)
	}
	for _, elevation := range []float64{-10, 0, 2.9} {
		if sky := Split(10, Sun{ElevationDeg: elevation, Extraterrestrial: 1366}); sky != (Sky{Global: 10, Diffuse: 10}) {
			t.Errorf("%+v at %v degrees", sky, elevation)
		}
	}
}

// The first two values are those of pvlib-python's tests/test_irradiance.py for the
// isotropic sky and the ground; the others are what pvlib-python 0.16.1 gives by
// irradiance.get_total_irradiance with haydavies and an albedo of 0.25.
func TestIrradianceOfAPlane(t *testing.T) {
	t.Parallel()
	up := Sun{ElevationDeg: 90, Extraterrestrial: 1366}
	isNear(t, "isotropic sky", Plane{TiltDeg: 40}.Irradiance(up, Sky{Global: 100, Diffuse: 100}), 88.30222215594891, 1e-9)
	isNear(t, "ground", Plane{TiltDeg: 40, Albedo: 0.25}.Irradiance(up, Sky{Global: 900}), 26.32000014911496, 1e-9)
	for _, c := range []struct {
		plane Plane
		sun   Sun
		sky   Sky
		want  float64
	}{
		{Plane{40, 180, 0.25}, Sun{60, 180, 1325}, Sky{800, 196.479775, 696.885111}, 909.451498774895},
		{Plane{20, 90, 0.25}, Sun{20, 260, 1400}, Sky{200, 120, 233.90435201304692}, 99.87314988930828},
		{Plane{30, 180, 0.25}, Sun{30, 120, 1367}, Sky{400, 150, 500}, 491.49202346244624},
	} {
		isNear(t, "on the plane", c.plane.Irradiance(c.sun, c.sky), c.want, 1e-9)
	}
	sky := Split(700, up)
	isNear(t, "flat", Plane{}.Irradiance(up, sky), 700, 0)
	isNear(t, "nearly flat", Plane{TiltDeg: 1e-9}.Irradiance(up, sky), 700, 1e-6)
	behind := Plane{TiltDeg: 90, AzimuthDeg: 0}.Irradiance(Sun{40, 180, 1366}, Sky{500, 0, 500 / math.Sin(radians(40))})
	isNear(t, "with its back to the sun", behind, 0, 0)
}
