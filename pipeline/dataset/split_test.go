package dataset

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

func namesOf(e *Examples) []string {
	names := make([]string, e.Len())
	for i := range names {
		names[i] = e.Name(i)
	}
	return names
}

// byteOf returns the value that all of a plain image's bytes have.
func byteOf(t *testing.T, e *Examples, i int) byte {
	t.Helper()
	pixels := make([]byte, e.Shape().Size())
	if err := e.Read(i, pixels); err != nil {
		t.Fatal(err)
	}
	return pixels[0]
}

func TestSplitPartsTheExamples(t *testing.T) {
	for _, inMemory := range []bool{false, true} {
		t.Run(fmt.Sprintf("in memory %t", inMemory), func(t *testing.T) {
			e := plainExamples(50)
			if inMemory {
				if err := e.verify(t.Context(), "train", Options{}); err != nil || e.pixels == nil {
					t.Fatal(err)
				}
			}
			rest, drawn, err := e.Split(0.2, 7)
			if err != nil {
				t.Fatal(err)
			}
			if rest.Len() != 40 || drawn.Len() != 10 {
				t.Errorf("%d and %d examples", rest.Len(), drawn.Len())
			}
			all := slices.Concat(namesOf(rest), namesOf(drawn))
			if slices.Sort(all); !slices.Equal(all, slices.Compact(slices.Clone(all))) || len(all) != 50 {
				t.Errorf("the parts have %v", all)
			}
			for _, part := range []*Examples{rest, drawn} {
				last := -1
				for i := range part.Len() {
					var number int
					if _, err := fmt.Sscanf(part.Name(i), "image %d", &number); err != nil || number <= last {
						t.Errorf("%s comes after image %d: %v", part.Name(i), last, err)
					}
					last = number
					if got := byteOf(t, part, i); got != byte(number) || part.Label(i) != number%2 {
						t.Errorf("%s has the pixels of image %d and label %d", part.Name(i), got, part.Label(i))
					}
				}
			}
			if f := []string{e.Fingerprint(), rest.Fingerprint(), drawn.Fingerprint()}; f[0] == f[1] || f[1] == f[2] || f[0] == f[2] {
				t.Errorf("fingerprints %v", f)
			}
		})
	}
}

func TestSplitIsAFunctionOfItsSeed(t *testing.T) {
	draw := func(seed int64) []string {
		_, drawn, err := plainExamples(100).Split(0.1, seed)
		if err != nil {
			t.Fatal(err)
		}
		return namesOf(drawn)
	}
	if !slices.Equal(draw(3), draw(3)) || slices.Equal(draw(3), draw(4)) {
		t.Errorf("seed 3 draws %v and %v, seed 4 draws %v", draw(3), draw(3), draw(4))
	}
}

func TestSplitRefusesEmptyParts(t *testing.T) {
	for _, share := range []float64{0, 1, -0.5, 2, 0.001, 0.999, math.NaN(), math.Inf(1)} {
		if _, _, err := plainExamples(20).Split(share, 1); err == nil {
			t.Errorf("a share of %g was taken", share)
		}
	}
	if _, _, err := plainExamples(1).Split(0.5, 1); err == nil {
		t.Error("one example was split")
	}
}
