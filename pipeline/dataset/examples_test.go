package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestLimitTakesOneOfEachClassInTurn(t *testing.T) {
	for _, test := range []struct {
		name   string
		labels []int
		limit  int
		want   []int // indexes
	}{
		{"0 is all", []int{0, 0, 1, 1}, 0, []int{0, 1, 2, 3}},
		{"more than there are", []int{0, 0, 1, 1}, 9, []int{0, 1, 2, 3}},
		{"evenly, the first of each", []int{0, 0, 0, 1, 1, 1, 2, 2, 2}, 6, []int{0, 1, 3, 4, 6, 7}},
		{"the remainder to the first classes", []int{0, 0, 0, 1, 1, 1, 2, 2, 2}, 5, []int{0, 1, 3, 4, 6}},
		{"fewer than classes", []int{0, 0, 1, 1, 2, 2}, 2, []int{0, 2}},
		{"mixed classes stay in path order", []int{1, 0, 1, 0, 1, 0}, 3, []int{0, 1, 3}},
		{"a small class gives its share to the others", []int{0, 1, 1, 1, 1, 2, 2, 2}, 7, []int{0, 1, 2, 3, 5, 6, 7}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var all listing
			for i, label := range test.labels {
				all.examples = append(all.examples, example{name: fmt.Sprint(i), label: label})
			}
			var got []int
			for _, chosen := range all.limit(test.limit) {
				got = append(got, slices.IndexFunc(all.examples, func(e example) bool { return e.name == chosen.name }))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("chosen %v, want %v", got, test.want)
			}
		})
	}
}

func TestListingsAreChecked(t *testing.T) {
	for want, labels := range map[string][]int{
		"the folder has no images":                {},
		`the folder has no images of class "dog"`: {0, 0},
		"b: label 2 is out of range":              {0, 2, 1},
		"a: label -1 is out of range":             {-1, 0, 1},
	} {
		all := listing{where: "the folder"}
		for i, label := range labels {
			all.examples = append(all.examples, example{name: string(rune('a' + i)), label: label})
		}
		wantError(t, all.check(catsDogs), want)
	}
}

func TestFingerprintTellsDataApart(t *testing.T) {
	fingerprint := func(change func(*Examples)) string {
		e := plainExamples(6)
		change(e)
		return e.Fingerprint()
	}
	inMemory := func(e *Examples) {
		if err := e.verify(t.Context(), "train", Options{}); err != nil {
			t.Fatal(err)
		}
	}
	for kind, prepare := range map[string]func(*Examples){"in memory": inMemory, "at use": func(*Examples) {}} {
		base := fingerprint(prepare)
		if again := fingerprint(prepare); again != base || len(base) != 64 {
			t.Errorf("%s: %q and %q of the same data", kind, base, again)
		}
		for name, change := range map[string]func(*Examples){
			"a pixel":        func(e *Examples) { e.examples[3].image = plain{value: 77} },
			"a label":        func(e *Examples) { e.examples[3].label = 0 },
			"a class's name": func(e *Examples) { e.classes[1] = "wolf" },
			"the shape":      func(e *Examples) { e.shape.Height, e.shape.Width = 3, 2 },
			"one less":       func(e *Examples) { e.examples = e.examples[:5] },
		} {
			if fingerprint(func(e *Examples) { change(e); prepare(e) }) == base {
				t.Errorf("%s: %s makes no difference", kind, name)
			}
		}
		if fingerprint(func(e *Examples) { e.examples[3].name = "elsewhere"; prepare(e) }) != base {
			t.Errorf("%s: the folder's place makes a difference", kind)
		}
	}
}

func TestForEachReturnsTheFirstErrorInOrder(t *testing.T) {
	for round := range 50 {
		slow := 17 + round%2 // fails after the other one, whichever that is
		var calls atomic.Int64
		both := make(chan struct{})
		err := forEach(t.Context(), 1000, func(i int) error {
			calls.Add(1)
			switch i {
			case 17:
				select {
				case <-both:
				case <-time.After(100 * time.Millisecond): // there is only one CPU
				}
			case 18:
				close(both)
			}
			if i == slow {
				time.Sleep(time.Millisecond)
			}
			if i == 17 || i == 18 || i > 500 {
				return fmt.Errorf("error %d", i)
			}
			return nil
		})
		if err == nil || err.Error() != "error 17" {
			t.Fatalf("error %v, want error 17", err)
		}
		if calls.Load() > 500 {
			t.Fatalf("%d calls after an error at 17", calls.Load())
		}
	}
}

func TestForEachCallsEachIndexOnce(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000} {
		counts := make([]atomic.Int64, n)
		if err := forEach(t.Context(), n, func(i int) error { counts[i].Add(1); return nil }); err != nil {
			t.Fatal(err)
		}
		for i := range counts {
			if counts[i].Load() != 1 {
				t.Fatalf("index %d of %d was called %d times", i, n, counts[i].Load())
			}
		}
	}
}

func TestForEachEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	err := forEach(ctx, 1_000_000, func(i int) error {
		if calls.Add(1) == 10 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || calls.Load() > 1000 {
		t.Errorf("error %v after %d calls", err, calls.Load())
	}
}

func TestProgressCountsUp(t *testing.T) {
	var heard []Progress
	e := plainExamples(1000)
	o := Options{Progress: func(p Progress) { heard = append(heard, p) }}
	if err := e.verify(t.Context(), "train", o); err != nil {
		t.Fatal(err)
	}
	if len(heard) == 0 || len(heard) > 110 {
		t.Fatalf("heard %d times of 1000 images", len(heard))
	}
	last := heard[len(heard)-1]
	if last != (Progress{Doing: "read train images", Unit: "images", Done: 1000, Total: 1000}) {
		t.Errorf("the last is %+v", last)
	}
	if !slices.IsSortedFunc(heard, func(a, b Progress) int { return int(a.Done - b.Done) }) {
		t.Error("it counts down")
	}
}

// All is the only batch of an epoch that keeps their order, wherever the images are.
func TestAllExamples(t *testing.T) {
	for _, memory := range []int64{0, -1} {
		e := openSynthetic(t, 3, Options{Limit: 30, Shape: small, MemoryBytes: memory}).Train
		images, labels, err := e.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for batch, err := range e.Batches(t.Context(), BatchOptions{Size: 30, NoShuffle: true}) {
			if err != nil || !bytes.Equal(batch.Images.Bytes(), images.Bytes()) || !bytes.Equal(batch.Labels.Bytes(), labels.Bytes()) {
				t.Errorf("memory %d: %v, or others than the batch has", memory, err)
			}
			if !slices.Equal(images.Shape(), batch.Images.Shape()) || e.Size() != int64(len(images.Bytes())) {
				t.Errorf("memory %d: images %v, %d bytes", memory, images.Shape(), e.Size())
			}
		}
	}
}
