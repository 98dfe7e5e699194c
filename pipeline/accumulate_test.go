package pipeline_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

// fed lists the calls that trained, with what they were fed beside the batch.
func fed(t *testing.T, model *scripted) []string {
	t.Helper()
	var list []string
	for _, c := range model.calls {
		if c.name == pipeline.EvaluateSignature {
			continue
		}
		text := fmt.Sprint(c.name, " ", c.inputs["labels"].Shape()[0])
		for _, name := range []string{"micro_batch_size", "upsample"} {
			input, ok := c.inputs[name]
			if !ok {
				continue
			}
			value, err := tensor.Item[int64](input)
			if err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprint(" ", name, " ", value)
		}
		list = append(list, text)
	}
	return list
}

func TestAStepHasTheExamplesOfAllItsBatches(t *testing.T) {
	model, data := newScripted(), &examples{n: 10}
	steps, err := collect(t.Context(), model, data, pipeline.Options{Epochs: 2, BatchSize: 2, Accumulate: 2, LearningRate: 1, Schedules: []pipeline.Schedule{pipeline.Linear()}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"train_accumulate 4 micro_batch_size 2 upsample 0", "train_accumulate 4 micro_batch_size 2 upsample 0", "train_accumulate 2 micro_batch_size 2 upsample 0"}
	if diff := cmp.Diff(append(want, want...), fed(t, model)); diff != "" {
		t.Error(diff)
	}
	for i, s := range steps {
		rate := 1 - float64(i)/6 // schedules count steps
		if s.Number != i+1 || s.Batch != i%3+1 || s.Batches != 3 || s.Examples != []int{4, 4, 2}[i%3] || math.Abs(s.LearningRate-rate) > 1e-15 {
			t.Errorf("step %d is %+v", i+1, s)
		}
	}
	if mean := steps[5].Mean; mean.Examples != 10 || mean.Loss != 2 || mean.Correct != 5 {
		t.Errorf("the epoch's mean is %+v", mean)
	}
}

func TestWithoutAccumulationAModelNeedsOnlyTrain(t *testing.T) {
	model := newScripted()
	delete(model.signatures, pipeline.AccumulateSignature)
	if _, err := collect(t.Context(), model, &examples{n: 4}, pipeline.Options{Epochs: 1, BatchSize: 2, Accumulate: 1}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"train 2", "train 2"}, fed(t, model)); diff != "" {
		t.Error(diff)
	}
}

func TestEachFactorHasItsShareOfTheEpochs(t *testing.T) {
	for _, test := range []struct {
		schedule []int
		epochs   int
		want     []int
	}{
		{[]int{3, 5, 7}, 3, []int{3, 5, 7}},
		{[]int{3, 5, 7}, 5, []int{3, 3, 5, 5, 7}},
		{[]int{3, 5, 7}, 7, []int{3, 3, 3, 5, 5, 7, 7}},
		{[]int{7}, 2, []int{7, 7}},
		{[]int{2, 1}, 4, []int{2, 2, 1, 1}},
	} {
		model := newScripted()
		_, err := pipeline.Fit(t.Context(), model, &examples{n: 4}, pipeline.Options{
			Epochs: test.epochs, BatchSize: 4, UpsampleSchedule: test.schedule, Test: &examples{n: 4}})
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, factor := range test.want {
			want = append(want, fmt.Sprintf("train_accumulate 4 micro_batch_size 4 upsample %d", factor))
		}
		if diff := cmp.Diff(want, fed(t, model)); diff != "" {
			t.Errorf("%v over %d epochs: %s", test.schedule, test.epochs, diff)
		}
		for _, c := range model.calls {
			if _, ok := c.inputs["upsample"]; ok && c.name == pipeline.EvaluateSignature {
				t.Error("a test was fed a factor")
			}
		}
	}
}

// A whole batch is asked for in the memory of one of its parts.
func TestATestKeepsToTheBatchSize(t *testing.T) {
	test := &examples{n: 6}
	r := &recorder{}
	_, err := pipeline.Fit(t.Context(), newScripted(), &examples{n: 12}, pipeline.Options{
		Epochs: 1, BatchSize: 2, Accumulate: 3, Test: test, Callbacks: []pipeline.Callback{r}})
	if err != nil {
		t.Fatal(err)
	}
	if size := test.orders[0].Size; size != 2 {
		t.Errorf("it was tested in batches of %d", size)
	}
	if begin := eventsOf[pipeline.Begin](r)[0]; begin.BatchSize != 6 || begin.Batches != 2 {
		t.Errorf("the run begins with %+v", begin)
	}
}

func TestAccumulationIsChecked(t *testing.T) {
	without := func(change func(*scripted)) *scripted {
		model := newScripted()
		change(model)
		return model
	}
	noSignature := without(func(m *scripted) { delete(m.signatures, pipeline.AccumulateSignature) })
	noFactor := without(func(m *scripted) {
		sig := m.signatures[pipeline.AccumulateSignature]
		sig.Inputs = sig.Inputs[2:]
		m.signatures[pipeline.AccumulateSignature] = sig
	})
	for _, test := range []struct {
		want  string
		model *scripted
		o     pipeline.Options
	}{
		{"batches to accumulate must be positive, not -1", newScripted(), pipeline.Options{Accumulate: -1}},
		{"9223372036854775807 batches of 64 examples", newScripted(), pipeline.Options{Accumulate: math.MaxInt}},
		{"must be positive, not [3 0]", newScripted(), pipeline.Options{UpsampleSchedule: []int{3, 0}}},
		{"[1 2 3 4] has more factors than the 3 epochs", newScripted(), pipeline.Options{UpsampleSchedule: []int{1, 2, 3, 4}}},
		{`"train_accumulate": the model has no such signature`, noSignature, pipeline.Options{Accumulate: 2}},
		{`"train_accumulate": the model has no such signature`, noSignature, pipeline.Options{UpsampleSchedule: []int{2}}},
		{`has no input "upsample"`, noFactor, pipeline.Options{UpsampleSchedule: []int{2}}},
	} {
		_, err := collect(t.Context(), test.model, &examples{n: 4}, test.o)
		if err == nil || !strings.Contains(err.Error(), test.want) || len(test.model.calls) > 0 {
			t.Errorf("Steps = %v after %d calls, want %q", err, len(test.model.calls), test.want)
		}
	}
	if _, err := collect(t.Context(), noFactor, &examples{n: 4}, pipeline.Options{Accumulate: 2}); err != nil {
		t.Error(err)
	}
}
