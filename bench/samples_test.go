package bench

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPercentilesAreTheNearestRankOfKnownSamples(t *testing.T) {
	thousand := newSamples(1000)
	for n := 1000; n >= 1; n-- { // the order of arrival must not matter
		thousand.add(time.Duration(n) * time.Microsecond)
	}
	three := newSamples(10)
	for _, n := range []int{30, 10, 20} {
		three.add(time.Duration(n) * time.Microsecond)
	}
	for _, test := range []struct {
		samples *samples
		percent float64
		micros  int
	}{
		{thousand, 50, 500},
		{thousand, 95, 950},
		{thousand, 99, 990},
		{thousand, 99.9, 999},
		{thousand, 100, 1000},
		{thousand, 0.01, 1},
		{three, 50, 20},
		{three, 33, 10},
		{three, 34, 20},
		{three, 99, 30},
	} {
		got := percentiles(test.samples.kept, test.percent)[0]
		if want := time.Duration(test.micros) * time.Microsecond; got != want {
			t.Errorf("p%v of %d samples is %v, want %v", test.percent, test.samples.count, got, want)
		}
	}
	if thousand.max != time.Millisecond {
		t.Errorf("the maximum is %v", thousand.max)
	}
	if none := percentiles(nil, 50, 99); none[0] != 0 || none[1] != 0 {
		t.Errorf("no samples have percentiles %v", none)
	}
}

// The nearest rank is the least sample that at least so many percent of all do
// not exceed: checked against that definition.
func TestPercentilesKeepTheirDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.IntRange(0, 50), 1, 200).Draw(t, "values")
		percent := rapid.IntRange(1, 100).Draw(t, "percent")
		all := newSamples(len(values))
		for _, value := range values {
			all.add(time.Duration(value))
		}
		got := int(percentiles(all.kept, float64(percent))[0])
		notAbove, below := 0, 0
		for _, value := range values {
			if value <= got {
				notAbove++
			}
			if value < got {
				below++
			}
		}
		if !slices.Contains(values, got) || notAbove*100 < percent*len(values) || below*100 >= percent*len(values) {
			t.Fatalf("p%d of %v is %d", percent, values, got)
		}
	})
}

func TestMoreSamplesThanAreKeptAreDrawnEvenlyAndKeepTheMaximum(t *testing.T) {
	const limit, added = 1000, 100_000
	all := newSamples(limit)
	for n := range added {
		all.add(time.Duration(n)) // rising: a reservoir that forgets the past would show it
	}
	if len(all.kept) != limit || all.count != added || all.max != added-1 {
		t.Fatalf("%d kept of %d with maximum %d", len(all.kept), all.count, all.max)
	}
	// The standard deviation of the median of 1000 even draws is 1.6 % of the
	// range; the random numbers are the same in every run.
	if median := percentiles(all.kept, 50)[0]; median < 45_000 || median > 55_000 {
		t.Errorf("the median of 0 to %d is %d", added-1, median)
	}
}

func TestMergedSamplesAreThoseOfBoth(t *testing.T) {
	first, second := newSamples(8), newSamples(2)
	first.add(5)
	for _, n := range []time.Duration{30, 10, 20} { // one of these is not kept
		second.add(n)
	}
	first.merge(second)
	if first.count != 3 || first.max != 30 || len(first.kept) != 3 || first.kept[0] != 5 {
		t.Errorf("%+v", first)
	}
	second.clear()
	second.add(7)
	if second.count != 1 || second.max != 7 || !slices.Equal(second.kept, []time.Duration{7}) {
		t.Errorf("after clearing: %+v", second)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		numbers []float64
		want    float64
	}{
		{nil, 0},
		{[]float64{7}, 7},
		{[]float64{9, 1, 2}, 2},
		{[]float64{100, 1, 3, 2}, 2.5},
	} {
		if got := median(test.numbers); got != test.want {
			t.Errorf("the median of %v is %v, want %v", test.numbers, got, test.want)
		}
	}
	unsorted := []float64{3, 1, 2}
	if median(unsorted); !slices.Equal(unsorted, []float64{3, 1, 2}) {
		t.Errorf("the numbers were sorted in place: %v", unsorted)
	}
}
