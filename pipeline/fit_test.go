package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
)

func TestFitTellsEventsInOrder(t *testing.T) {
	for want, o := range map[string]pipeline.Options{
		"BsssEsssE":       {Epochs: 2, BatchSize: 4},
		"BsssttEsssttE":   {Epochs: 2, BatchSize: 4, Test: &examples{n: 8}},
		"BsE":             {Epochs: 1, BatchSize: 100},
		"BssssssssssttE":  {Epochs: 1, BatchSize: 1, Test: &examples{n: 2}},
		"BsssEsssEsssE":   {BatchSize: 4},
		"BsssttEsssttE\t": {Epochs: 2, BatchSize: 4, Test: &examples{n: 5}, NoShuffle: true},
	} {
		r := &recorder{}
		o.Callbacks = []pipeline.Callback{r}
		if _, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 10}, o); err != nil {
			t.Fatal(err)
		}
		if got := r.names(); got != strings.TrimSpace(want) {
			t.Errorf("events %s, want %s", got, want)
		}
	}
}

func TestFitFillsItsEvents(t *testing.T) {
	r := &recorder{}
	_, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 10}, pipeline.Options{
		Epochs: 2, BatchSize: 4, Test: &examples{n: 6}, Callbacks: []pipeline.Callback{r}})
	if err != nil {
		t.Fatal(err)
	}
	begin := pipeline.Begin{Epochs: 2, Epoch: 1, Batches: 3, Examples: 10, TestExamples: 6, BatchSize: 4}
	if diff := cmp.Diff(begin, r.events[0]); diff != "" {
		t.Error(diff)
	}
	for i, e := range eventsOf[pipeline.TestStep](r) {
		if e.Epoch != i/2+1 || e.Batch != i%2+1 || e.Batches != 2 || e.Mean.Examples != []int{4, 6}[i%2] || e.Mean.Loss != 1 {
			t.Errorf("test step %d is %+v", i+1, e)
		}
	}
	for i, e := range eventsOf[pipeline.Epoch](r) {
		train := pipeline.Metrics{Loss: 2, Accuracy: 0.5, Correct: 5, Examples: 10}
		test := pipeline.Metrics{Loss: 1, Accuracy: 2. / 6, Correct: 2, Examples: 6}
		if e.Number != i+1 || e.Step != 3*(i+1) || e.Train != train || e.Test == nil || *e.Test != test {
			t.Errorf("epoch %d is %+v", i+1, e)
		}
		if e.Training <= 0 || e.Duration < e.Training {
			t.Errorf("epoch %d took %v, of which training %v", i+1, e.Duration, e.Training)
		}
	}
}

func TestFitWithoutTestHasNoTestFigures(t *testing.T) {
	r := &recorder{}
	result, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 10}, pipeline.Options{Callbacks: []pipeline.Callback{r}})
	if err != nil || result.Test != nil {
		t.Errorf("Fit = %+v, %v", result, err)
	}
	for _, e := range eventsOf[pipeline.Epoch](r) {
		if e.Test != nil {
			t.Errorf("epoch %d has %+v", e.Number, e.Test)
		}
	}
}

func TestFitCountsConfusion(t *testing.T) {
	for name, test := range map[string]struct {
		classes int
		test    pipeline.Data
		want    [][]int
	}{
		"of three classes":     {3, &examples{n: 6}, [][]int{{2, 0, 0}, {2, 0, 0}, {2, 0, 0}}},
		"unless it is wanted":  {0, &examples{n: 6}, nil},
		"unless there is none": {3, nil, nil},
		"of too many classes":  {pipeline.MaxConfusion + 1, &examples{n: 6}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := &recorder{}
			_, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 10}, pipeline.Options{
				Epochs: 2, Test: test.test, Classes: test.classes, Callbacks: []pipeline.Callback{r}})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range eventsOf[pipeline.Epoch](r) {
				if diff := cmp.Diff(test.want, e.Confusion); diff != "" {
					t.Errorf("epoch %d (-want +got):\n%s", e.Number, diff)
				}
			}
		})
	}
}

func TestFitRefusesFewerThanNoClasses(t *testing.T) {
	_, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 10}, pipeline.Options{Classes: -1})
	if err == nil || !strings.Contains(err.Error(), "classes must not be negative, not -1") {
		t.Errorf("Fit = %v", err)
	}
}

func TestFitReturnsWhatWasReached(t *testing.T) {
	result, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 10}, pipeline.Options{Epochs: 2, BatchSize: 4, Test: &examples{n: 6}})
	if err != nil {
		t.Fatal(err)
	}
	if result.Epochs != 2 || result.Steps != 6 || result.Train.Examples != 10 || result.Test.Examples != 6 {
		t.Errorf("Fit = %+v", result)
	}
	if result.Duration <= 0 || result.ImagesPerSecond <= 0 {
		t.Errorf("Fit = %+v", result)
	}
}

func TestFitTestsAfterEachEpochsTraining(t *testing.T) {
	model := newScripted()
	if _, err := pipeline.Fit(t.Context(), model, &examples{n: 4}, pipeline.Options{Epochs: 2, BatchSize: 2, Test: &examples{n: 1}}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, c := range model.calls {
		names = append(names, c.name)
	}
	if diff := cmp.Diff([]string{"train", "train", "evaluate", "train", "train", "evaluate"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestFitTellsCallbacksInTheirOrder(t *testing.T) {
	var heard []string
	var callbacks []pipeline.Callback
	for i := range 3 {
		callbacks = append(callbacks, &recorder{onEvent: func(e pipeline.Event) error {
			heard = append(heard, fmt.Sprintf("%d %T", i, e))
			return nil
		}})
	}
	if _, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 4}, pipeline.Options{Epochs: 1, Callbacks: callbacks}); err != nil {
		t.Fatal(err)
	}
	want := []string{"0 pipeline.Begin", "1 pipeline.Begin", "2 pipeline.Begin", "0 pipeline.Step", "1 pipeline.Step", "2 pipeline.Step",
		"0 pipeline.Epoch", "1 pipeline.Epoch", "2 pipeline.Epoch"}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Error(diff)
	}
}

// at returns a callback's body that acts at the nth event of a kind.
func at(kind string, n int, act func() error) func(pipeline.Event) error {
	seen := 0
	return func(e pipeline.Event) error {
		if fmt.Sprintf("%T", e) != "pipeline."+kind {
			return nil
		}
		if seen++; seen != n {
			return nil
		}
		return act()
	}
}

func TestFitStopsInGoodOrder(t *testing.T) {
	for _, tt := range []struct {
		kind   string
		n      int
		events string
		epochs int
		steps  int
	}{
		{"Begin", 1, "B", 0, 0},
		{"Step", 2, "Bss", 0, 2},
		{"Step", 3, "Bsss", 0, 3},
		{"TestStep", 1, "Bssst", 0, 3},
		{"Epoch", 1, "BsssttE", 1, 3},
		{"Step", 5, "BsssttEss", 1, 5},
		{"Epoch", 2, "BsssttEsssttE", 2, 6},
	} {
		t.Run(fmt.Sprint(tt.kind, tt.n), func(t *testing.T) {
			stopper := &recorder{onEvent: at(tt.kind, tt.n, func() error { return fmt.Errorf("no progress: %w", pipeline.ErrStop) })}
			after := &recorder{}
			result, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 12}, pipeline.Options{
				Epochs: 5, BatchSize: 4, Test: &examples{n: 8}, Callbacks: []pipeline.Callback{stopper, after}})
			if err != nil {
				t.Errorf("Fit = %v", err)
			}
			if result.Epochs != tt.epochs || result.Steps != tt.steps {
				t.Errorf("Fit = %+v", result)
			}
			for _, r := range []*recorder{stopper, after} {
				if got := r.names(); got != tt.events {
					t.Errorf("events %s, want %s", got, tt.events)
				}
				if len(r.closed) != 1 || r.closed[0] != nil {
					t.Errorf("closed with %v", r.closed)
				}
			}
		})
	}
}

func TestFitFailsWithACallback(t *testing.T) {
	for _, kind := range []string{"Begin", "Step", "TestStep", "Epoch"} {
		t.Run(kind, func(t *testing.T) {
			broken := &recorder{onEvent: at(kind, 1, func() error { return errBroken })}
			before, after := &recorder{}, &recorder{}
			_, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 12}, pipeline.Options{
				BatchSize: 4, Test: &examples{n: 8}, Callbacks: []pipeline.Callback{before, broken, after}})
			if !errors.Is(err, errBroken) {
				t.Errorf("Fit = %v", err)
			}
			for _, r := range []*recorder{before, broken, after} {
				if len(r.closed) != 1 || !errors.Is(r.closed[0], errBroken) {
					t.Errorf("closed with %v", r.closed)
				}
			}
		})
	}
}

func TestFitAFailureOutweighsAStop(t *testing.T) {
	_, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 4}, pipeline.Options{Callbacks: []pipeline.Callback{
		&recorder{onEvent: at("Step", 1, func() error { return pipeline.ErrStop })},
		&recorder{onEvent: at("Step", 1, func() error { return errBroken })},
	}})
	if !errors.Is(err, errBroken) {
		t.Errorf("Fit = %v", err)
	}
}

func TestFitReturnsErrorsOfClose(t *testing.T) {
	errFull, errGone := errors.New("disk full"), errors.New("gone")
	callbacks := []*recorder{{closeErr: errFull}, {}, {closeErr: errGone}}
	_, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 4}, pipeline.Options{
		Epochs: 1, Callbacks: []pipeline.Callback{callbacks[0], callbacks[1], callbacks[2]}})
	if !errors.Is(err, errFull) || !errors.Is(err, errGone) {
		t.Errorf("Fit = %v", err)
	}
	for _, r := range callbacks {
		if len(r.closed) != 1 || r.closed[0] != nil {
			t.Errorf("closed with %v: another's failing end is not the run's", r.closed)
		}
	}
}

func TestFitClosesOnceHoweverTheRunEnds(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	noTrain := newScripted()
	delete(noTrain.signatures, "train")
	noEvaluate := newScripted()
	delete(noEvaluate.signatures, "evaluate")
	failing := newScripted()
	failing.fail = func(calls int) error {
		if calls == 2 {
			return errBroken
		}
		return nil
	}
	failingTest := newScripted()
	failingTest.fail = func(calls int) error {
		if calls == 4 { // after three steps
			return errBroken
		}
		return nil
	}
	diverging := newScripted()
	diverging.train = func(int, int) map[string]tensor.Tensor {
		return map[string]tensor.Tensor{"loss": tensor.Scalar(float32(inf)), "correct": tensor.Scalar[int64](0)}
	}
	for name, tt := range map[string]struct {
		ctx   context.Context
		model pipeline.Model
		data  *examples
		test  *examples
		o     pipeline.Options
		want  func(error) bool
	}{
		"whole":                      {want: func(err error) bool { return err == nil }},
		"cancelled at first":         {ctx: cancelled, want: is(context.Canceled)},
		"wrong options":              {o: pipeline.Options{Epochs: -1}, want: says("epochs")},
		"no examples":                {data: &examples{}, want: says("no examples")},
		"no test examples":           {test: &examples{}, want: func(err error) bool { return err == nil }},
		"no train signature":         {model: noTrain, want: is(pipeline.ErrNoSignature)},
		"no evaluate signature":      {model: noEvaluate, want: is(pipeline.ErrNoSignature)},
		"the model fails":            {model: failing, want: is(errBroken)},
		"the model fails in a test":  {model: failingTest, want: is(errBroken)},
		"the data fails":             {data: &examples{n: 12, broken: 2, err: errBroken}, want: is(errBroken)},
		"the test's data fails":      {test: &examples{n: 12, broken: 2, err: errBroken}, want: is(errBroken)},
		"the loss is infinite":       {model: diverging, want: says("step 1")},
		"the evaluation's data ends": {test: &examples{n: 12, broken: 1, err: errBroken}, want: is(errBroken)},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.ctx == nil {
				tt.ctx = t.Context()
			}
			if tt.model == nil {
				tt.model = newScripted()
			}
			if tt.data == nil {
				tt.data = &examples{n: 12}
			}
			if tt.test == nil {
				tt.test = &examples{n: 8}
			}
			r := &recorder{}
			tt.o.BatchSize, tt.o.Test, tt.o.Callbacks = 4, tt.test, []pipeline.Callback{r}
			_, err := pipeline.Fit(tt.ctx, tt.model, tt.data, tt.o)
			if !tt.want(err) {
				t.Errorf("Fit = %v", err)
			}
			if len(r.closed) != 1 || !tt.want(r.closed[0]) {
				t.Errorf("closed with %v", r.closed)
			}
		})
	}
}

func is(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func says(text string) func(error) bool {
	return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
}

func TestFitRefusesBeforeTheFirstStep(t *testing.T) {
	model := newScripted()
	delete(model.signatures, "evaluate")
	r := &recorder{}
	_, err := pipeline.Fit(t.Context(), model, &examples{n: 4}, pipeline.Options{Test: &examples{n: 4}, Callbacks: []pipeline.Callback{r}})
	if !errors.Is(err, pipeline.ErrNoSignature) || len(model.calls) > 0 || len(r.events) > 0 {
		t.Errorf("Fit = %v after %d calls and events %q", err, len(model.calls), r.names())
	}
	if _, err := pipeline.Fit(t.Context(), model, &examples{n: 4}, pipeline.Options{}); err != nil {
		t.Errorf("without a test, Fit = %v", err)
	}
}

// Wherever a run is cancelled, Fit returns the context's error beside what
// was reached, and no epoch is told of that was not whole.
func TestFitCancelledNeverLooksFinished(t *testing.T) {
	const events = "BsssttEsssttE"
	for cancelAt := range len(events) - 1 {
		ctx, cancel := context.WithCancel(t.Context())
		heard := 0
		r := &recorder{onEvent: func(pipeline.Event) error {
			if heard++; heard == cancelAt+1 {
				cancel()
			}
			return nil
		}}
		model := newScripted()
		result, err := pipeline.Fit(ctx, model, &examples{n: 12}, pipeline.Options{
			Epochs: 2, BatchSize: 4, Test: &examples{n: 8}, Callbacks: []pipeline.Callback{r}})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %s: Fit = %v", events[:cancelAt+1], err)
		}
		if got := r.names(); got != events[:cancelAt+1] {
			t.Errorf("cancelled at %s: events went on to %s", events[:cancelAt+1], got)
		}
		if want := strings.Count(events[:cancelAt+1], "s"); result.Steps != want || model.trained != want {
			t.Errorf("cancelled at %s: Fit says %d steps, the model took %d", events[:cancelAt+1], result.Steps, model.trained)
		}
		if want := strings.Count(events[:cancelAt+1], "E"); result.Epochs != want {
			t.Errorf("cancelled at %s: Fit says %d epochs", events[:cancelAt+1], result.Epochs)
		}
		if len(r.closed) != 1 || !errors.Is(r.closed[0], context.Canceled) {
			t.Errorf("cancelled at %s: closed with %v", events[:cancelAt+1], r.closed)
		}
	}
}

func TestFitTakesTheSameStepsAsSteps(t *testing.T) {
	o := pipeline.Options{Epochs: 3, BatchSize: 16, LearningRate: 0.5, Seed: 3}
	steps, err := collect(t.Context(), newSoftmax(), &examples{n: 60}, o)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{}
	o.Callbacks = []pipeline.Callback{r}
	if _, err := pipeline.Fit(t.Context(), newSoftmax(), &examples{n: 60}, o); err != nil {
		t.Fatal(err)
	}
	same := slices.EqualFunc(steps, eventsOf[pipeline.Step](r), func(a, b pipeline.Step) bool {
		a.Duration, a.Wait, b.Duration, b.Wait = 0, 0, 0, 0
		return a == b
	})
	if !same {
		t.Error("they differ")
	}
}

func TestFitLearns(t *testing.T) {
	result, err := pipeline.Fit(t.Context(), newSoftmax(), &examples{n: 90}, pipeline.Options{
		Epochs: 20, BatchSize: 16, LearningRate: 1, Test: &examples{n: 31}})
	if err != nil {
		t.Fatal(err)
	}
	if result.Test.Accuracy != 1 || result.Test.Loss > 0.3 {
		t.Errorf("test figures are %+v", *result.Test)
	}
}

// dataset.Data.Test is a nil *Examples where there is no test split, and looks
// like something once it stands in Options.Test.
func TestFitWithoutATestSplit(t *testing.T) {
	var none *dataset.Examples
	result, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 8}, pipeline.Options{Epochs: 1, BatchSize: 4, Test: none})
	if err != nil || result.Test != nil || result.Steps != 2 {
		t.Errorf("Fit = %+v, %v", result, err)
	}
}
