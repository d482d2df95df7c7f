// Package physics holds the formulas that simulated machines are made of. Each
// function is pure, and names its units, ranges and source.
package physics

import (
	"math"
	"time"
)

// SunPosition returns the elevation of the sun above the horizon, without
// refraction, and its azimuth clockwise from north, both in degrees, at a place of
// -90 to 90 degrees north and -180 to 180 degrees east.
// Source: J. J. Michalsky, "The Astronomical Almanac's algorithm for approximate
// solar position (1950-2050)", Solar Energy 40 (1988); good to 0.01 degrees.
func SunPosition(at time.Time, latitudeDeg, longitudeDeg float64) (elevationDeg, azimuthDeg float64) {
	utc := at.UTC()
	epoch := time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC)
	days := utc.Sub(epoch).Hours() / 24
	hour := float64(utc.Hour()) + float64(utc.Minute())/60 + (float64(utc.Second())+float64(utc.Nanosecond())/1e9)/3600

	meanLongitude := wrap(280.460 + 0.9856474*days)
	anomaly := radians(wrap(357.528 + 0.9856003*days))
	ecliptic := radians(wrap(meanLongitude + 1.915*math.Sin(anomaly) + 0.020*math.Sin(2*anomaly)))
	obliquity := radians(23.439 - 0.0000004*days)
	ascension := math.Atan2(math.Cos(obliquity)*math.Sin(ecliptic), math.Cos(ecliptic))
	declination := math.Asin(math.Sin(obliquity) * math.Sin(ecliptic))

	siderealHours := 6.697375 + 0.0657098242*days + hour
	hourAngle := radians(wrap(siderealHours*15+longitudeDeg)) - ascension
	latitude := radians(latitudeDeg)
	elevation := math.Asin(math.Sin(declination)*math.Sin(latitude) + math.Cos(declination)*math.Cos(latitude)*math.Cos(hourAngle))
	azimuth := math.Atan2(-math.Sin(hourAngle), math.Tan(declination)*math.Cos(latitude)-math.Sin(latitude)*math.Cos(hourAngle))
	return elevation * 180 / math.Pi, wrap(azimuth * 180 / math.Pi)
}

// ClearSky returns the global horizontal irradiance under a clear sky in W/m2,
// for an elevation of the sun in degrees: 0 below the horizon.
// Source: B. Haurwitz, Journal of Meteorology 2 (1945) and 3 (1946):
// GHI = 1098 cos z exp(-0.059 / cos z), with z the zenith angle.
func ClearSky(elevationDeg float64) float64 {
	if elevationDeg <= 0 {
		return 0
	}
	cosine := math.Sin(radians(elevationDeg))
	return 1098 * cosine * math.Exp(-0.059/cosine)
}

// ThroughClouds reduces a clear-sky irradiance by a cloud cover from 0 to 1.
// Source: F. Kasten and G. Czeplak, Solar Energy 24 (1980):
// G = G0 (1 - 0.75 n^3.4).
func ThroughClouds(irradiance, cover float64) float64 {
	return irradiance * (1 - 0.75*math.Pow(cover, 3.4))
}

func radians(degrees float64) float64 { return degrees * math.Pi / 180 }

// wrap brings an angle in degrees into 0 to 360.
func wrap(degrees float64) float64 {
	degrees = math.Mod(degrees, 360)
	if degrees < 0 {
		return degrees + 360
	}
	return degrees
}
