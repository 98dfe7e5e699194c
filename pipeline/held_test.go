package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/tfgo/tensor"
)

// holder is a learner that holds examples.
type holder struct {
	*learner
	rows   map[string]tensor.Tensor
	holds  int   // calls of Hold
	cannot error // of Holds
	short  bool  // CallHeld leaves out the last value of each output
	fails  error // of the second call of CallHeld
	calls  []int // steps of each call of CallHeld
}

func (h *holder) Holds(string) error { return h.cannot }

func (h *holder) Hold(_ context.Context, name string, rows map[string]tensor.Tensor) error {
	if h.holds++; name != pipeline.TrainSignature && name != pipeline.AccumulateSignature {
		return fmt.Errorf("there is no %q", name)
	}
	h.rows = rows
	return nil
}

func (h *holder) CallHeld(ctx context.Context, name string, indexes tensor.Tensor, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	steps := indexes.Shape()[0]
	if h.calls = append(h.calls, steps); h.fails != nil && len(h.calls) == 2 {
		return nil, h.fails
	}
	var losses, norms []float32
	var correct []int64
	for step := range steps {
		one := map[string]tensor.Tensor{}
		for input, value := range inputs {
			if value.Shape()[0] != steps {
				return nil, fmt.Errorf("%s has the shape %v in a call of %d steps", input, value.Shape(), steps)
			}
			one[input] = row(value, step, value.Shape()[1:]...)
		}
		chosen, err := tensor.Values[int64](row(indexes, step, indexes.Shape()[1]))
		if err != nil {
			return nil, err
		}
		for input, all := range h.rows {
			one[input] = choose(all, chosen)
		}
		out, err := h.Call(ctx, name, one)
		if err != nil {
			return nil, err
		}
		r := func(name string) tensor.Tensor { return out[name] }
		losses, norms, correct = append(losses, item[float32](r("loss"))), append(norms, item[float32](r("grad_norm"))), append(correct, item[int64](r("correct")))
	}
	if h.short {
		steps--
		losses, norms, correct = losses[:steps], norms[:steps], correct[:steps]
	}
	return map[string]tensor.Tensor{"loss": of(losses, steps), "grad_norm": of(norms, steps), "correct": of(correct, steps)}, nil
}

func item[T tensor.Element](t tensor.Tensor) T {
	value, err := tensor.Item[T](t)
	if err != nil {
		panic(err)
	}
	return value
}

// row is a part of a tensor's values, of that shape.
func row(t tensor.Tensor, index int, shape ...int) tensor.Tensor {
	size := len(t.Bytes()) / t.Shape()[0]
	part, err := tensor.FromBytes(t.DType(), t.Bytes()[index*size:][:size], shape...)
	if err != nil {
		panic(err)
	}
	return part
}

func choose(all tensor.Tensor, rows []int64) tensor.Tensor {
	var data []byte
	for _, index := range rows {
		data = append(data, row(all, int(index), all.Shape()[1:]...).Bytes()...)
	}
	t, err := tensor.FromBytes(all.DType(), data, append([]int{len(rows)}, all.Shape()[1:]...)...)
	if err != nil {
		panic(err)
	}
	return t
}

// whole are examples that can be had at once.
type whole struct{ *examples }

func (w whole) Size() int64 { return int64(w.n) * 4 }

func (w whole) All(context.Context) (images, labels tensor.Tensor, err error) {
	if w.err != nil {
		return images, labels, w.err
	}
	all := make([]int, w.n)
	for i := range all {
		all[i] = i
	}
	images, labels = w.read(all)
	return images, labels, nil
}

// withoutTimes are steps without what differs between two runs, and Ahead.
func withoutTimes(steps []pipeline.Step) []pipeline.Step {
	steps = slices.Clone(steps)
	for i := range steps {
		steps[i].Duration, steps[i].Wait, steps[i].Ahead = 0, 0, 0
	}
	return steps
}

func TestStepsOnHeldDataAreThoseThatAreFed(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)() // however slow the machine is
	for name, o := range map[string]pipeline.Options{
		"shuffled":    {BatchSize: 3, Seed: 9},
		"in order":    {BatchSize: 3, NoShuffle: true},
		"dropped":     {BatchSize: 3, DropLast: true},
		"scheduled":   {BatchSize: 3, Schedules: []pipeline.Schedule{pipeline.Cosine(), pipeline.Warmup(7)}},
		"accumulated": {BatchSize: 2, Accumulate: 2, UpsampleSchedule: []int{2, 5}},
		"one batch":   {BatchSize: 100},
		"of one":      {BatchSize: 1},
	} {
		t.Run(name, func(t *testing.T) {
			fed, held := newLearner(), &holder{learner: newLearner()}
			want, err := collect(t.Context(), fed, &examples{n: 32}, o)
			if err != nil {
				t.Fatal(err)
			}
			o.Hold = true
			got, err := collect(t.Context(), held, whole{&examples{n: 32}}, o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(withoutTimes(want), withoutTimes(got)); diff != "" {
				t.Errorf("held (+), fed (-):\n%s", diff)
			}
			if held.weights != fed.weights {
				t.Error("the weights differ")
			}
			if held.holds != 1 {
				t.Errorf("Hold was called %d times", held.holds)
			}
			if len(held.calls) >= len(got) && len(got) > 3 {
				t.Errorf("%d steps of no time took %d calls", len(got), len(held.calls))
			}
		})
	}
}

func TestHeldStepsAreSeededAsFedOnesAre(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)() // however slow the machine is
	seeds := func(hold bool) (found [][]byte) {
		m := newLearner()
		s := m.signatures["train"]
		s.Inputs = append(s.Inputs, tensor.Spec{Name: "seed", DType: tensor.Int64, Shape: []int{2}})
		m.signatures["train"] = s
		if _, err := collect(t.Context(), &holder{learner: m}, whole{&examples{n: 32}}, pipeline.Options{BatchSize: 5, Seed: 11, Epochs: 2, Hold: hold}); err != nil {
			t.Fatal(err)
		}
		for _, c := range m.scripted.calls {
			found = append(found, c.inputs["seed"].Bytes())
		}
		return found
	}
	if fed, held := seeds(false), seeds(true); len(fed) != 14 || cmp.Diff(fed, held) != "" {
		t.Errorf("seeds of steps that are fed %v, of others %v", fed, held)
	}
}

// What is told of a call's steps says how far the model is.
func TestStepsSayHowFarTheModelIsAhead(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)() // however slow the machine is
	h := &holder{learner: newLearner()}
	steps, err := collect(t.Context(), h, whole{&examples{n: 32}}, pipeline.Options{BatchSize: 3, Epochs: 2, Hold: true})
	if err != nil {
		t.Fatal(err)
	}
	var want []int
	for _, n := range h.calls {
		for i := range n {
			want = append(want, n-1-i)
		}
	}
	var got []int
	for i, step := range steps {
		got = append(got, step.Ahead)
		if i > 0 && step.Ahead > 0 && steps[i+1].Duration != step.Duration {
			t.Errorf("steps %d and %d of one call took %v and %v", step.Number, step.Number+1, step.Duration, steps[i+1].Duration)
		}
	}
	if !slices.Equal(got, want) || slices.Max(got) < 2 {
		t.Errorf("ahead by %v in calls of %v", got, h.calls)
	}
}

func TestARunOnHeldDataGoesOnToTheSameBit(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)() // however slow the machine is
	for _, every := range []int{2, 0} {
		t.Run(fmt.Sprintf("a checkpoint every %d steps", every), func(t *testing.T) {
			cutShort(t, 2, func(dir string) *session {
				s := newSession(dir)
				s.Hold, s.Checkpoints.Steps = true, every
				return s
			})
		})
	}
	fed, held := newSession(t.TempDir()), newSession(t.TempDir())
	held.Hold = true
	one, err := fed.fit(t.Context())
	other, heldErr := held.fit(t.Context())
	if err != nil || heldErr != nil {
		t.Fatal(err, heldErr)
	}
	if diff := cmp.Diff(fed.outcomes(t, one), held.outcomes(t, other)); diff != "" {
		t.Errorf("held (+), fed (-):\n%s", diff)
	}
}

// Checkpoints come after the steps that they are asked for after, whatever a call takes.
func TestWhenCheckpointsOfHeldDataAreSaved(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)() // however slow the machine is
	s := newSession(t.TempDir())
	s.data.n, s.Hold = 100, true
	s.Checkpoints.Steps, s.Checkpoints.Keep, s.Epochs = 13, 100, 2
	if _, err := s.fit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if steps := savedSteps(t, s.store()); !slices.Equal(steps, []int{68, 60, 47, 34, 26, 13}) {
		t.Errorf("the checkpoints are of steps %v", steps)
	}
}

// A callback that ends the run among steps that the model took at once ends it behind
// them: all hear of them, and what is saved is what the model is.
func TestACallbackEndsARunOnHeldData(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)() // however slow the machine is
	for name, cause := range map[string]error{"stop": pipeline.ErrStop, "failure": errBroken} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t.TempDir())
			s.data.n, s.Hold, s.Checkpoints.Steps = 100, true, 0
			h := &holder{learner: s.model}
			r := &recorder{}
			s.Callbacks = append(s.Callbacks, r, &trigger{number: 4, do: func() error { return cause }})
			result, err := pipeline.Fit(t.Context(), h, whole{s.data}, s.Options)
			if cause == errBroken && !errors.Is(err, errBroken) || cause == pipeline.ErrStop && err != nil {
				t.Fatal(err)
			}
			taken := 0
			for _, n := range h.calls {
				taken += n
			}
			told := eventsOf[pipeline.Step](r)
			if taken < 10 || result.Steps != taken || len(told) != taken || told[taken-1].Ahead != 0 {
				t.Errorf("the model took %d steps, %d were told, the result is of %d", taken, len(told), result.Steps)
			}
			again := newSession(s.dir)
			again.resume(t)
			if err := s.model.RestoreVariables(t.Context(), again.Resume.Variables()); err != nil || again.Resume.Step != taken || again.Resume.Batch != taken {
				t.Errorf("saved: step %d, batch %d; %v", again.Resume.Step, again.Resume.Batch, err)
			}
		})
	}
}

// The steps before the one that diverged are told of; nothing of it is saved, and a
// callback that stops the run before it is told does not hide it.
func TestDivergenceOnHeldData(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)() // however slow the machine is
	for _, stop := range []int{0, 5} {  // the event that a callback stops at
		s := newSession(t.TempDir())
		s.data.n, s.Hold, s.Checkpoints.Steps = 100, true, 0
		train := s.model.train
		s.model.train = func(step, n int) map[string]tensor.Tensor {
			out := train(step, n)
			if step >= 8 {
				out["loss"] = tensor.Scalar(float32(inf))
			}
			return out
		}
		r := &recorder{}
		s.Callbacks = append(s.Callbacks, r, &trigger{number: stop, do: func() error { return pipeline.ErrStop }})
		result, err := s.fit(t.Context())
		var diverged *pipeline.NonFiniteError
		if !errors.As(err, &diverged) || diverged.Step != 8 || result.Finished {
			t.Fatalf("%v, finished %t", err, result.Finished)
		}
		steps := eventsOf[pipeline.Step](r)
		if len(steps) != 7 || steps[6].Ahead != 1 || result.Steps != 7 {
			t.Errorf("%d steps were told of, the last %+v", len(steps), steps[len(steps)-1])
		}
		if saved := savedSteps(t, s.store()); len(saved) > 0 {
			t.Errorf("the checkpoints are of steps %v", saved)
		}
	}
}

func TestHoldRefusesWhatCannotBeHeld(t *testing.T) {
	o := pipeline.Options{Hold: true}
	bad := whole{&examples{n: 10, err: errBroken}}
	for name, test := range map[string]struct {
		model pipeline.Model
		data  pipeline.Data
		is    func(error) bool
	}{
		"a model":          {newLearner(), whole{&examples{n: 10}}, says("the model cannot hold examples")},
		"data":             {&holder{learner: newLearner()}, &examples{n: 10}, says("it cannot be had at once")},
		"what is not read": {&holder{learner: newLearner()}, bad, is(errBroken)},
		"what it cannot":   {&holder{learner: newLearner(), cannot: errBroken}, whole{&examples{n: 10}}, is(errBroken)},
		"nothing":          {&holder{learner: newLearner()}, whole{&examples{n: 0}}, says("there are no examples")},
	} {
		if _, err := pipeline.Fit(t.Context(), test.model, test.data, o); err == nil || !test.is(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A call that failed leaves weights that nobody knows: nothing of it is saved.
func TestACallOnHeldDataThatFails(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)()
	for name, test := range map[string]struct {
		spoil func(*holder)
		says  string
	}{
		"failure":        {func(h *holder) { h.fails = errBroken }, "train steps 2 to 33: "},
		"missing values": {func(h *holder) { h.short = true }, `train step 1: read output "loss": it has 0 values, expected 1`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t.TempDir())
			s.data.n, s.Hold, s.Checkpoints.Steps = 100, true, 0
			h := &holder{learner: s.model}
			test.spoil(h)
			_, err := pipeline.Fit(t.Context(), h, whole{s.data}, s.Options)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, want an error that says %q", err, test.says)
			}
			if saved := savedSteps(t, s.store()); len(saved) > 0 {
				t.Errorf("the checkpoints are of steps %v", saved)
			}
		})
	}
}

func TestStepsInACall(t *testing.T) {
	for _, test := range []struct {
		step time.Duration
		want int
	}{{0, 64}, {time.Microsecond, 64}, {time.Millisecond, 25}, {10 * time.Millisecond, 2}, {13 * time.Millisecond, 1}, {time.Minute, 1}} {
		if got := pipeline.StepsIn(25*time.Millisecond, test.step); got != test.want {
			t.Errorf("steps of %v: %d a call, want %d", test.step, got, test.want)
		}
	}
}

// Steps may take longer in another epoch, such as those of larger images.
func TestEachEpochBeginsWithOneStepInACall(t *testing.T) {
	defer pipeline.CallsOf(time.Hour)()
	h := &holder{learner: newLearner()}
	if _, err := collect(t.Context(), h, whole{&examples{n: 32}}, pipeline.Options{BatchSize: 3, Epochs: 3, Hold: true}); err != nil {
		t.Fatal(err)
	}
	if want := []int{1, 9, 1, 1, 9, 1, 1, 9, 1}; !slices.Equal(h.calls, want) {
		t.Errorf("calls of %v steps, want %v", h.calls, want)
	}
}
