package serving_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/serving"
	"github.com/residual-go/residual/tfgo/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// model answers an image with its first pixel's value. It tells of each batch
// that begins, and waits for go if there is one.
type model struct {
	began  chan []byte
	goOn   chan error
	shape  []int // of the images; nil: one pixel each
	output []int // a shape; nil: a row for each image
}

func (m *model) Signature(name string) (tensor.Signature, bool) {
	shape := m.shape
	if shape == nil {
		shape = []int{tensor.AnySize, 1, 1, 1}
	}
	output := m.output
	if output == nil {
		output = []int{tensor.AnySize, 1}
	}
	return tensor.Signature{
		Inputs:  []tensor.Spec{{Name: "images", DType: tensor.Uint8, Shape: shape}},
		Outputs: []tensor.Spec{{Name: "probabilities", DType: tensor.Float32, Shape: output}},
	}, name == "serving_default"
}

func (m *model) Call(_ context.Context, _ string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	pixels := inputs["images"].Bytes()
	if m.began != nil {
		m.began <- slices.Clone(pixels)
	}
	if m.goOn != nil {
		if err := <-m.goOn; err != nil {
			return nil, err
		}
	}
	n := inputs["images"].Shape()[0]
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(pixels[i*len(pixels)/n])
	}
	probabilities, err := tensor.Of(values, n, 1)
	return map[string]tensor.Tensor{"probabilities": probabilities}, err
}

// steered is a model whose batches the test lets go on.
func steered() *model { return &model{began: make(chan []byte, 1), goOn: make(chan error)} }

func newBatcher(t *testing.T, m *model, o serving.BatchOptions) *serving.Batcher {
	t.Helper()
	b, err := serving.NewBatcher(m, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func images(t *testing.T, pixels ...byte) tensor.Tensor {
	t.Helper()
	batch, err := tensor.Of(pixels, len(pixels), 1, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

type answer struct {
	rows [][]float32
	err  error
}

// ask sends a request, and returns when it waits or is computed.
func ask(t *testing.T, ctx context.Context, b *serving.Batcher, pixels ...byte) <-chan answer {
	t.Helper()
	found := make(chan answer, 1)
	before := b.Waiting()
	batch := images(t, pixels...)
	go func() {
		rows, err := b.Predict(ctx, batch)
		found <- answer{rows, err}
	}()
	for deadline := time.Now().Add(10 * time.Second); b.Waiting() == before && len(found) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("the request neither waits nor is answered")
		}
		time.Sleep(time.Millisecond)
	}
	return found
}

func (a answer) is(pixels ...byte) bool {
	return a.err == nil && slices.EqualFunc(a.rows, pixels, func(row []float32, pixel byte) bool { return len(row) == 1 && row[0] == float32(pixel) })
}

func closed(t *testing.T, b *serving.Batcher) {
	t.Helper()
	if err := b.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// busy starts a batch of one image, which the test lets go on.
func busy(t *testing.T, m *model, b *serving.Batcher) <-chan answer {
	t.Helper()
	found := make(chan answer, 1)
	batch := images(t, 200)
	go func() {
		rows, err := b.Predict(context.Background(), batch)
		found <- answer{rows, err}
	}()
	<-m.began
	return found
}

func TestWhatCameMeanwhileIsOneBatch(t *testing.T) {
	m := steered()
	var sizes []int
	b := newBatcher(t, m, serving.BatchOptions{OnBatch: func(n int, _ time.Duration) { sizes = append(sizes, n) }})
	first := busy(t, m, b)
	second, third := ask(t, t.Context(), b, 1, 2), ask(t, t.Context(), b, 3)
	m.goOn <- nil
	if got := <-m.began; !slices.Equal(got, []byte{1, 2, 3}) {
		t.Errorf("the second batch is %v", got)
	}
	m.goOn <- nil
	if a, b, c := <-first, <-second, <-third; !a.is(200) || !b.is(1, 2) || !c.is(3) {
		t.Errorf("answers: %v, %v, %v", a, b, c)
	}
	closed(t, b)
	if !slices.Equal(sizes, []int{1, 3}) {
		t.Errorf("it tells of batches of %v", sizes)
	}
}

func TestLargeRequestsAreSplit(t *testing.T) {
	m := steered()
	b := newBatcher(t, m, serving.BatchOptions{MaxBatch: 4, MaxWaiting: 4})
	first := busy(t, m, b)
	large := ask(t, t.Context(), b, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	m.goOn <- nil
	for _, want := range [][]byte{{1, 2, 3, 4}, {5, 6, 7, 8}, {9}} {
		if got := <-m.began; !slices.Equal(got, want) {
			t.Errorf("a batch is %v, want %v", got, want)
		}
		m.goOn <- nil
	}
	if a, b := <-first, <-large; !a.is(200) || !b.is(1, 2, 3, 4, 5, 6, 7, 8, 9) {
		t.Errorf("answers: %v, %v", a, b)
	}
	closed(t, b)
}

// Batches have few sizes, so what waits is not always all taken.
func TestBatchesHaveFewSizes(t *testing.T) {
	m := steered()
	b := newBatcher(t, m, serving.BatchOptions{MaxBatch: 7})
	first := busy(t, m, b)
	five := ask(t, t.Context(), b, 1, 2, 3, 4, 5)
	m.goOn <- nil
	for _, want := range [][]byte{{1, 2, 3, 4}, {5}} {
		if got := <-m.began; !slices.Equal(got, want) {
			t.Errorf("a batch is %v, want %v", got, want)
		}
		m.goOn <- nil
	}
	if a, b := <-first, <-five; !a.is(200) || !b.is(1, 2, 3, 4, 5) {
		t.Errorf("answers: %v, %v", a, b)
	}
	closed(t, b)
}

func TestNoMoreMayWait(t *testing.T) {
	m := steered()
	b := newBatcher(t, m, serving.BatchOptions{MaxBatch: 2, MaxWaiting: 3})
	first := busy(t, m, b)
	waiting := ask(t, t.Context(), b, 1, 2)
	if _, err := b.Predict(t.Context(), images(t, 3, 4)); !errors.Is(err, serving.ErrOverloaded) {
		t.Errorf("error: %v", err)
	}
	fits := ask(t, t.Context(), b, 5)
	for range 2 {
		m.goOn <- nil
		<-m.began
	}
	m.goOn <- nil
	if a, b, c := <-first, <-waiting, <-fits; !a.is(200) || !b.is(1, 2) || !c.is(5) {
		t.Errorf("answers: %v, %v, %v", a, b, c)
	}
	closed(t, b)
}

var errImpatient = errors.New("the caller hung up")

func TestWhoHangsUpIsNotComputed(t *testing.T) {
	m := steered()
	b := newBatcher(t, m, serving.BatchOptions{})
	first := busy(t, m, b)
	ctx, hangUp := context.WithCancelCause(t.Context())
	gone := ask(t, ctx, b, 1)
	stays := ask(t, t.Context(), b, 2)
	hangUp(errImpatient)
	if a := <-gone; !errors.Is(a.err, errImpatient) || b.Waiting() != 1 {
		t.Errorf("error: %v, %d wait", a.err, b.Waiting())
	}
	m.goOn <- nil
	if got := <-m.began; !slices.Equal(got, []byte{2}) {
		t.Errorf("a batch is %v", got)
	}
	m.goOn <- nil
	if a, b := <-first, <-stays; !a.is(200) || !b.is(2) {
		t.Errorf("answers: %v, %v", a, b)
	}
	if _, err := b.Predict(ctx, images(t, 1)); !errors.Is(err, errImpatient) {
		t.Errorf("error: %v", err)
	}
	closed(t, b)
}

var errModel = errors.New("the model is ill")

func TestAnErrorIsThatOfItsBatch(t *testing.T) {
	m := steered()
	b := newBatcher(t, m, serving.BatchOptions{MaxBatch: 2})
	first := busy(t, m, b)
	large, next := ask(t, t.Context(), b, 1, 2, 3), ask(t, t.Context(), b, 4)
	m.goOn <- nil
	<-m.began
	m.goOn <- errModel
	if got := <-m.began; !slices.Equal(got, []byte{4}) {
		t.Errorf("after the error a batch is %v", got)
	}
	m.goOn <- nil
	if a, b, c := <-first, <-large, <-next; !a.is(200) || !errors.Is(b.err, errModel) || !c.is(4) {
		t.Errorf("answers: %v, %v, %v", a, b, c)
	}
	closed(t, b)
}

func TestCloseAnswersWhatHasCome(t *testing.T) {
	m := steered()
	b := newBatcher(t, m, serving.BatchOptions{})
	first, second := busy(t, m, b), ask(t, t.Context(), b, 1)
	done := make(chan error, 1)
	go func() { done <- b.Close(context.Background()) }()
	for {
		if _, err := b.Predict(t.Context(), images(t)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := b.Predict(ctx, images(t, 9))
		cancel()
		if errors.Is(err, serving.ErrClosed) {
			break
		}
	}
	m.goOn <- nil
	if got := <-m.began; !slices.Equal(got, []byte{1}) {
		t.Errorf("a batch is %v", got)
	}
	m.goOn <- nil
	if a, b := <-first, <-second; !a.is(200) || !b.is(1) {
		t.Errorf("answers: %v, %v", a, b)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCloseDoesNotWaitForEver(t *testing.T) {
	m := steered()
	b := newBatcher(t, m, serving.BatchOptions{})
	first, second := busy(t, m, b), ask(t, t.Context(), b, 1)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(errImpatient)
	done := make(chan error, 1)
	go func() { done <- b.Close(ctx) }()
	if a := <-second; !errors.Is(a.err, serving.ErrClosed) {
		t.Errorf("answer: %v", a)
	}
	m.goOn <- nil // the batch that was begun
	if a := <-first; !a.is(200) {
		t.Errorf("answer: %v", a)
	}
	if err := <-done; !errors.Is(err, errImpatient) || !strings.Contains(err.Error(), "1 requests were not answered") {
		t.Errorf("error: %v", err)
	}
}

func TestLingering(t *testing.T) {
	m := &model{began: make(chan []byte, 9)}
	b := newBatcher(t, m, serving.BatchOptions{MaxBatch: 2, MaxLinger: time.Hour})
	one, two := ask(t, t.Context(), b, 1), ask(t, t.Context(), b, 2)
	if a, b := <-one, <-two; !a.is(1) || !b.is(2) {
		t.Errorf("answers: %v, %v", a, b)
	}
	if got := <-m.began; len(got) != 2 {
		t.Errorf("a batch is %v", got)
	}
	alone := ask(t, t.Context(), b, 3)
	closed(t, b) // does not wait for an hour
	if a := <-alone; !a.is(3) {
		t.Errorf("answer: %v", a)
	}
	b = newBatcher(t, m, serving.BatchOptions{MaxBatch: 2, MaxLinger: time.Millisecond})
	if a := <-ask(t, t.Context(), b, 4); !a.is(4) {
		t.Errorf("answer: %v", a)
	}
	closed(t, b)
}

func TestManyAtOnce(t *testing.T) {
	b := newBatcher(t, &model{}, serving.BatchOptions{MaxBatch: 8, MaxWaiting: 64, Workers: 2})
	if err := b.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	for client := range 16 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), 1))
			for range 200 {
				pixels := make([]byte, 1+random.IntN(12))
				for i := range pixels {
					pixels[i] = byte(random.IntN(256))
				}
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(4) == 0 {
					cancel()
				}
				rows, err := b.Predict(ctx, images(t, pixels...))
				if a := (answer{rows, err}); err == nil && !a.is(pixels...) {
					t.Errorf("asked for %v, got %v", pixels, rows)
				} else if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, serving.ErrOverloaded) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	clients.Wait()
	if n := b.Waiting(); n != 0 {
		t.Errorf("%d wait though nobody asks", n)
	}
	closed(t, b)
}

func TestBatcherRefuses(t *testing.T) {
	for name, o := range map[string]serving.BatchOptions{
		"MaxBatch": {MaxBatch: -1}, "MaxWaiting": {MaxWaiting: -1}, "Workers": {Workers: -1}, "MaxLinger": {MaxLinger: -1},
	} {
		if _, err := serving.NewBatcher(&model{}, o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := serving.NewBatcher(&model{}, serving.BatchOptions{Signature: "train"}); !errors.Is(err, pipeline.ErrNoSignature) {
		t.Errorf("error: %v", err)
	}
	b := newBatcher(t, &model{}, serving.BatchOptions{})
	defer closed(t, b)
	wrong, err := tensor.Of([]byte{1, 2}, 1, 2, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Predict(t.Context(), wrong); err == nil || !errors.Is(err, serving.ErrInput) || !strings.Contains(err.Error(), `"images" must be uint8 [N,1,1,1], not uint8 [1,2,1,1]`) {
		t.Errorf("error: %v", err)
	}
	for _, inputs := range []map[string]tensor.Tensor{nil, {"pictures": images(t, 1)}, {"images": images(t, 1), "more": images(t, 1)}} {
		if _, err := b.Call(t.Context(), inputs); !errors.Is(err, serving.ErrInput) {
			t.Errorf("%d inputs: %v", len(inputs), err)
		}
	}
	if rows, err := b.Predict(t.Context(), images(t)); err != nil || len(rows) != 0 {
		t.Errorf("no images: %v, %v", rows, err)
	}
}

// Only images of one size can be in a batch.
func TestImagesOfSeveralSizes(t *testing.T) {
	m := steered()
	m.shape = []int{tensor.AnySize, tensor.AnySize, 1, 1}
	b := newBatcher(t, m, serving.BatchOptions{MaxBatch: 4})
	if err := b.Warm(t.Context()); err != nil { // does nothing: it would wait
		t.Fatal(err)
	}
	tall := func(pixels ...byte) tensor.Tensor {
		batch, err := tensor.Of(pixels, len(pixels)/2, 2, 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		return batch
	}
	first := busy(t, m, b)
	one := ask(t, t.Context(), b, 1)
	two := make(chan answer, 1)
	go func() {
		rows, err := b.Predict(t.Context(), tall(2, 20, 3, 30))
		two <- answer{rows, err}
	}()
	for b.Waiting() < 3 {
		time.Sleep(time.Millisecond)
	}
	three := ask(t, t.Context(), b, 4, 5)
	m.goOn <- nil
	for _, want := range [][]byte{{1, 4, 5}, {2, 20, 3, 30}} {
		// Batches have few sizes, and three is one of them.
		if got := <-m.began; !slices.Equal(got, want) {
			t.Errorf("a batch is %v, want %v", got, want)
		}
		m.goOn <- nil
	}
	if a, b, c, d := <-first, <-one, <-two, <-three; !a.is(200) || !b.is(1) || !c.is(2, 3) || !d.is(4, 5) {
		t.Errorf("answers: %v, %v, %v, %v", a, b, c, d)
	}
	closed(t, b)
}

// A function whose result is not one of rows is called for each request.
func TestWhatCannotBeJoined(t *testing.T) {
	m := steered()
	m.output = []int{}
	b := newBatcher(t, m, serving.BatchOptions{MaxLinger: time.Hour})
	first := busy(t, m, b)
	second, third := ask(t, t.Context(), b, 1, 2), ask(t, t.Context(), b, 3)
	m.goOn <- nil
	for _, want := range [][]byte{{1, 2}, {3}} {
		if got := <-m.began; !slices.Equal(got, want) {
			t.Errorf("a batch is %v, want %v", got, want)
		}
		m.goOn <- nil
	}
	if a, b, c := <-first, <-second, <-third; !a.is(200) || !b.is(1, 2) || !c.is(3) {
		t.Errorf("answers: %v, %v, %v", a, b, c)
	}
	closed(t, b)
}
