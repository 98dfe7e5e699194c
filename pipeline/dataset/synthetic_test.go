package dataset

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/residual-go/residual/pipeline/imagefile"
)

func openSynthetic(t *testing.T, classes int, o Options) *Data {
	t.Helper()
	for i := range classes {
		o.Classes = append(o.Classes, fmt.Sprintf("class %d", i))
	}
	if o.Shape == (imagefile.Shape{}) {
		o.Shape = cifarShape
	}
	data, err := Open(t.Context(), Synthetic, o)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSyntheticSizes(t *testing.T) {
	for _, test := range []struct{ classes, limit, train, test int }{
		{10, 0, 5000, 1000},
		{2, 0, 5000, 1000},
		{10, 64, 64, 64},
		{10, 3000, 3000, 1000},
		{1200, 0, 5000, 1200},
	} {
		data := openSynthetic(t, test.classes, Options{Limit: test.limit, Shape: small})
		if data.Train.Len() != test.train || data.Test.Len() != test.test {
			t.Errorf("%d classes, limit %d: %d and %d examples, want %d and %d",
				test.classes, test.limit, data.Train.Len(), data.Test.Len(), test.train, test.test)
		}
		counts := make([]int, test.classes)
		for i := range data.Test.Len() {
			counts[data.Test.Label(i)]++
		}
		if slices.Max(counts)-slices.Min(counts) > 1 {
			t.Errorf("%d classes: from %d to %d test images of a class", test.classes, slices.Min(counts), slices.Max(counts))
		}
	}
}

func TestSyntheticIsTheSameEveryTime(t *testing.T) {
	first, second := openSynthetic(t, 10, Options{Limit: 200}), openSynthetic(t, 10, Options{Limit: 200})
	if first.Train.Fingerprint() != second.Train.Fingerprint() {
		t.Error("the images differ from one time to the next")
	}
	if first.Train.Fingerprint() == first.Test.Fingerprint() {
		t.Error("train and test are the same images")
	}
}

func TestNoSyntheticTestImageWasTrainedOn(t *testing.T) {
	data := openSynthetic(t, 10, Options{})
	seen := map[string]bool{}
	for i := range data.Train.Len() {
		seen[string(pixelsOf(t, data.Train, i))] = true
	}
	if len(seen) != data.Train.Len() {
		t.Errorf("only %d of %d train images differ", len(seen), data.Train.Len())
	}
	for i := range data.Test.Len() {
		if seen[string(pixelsOf(t, data.Test, i))] {
			t.Errorf("%s is a train image", data.Test.Name(i))
		}
	}
}

func TestSyntheticNeedsTwoClasses(t *testing.T) {
	_, err := Open(t.Context(), Synthetic, Options{Classes: []string{"all"}, Shape: small})
	wantError(t, err, "at least 2 classes, this one has 1")
}

// The mean colour must help and must not be enough; with the pattern, classes
// must be easy. Both are measured with the nearest class mean.
func TestSyntheticIsEasyButNotByColourAlone(t *testing.T) {
	data := openSynthetic(t, 10, Options{Limit: 2000})
	colour := func(pixels []byte) []float64 {
		mean := make([]float64, 3)
		for i, v := range pixels {
			mean[i%3] += float64(v) / float64(len(pixels)/3)
		}
		return mean
	}
	byColour, byEdges := nearestMean(t, data, colour), nearestMean(t, data, edges)
	t.Logf("colour alone %.1f %%, with edges %.1f %%", 100*byColour, 100*byEdges)
	if got := byColour; got < 0.35 || got > 0.65 {
		t.Errorf("the mean colour alone finds %.0f %% of the classes, want 35 to 65 %%", 100*got)
	}
	if got := byEdges; got < 0.7 {
		t.Errorf("colours and edges find %.0f %% of the classes, want at least 70 %%", 100*got)
	}
}

// edges are, for each cell of 4x4 pixels, the mean colour and how much changes
// across and down: a crude stand-in for what a convolution sees.
func edges(pixels []byte) []float64 {
	features := make([]float64, 0, 5*64)
	for y := 0; y < 32; y += 4 {
		for x := 0; x < 32; x += 4 {
			var sum [5]float64
			for i := range 48 {
				at := 3*((y+i/12)*32+x) + i%12
				v := float64(pixels[at])
				sum[i%3] += v / 16
				sum[3] += math.Abs(v-float64(pixels[min(at+3, len(pixels)-1)])) / 24
				sum[4] += math.Abs(v-float64(pixels[min(at+96, len(pixels)-1)])) / 24
			}
			features = append(features, sum[:]...)
		}
	}
	return features
}

// nearestMean returns the accuracy on test images of choosing the class whose
// mean train features are nearest.
func nearestMean(t *testing.T, data *Data, features func([]byte) []float64) float64 {
	t.Helper()
	means := make([][]float64, 10)
	for i := range data.Train.Len() {
		label, own := data.Train.Label(i), features(pixelsOf(t, data.Train, i))
		if means[label] == nil {
			means[label] = make([]float64, len(own))
		}
		for k, v := range own {
			means[label][k] += v / float64(data.Train.Len()/10)
		}
	}
	right := 0
	for i := range data.Test.Len() {
		best, nearest := 0, 0.0
		own := features(pixelsOf(t, data.Test, i))
		for label, mean := range means {
			distance := 0.0
			for k := range mean {
				distance += (own[k] - mean[k]) * (own[k] - mean[k])
			}
			if label == 0 || distance < nearest {
				best, nearest = label, distance
			}
		}
		if best == data.Test.Label(i) {
			right++
		}
	}
	return float64(right) / float64(data.Test.Len())
}
