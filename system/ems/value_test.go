package ems_test

import (
	"errors"
	"math"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/voltageems/voltageems-go/system/ems"
)

func TestFormatNumberHasSixDecimalsAndNoExponent(t *testing.T) {
	for _, test := range []struct {
		number float64
		text   string
	}{
		{0, "0.000000"},
		{math.Copysign(0, -1), "0.000000"},
		{-0.0000001, "0.000000"},
		{23.456789, "23.456789"},
		{1e21, "1000000000000000000000.000000"},
		{-12.5, "-12.500000"},
		{9007199254740993, "9007199254740992.000000"},
		{65536.0078125, "65536.007812"}, // half-way: to the even digit
	} {
		text, err := ems.FormatNumber(test.number)
		if err != nil || text != test.text {
			t.Errorf("FormatNumber(%v) = %q, %v; want %q", test.number, text, err, test.text)
		}
	}
}

func TestNumbersThatAreNotFiniteAreRefused(t *testing.T) {
	for _, number := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if text, err := ems.FormatNumber(number); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("FormatNumber(%v) = %q, %v; want INVALID", number, text, err)
		}
	}
	for _, text := range []string{"", "nan", "inf", "-Inf", "1e400", "12,5", "x"} {
		if number, err := ems.ParseNumber(text); ems.CodeOf(err) != ems.CodeInvalid {
			t.Errorf("ParseNumber(%q) = %v, %v; want INVALID", text, number, err)
		}
	}
}

func TestNumbersSurviveFormatAndParseWithinHalfAMillionth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Float64Range(-1e9, 1e9).Draw(t, "number")
		text, err := ems.FormatNumber(number)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ems.ParseNumber(text)
		// Half a millionth, and what the nearest number to the text is away from it.
		most := 0.5e-6 + math.Nextafter(math.Abs(number), math.Inf(1)) - math.Abs(number)
		if err != nil || math.Abs(back-number) > most {
			t.Fatalf("%v became %q and then %v, %v", number, text, back, err)
		}
	})
}

func TestPointsConvertBothWays(t *testing.T) {
	scaled := ems.Point{Type: ems.Telemetry, Scale: 0.1, Offset: -40}
	if got := scaled.FromRaw(650); got != 25 {
		t.Errorf("650 x 0.1 - 40 = %v, want 25", got)
	}
	if got := scaled.ToRaw(25); got != 650 {
		t.Errorf("the inverse of 25 = %v, want 650", got)
	}
	for _, kind := range []ems.PointType{ems.Signal, ems.Control} {
		plain, reversed := ems.Point{Type: kind, Scale: 9}, ems.Point{Type: kind, Scale: 9, Reverse: true}
		if plain.FromRaw(1) != 1 || plain.ToRaw(1) != 1 || reversed.FromRaw(1) != 0 || reversed.ToRaw(1) != 0 || reversed.FromRaw(0) != 1 {
			t.Errorf("%s: a digital point keeps 0 and 1, or exchanges them, whatever its scale", kind)
		}
	}
}

func TestQualityTexts(t *testing.T) {
	for _, quality := range []ems.Quality{ems.Good, ems.Uncertain, ems.Stale, ems.Bad} {
		back, err := ems.ParseQuality(quality.String())
		if err != nil || back != quality {
			t.Errorf("%s became %s, %v", quality, back, err)
		}
	}
	if quality, err := ems.ParseQuality(""); err != nil || quality != ems.Good {
		t.Errorf("no text means good, got %s, %v", quality, err)
	}
	if quality, err := ems.ParseQuality("fine"); err == nil || quality != ems.Bad {
		t.Errorf("an unknown text must be bad with an error, got %s, %v", quality, err)
	}
}

func TestTimesAreMilliseconds(t *testing.T) {
	if ems.UnixMS(time.Time{}) != 0 || !ems.FromUnixMS(0).IsZero() {
		t.Error("the zero time is 0 both ways")
	}
	at := time.UnixMilli(1_782_000_000_123)
	if ems.UnixMS(at) != 1_782_000_000_123 || !ems.FromUnixMS(1_782_000_000_123).Equal(at) {
		t.Error("a time must survive as milliseconds")
	}
}

func TestErrorsKeepCodeAndCause(t *testing.T) {
	cause := errors.New("cable cut")
	err := ems.Errorf(ems.CodeUnavailable, "device 7: %w", cause)
	if ems.CodeOf(err) != ems.CodeUnavailable || !errors.Is(err, cause) || err.Error() != "device 7: cable cut" {
		t.Errorf("got %v with code %s", err, ems.CodeOf(err))
	}
	if ems.CodeOf(cause) != ems.CodeInternal {
		t.Error("an error without a code is internal")
	}
	inner := ems.Errorf(ems.CodeInvalid, "outer: %w", err)
	if ems.CodeOf(inner) != ems.CodeInvalid {
		t.Error("the outermost code wins")
	}
}

func FuzzParsePointRef(f *testing.F) {
	for _, seed := range []string{"comsrv:1001:T:1", "comsrv:0:T:1", "comsrv:1:X:1", "comsrv:1:T:01", "a:b", "comsrv:4294967296:A:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := ems.ParsePointRef(text)
		if err != nil {
			if ems.CodeOf(err) != ems.CodeInvalid {
				t.Fatalf("%q: %v has code %s", text, err, ems.CodeOf(err))
			}
			return
		}
		if ref.String() != text {
			t.Fatalf("%q was read as %q: two texts must not name one point", text, ref)
		}
	})
}

func FuzzParseNumber(f *testing.F) {
	for _, seed := range []string{"1", "-0.5", "nan", "0x1p4", "1_000", "1e308"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		number, err := ems.ParseNumber(text)
		if err == nil && (math.IsNaN(number) || math.IsInf(number, 0)) {
			t.Fatalf("%s was accepted as %v", strconv.Quote(text), number)
		}
	})
}
