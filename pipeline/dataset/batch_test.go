package dataset

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// collect returns the batches until the first error.
func collect(ctx context.Context, e *Examples, o BatchOptions) ([]Batch, error) {
	var all []Batch
	for batch, err := range e.Batches(ctx, o) {
		if err != nil {
			return all, err
		}
		all = append(all, batch)
	}
	return all, nil
}

func mustCollect(t *testing.T, e *Examples, o BatchOptions) []Batch {
	t.Helper()
	all, err := collect(t.Context(), e, o)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBatchesHoldTheirExamples(t *testing.T) {
	e := plainExamples(10)
	all := mustCollect(t, e, BatchOptions{Size: 4, Seed: 3, Epoch: 5})
	var visited []int
	for i, batch := range all {
		if batch.Index != i || batch.Epoch != 5 || batch.Count != 3 {
			t.Errorf("batch %d says it is %d of %d of epoch %d", i, batch.Index, batch.Count, batch.Epoch)
		}
		n := []int{4, 4, 2}[i]
		if batch.Len() != n || !slices.Equal(batch.Images.Shape(), []int{n, 2, 3, 3}) || !slices.Equal(batch.Labels.Shape(), []int{n}) {
			t.Errorf("batch %d has %d examples, images %v, labels %v", i, batch.Len(), batch.Images.Shape(), batch.Labels.Shape())
		}
		labels, pixels := values[int64](t, batch.Labels), values[uint8](t, batch.Images)
		for k, example := range batch.Examples {
			if labels[k] != int64(example%2) {
				t.Errorf("example %d has label %d", example, labels[k])
			}
			for _, v := range pixels[k*small.Size():][:small.Size()] {
				if v != byte(example) {
					t.Fatalf("example %d has a pixel %d", example, v)
				}
			}
		}
		visited = append(visited, batch.Examples...)
	}
	if !slices.Equal(visited, Order(10, 3, 5)) {
		t.Errorf("the order is %v, want %v", visited, Order(10, 3, 5))
	}
}

func TestBatchesSizes(t *testing.T) {
	for _, test := range []struct {
		n, size int
		want    []int
	}{
		{10, 5, []int{5, 5}},
		{10, 3, []int{3, 3, 3, 1}},
		{10, 100, []int{10}},
		{1, 1, []int{1}},
		{65, 0, []int{64, 1}}, // the default
	} {
		var got []int
		for _, batch := range mustCollect(t, plainExamples(test.n), BatchOptions{Size: test.size}) {
			got = append(got, batch.Len())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%d examples by %d: batches of %v, want %v", test.n, test.size, got, test.want)
		}
		if count := plainExamples(test.n).BatchCount(test.size); count != len(test.want) {
			t.Errorf("%d examples by %d: BatchCount is %d, want %d", test.n, test.size, count, len(test.want))
		}
	}
}

func TestStartSkipsWithoutReading(t *testing.T) {
	e := plainExamples(23)
	o := BatchOptions{Size: 4, Seed: 9, Epoch: 2}
	whole := mustCollect(t, e, o)
	for start := range len(whole) + 1 {
		e := plainExamples(23)
		for _, batch := range whole[:start] {
			for _, i := range batch.Examples {
				e.examples[i].image = plain{err: errors.New("read although it was skipped")}
			}
		}
		o.Start = start
		rest := mustCollect(t, e, o)
		if len(rest) != len(whole)-start {
			t.Fatalf("from %d: %d batches, want %d", start, len(rest), len(whole)-start)
		}
		for i, batch := range rest {
			want := whole[start+i]
			if batch.Index != want.Index || !slices.Equal(batch.Examples, want.Examples) ||
				!slices.Equal(batch.Images.Bytes(), want.Images.Bytes()) {
				t.Errorf("from %d: batch %d differs from the whole epoch's", start, i)
			}
		}
	}
}

func TestNoShuffleKeepsPathOrder(t *testing.T) {
	var visited []int
	for _, batch := range mustCollect(t, plainExamples(10), BatchOptions{Size: 3, Seed: 3, Epoch: 1, NoShuffle: true}) {
		visited = append(visited, batch.Examples...)
	}
	if !slices.Equal(visited, pathOrder(10)) {
		t.Errorf("the order is %v", visited)
	}
}

func TestBatchesCanBeRangedOverAgain(t *testing.T) {
	seq := plainExamples(10).Batches(t.Context(), BatchOptions{Size: 4})
	for range 2 {
		count := 0
		for _, err := range seq {
			if err != nil {
				t.Fatal(err)
			}
			count++
		}
		if count != 3 {
			t.Errorf("%d batches, want 3", count)
		}
	}
}

func TestBatchesMayBeKept(t *testing.T) {
	all := mustCollect(t, plainExamples(40), BatchOptions{Size: 4, NoShuffle: true})
	for i, batch := range all {
		if got := batch.Images.Bytes()[0]; got != byte(4*i) {
			t.Errorf("batch %d begins with %d, want %d: its memory was used again", i, got, 4*i)
		}
	}
}

func TestBatchOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]BatchOptions{
		"size -1 is negative":             {Size: -1},
		"epoch -2 is negative":            {Epoch: -2},
		"start -3 is negative":            {Start: -3},
		"ahead -4 is negative":            {Ahead: -4},
		"start 4 is beyond the 3 batches": {Size: 4, Start: 4},
	} {
		all, err := collect(t.Context(), plainExamples(10), o)
		wantError(t, err, "read batches: ", want)
		if len(all) > 0 {
			t.Errorf("%s: %d batches came all the same", want, len(all))
		}
	}
}

func TestABadImageIsAnErrorOfItsBatch(t *testing.T) {
	for _, ahead := range []int{1, 2, 10} {
		e := plainExamples(20)
		for _, i := range []int{13, 14, 19} {
			e.examples[i].image = plain{err: errors.New(e.Name(i) + " is bad")}
		}
		all, err := collect(t.Context(), e, BatchOptions{Size: 4, NoShuffle: true, Ahead: ahead})
		if len(all) != 3 {
			t.Errorf("%d batches came before the error, want 3", len(all))
		}
		wantError(t, err, "image 13 is bad")
	}
}

func TestNothingComesAfterAnError(t *testing.T) {
	e := plainExamples(20)
	e.examples[0].image = plain{err: errors.New("bad")}
	calls := 0
	for batch, err := range e.Batches(t.Context(), BatchOptions{Size: 4, NoShuffle: true}) {
		if calls++; err == nil || batch.Len() != 0 {
			t.Errorf("call %d: a batch of %d, error %v", calls, batch.Len(), err)
		}
	}
	if calls != 1 {
		t.Errorf("the loop ran %d times, want once", calls)
	}
}

func TestACancelledEpochEndsWithAnError(t *testing.T) {
	for _, at := range []int{0, 1, 3, 5} {
		ctx, cancel := context.WithCancel(t.Context())
		batches, last := 0, error(nil)
		if at == 0 {
			cancel()
		}
		for _, err := range plainExamples(20).Batches(ctx, BatchOptions{Size: 4}) {
			if last != nil {
				t.Fatalf("cancelled at %d: the loop goes on after %v", at, last)
			}
			if last = err; err != nil {
				continue
			}
			if batches++; batches == at {
				time.Sleep(5 * time.Millisecond) // until more batches are ready
				cancel()
			}
		}
		cancel()
		if batches != at || !errors.Is(last, context.Canceled) {
			t.Errorf("cancelled at %d: %d batches, then error %v", at, batches, last)
		}
	}
}

func TestADeadlineIsToldFromACancellation(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := collect(ctx, plainExamples(4), BatchOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
}

// waiting blocks until it is let go, as an image on a slow disk does.
type waiting struct{ started, release chan struct{} }

func (waiting) check() error     { return nil }
func (waiting) identity() string { return "" }
func (w waiting) read(imagefile.Shape, []byte) error {
	w.started <- struct{}{}
	<-w.release
	return nil
}

// TestMain finds the goroutines that a loop leaves behind; this makes sure that
// the loop has waited for them itself, so that files may be removed after it.
func TestLeavingALoopWaitsForItsReaders(t *testing.T) {
	e := plainExamples(8)
	w := waiting{make(chan struct{}, 8), make(chan struct{})}
	e.examples[5].image = w
	left := make(chan struct{})
	go func() {
		defer close(left)
		for range e.Batches(context.Background(), BatchOptions{Size: 4, NoShuffle: true}) {
			<-w.started
			break
		}
	}()
	select {
	case <-left:
		t.Error("the loop was left while an image was still being read")
	case <-time.After(50 * time.Millisecond):
	}
	close(w.release)
	<-left
}

func TestBatchesAreMadeAhead(t *testing.T) {
	e := plainExamples(12)
	w := waiting{make(chan struct{}, 8), make(chan struct{})}
	close(w.release)
	e.examples[8].image = w // in the third batch
	for range e.Batches(t.Context(), BatchOptions{Size: 4, NoShuffle: true, Ahead: 2}) {
		<-w.started // while the first is in use
		break
	}
}

func TestAPanicInTheLoopLeavesNothingBehind(t *testing.T) {
	defer func() {
		if r := recover(); r != "the caller's" {
			t.Errorf("recovered %v", r)
		}
	}()
	for range plainExamples(20).Batches(t.Context(), BatchOptions{Size: 2}) {
		panic("the caller's")
	}
}

func TestReadChecksItsArguments(t *testing.T) {
	e := plainExamples(3)
	for want, err := range map[string]error{
		"2x3x3 needs 18 bytes, there is room for 17": e.Read(0, make([]byte, 17)),
		"read example 3: there are 3":                e.Read(3, make([]byte, 18)),
		"read example -1: there are 3":               e.Read(-1, make([]byte, 18)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
