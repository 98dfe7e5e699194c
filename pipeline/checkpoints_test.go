package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/callback"
	"github.com/residual-go/residual/pipeline/checkpoint"
	"github.com/residual-go/residual/tfgo/tensor"
)

// learner is a model whose weights are a number that depends on all that it was
// trained on, in that order.
type learner struct {
	*scripted
	weights uint64
	name    string
	unsaved error // of SaveVariables
}

func newLearner() *learner {
	m := &learner{scripted: newScripted(), weights: 1, name: "learner"}
	m.train = func(_, n int) map[string]tensor.Tensor {
		return map[string]tensor.Tensor{"loss": tensor.Scalar(m.loss()), "correct": tensor.Scalar(int64(m.weights % uint64(n+1))), "grad_norm": tensor.Scalar[float32](3)}
	}
	m.evaluate = func(_ int, labels []int64) map[string]tensor.Tensor {
		out := answers(labels, make([]int64, len(labels)))
		out["loss_sum"] = tensor.Scalar(m.loss())
		return out
	}
	return m
}

// loss lies between 1 and 2.
func (m *learner) loss() float32 { return 1 + float32(m.weights%1_000_003)/1_000_003 }

func (m *learner) Call(ctx context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	if name == pipeline.TrainSignature || name == pipeline.AccumulateSignature {
		hash := fnv.New64a()
		fmt.Fprint(hash, m.weights, inputs["images"].Bytes(), inputs["labels"].Bytes(), inputs["learning_rate"].Bytes())
		fmt.Fprint(hash, inputs["micro_batch_size"].Bytes(), inputs["upsample"].Bytes())
		m.weights = hash.Sum64()
	}
	return m.scripted.Call(ctx, name, inputs)
}

func (m *learner) SaveVariables(_ context.Context, prefix string) error {
	if m.unsaved != nil {
		return m.unsaved
	}
	return os.WriteFile(prefix+".index", strconv.AppendUint(nil, m.weights, 10), 0o644)
}

func (m *learner) RestoreVariables(_ context.Context, prefix string) error {
	data, err := os.ReadFile(prefix + ".index")
	if err == nil {
		m.weights, err = strconv.ParseUint(string(data), 10, 64)
	}
	return err
}

func (m *learner) Fingerprint() string { return m.name }

// trigger calls a function when the event of a number, from 1, has been told to all
// callbacks before.
type trigger struct {
	number int
	do     func() error
	seen   int
}

func (a *trigger) Handle(context.Context, pipeline.Event) error {
	if a.seen++; a.seen == a.number {
		return a.do()
	}
	return nil
}

func (a *trigger) Close(error) error { return nil }

// session is a run's directory and its options.
type session struct {
	dir   string
	model *learner
	data  *examples
	pipeline.Options
}

// newSession has 3 epochs of 4 batches, each followed by a test of 2, and saves
// after each second step.
func newSession(dir string) *session {
	s := &session{dir: dir, model: newLearner(), data: &examples{n: 10}}
	s.Options = pipeline.Options{
		Epochs: 3, BatchSize: 3, Seed: 4, Test: &examples{n: 5}, Callbacks: []pipeline.Callback{&callback.CSV{Dir: dir}},
		Checkpoints: &pipeline.Checkpoints{Dir: s.store(), Steps: 2},
	}
	return s
}

func (s *session) store() string { return filepath.Join(s.dir, "checkpoints") }

func (s *session) fit(ctx context.Context) (pipeline.Result, error) {
	if s.Hold {
		return pipeline.Fit(ctx, &holder{learner: s.model}, whole{s.data}, s.Options)
	}
	return pipeline.Fit(ctx, s.model, s.data, s.Options)
}

// resume has the session go on from what its directory holds, if it holds
// something.
func (s *session) resume(t *testing.T) {
	t.Helper()
	saved, damaged, err := pipeline.LastSaved(s.store())
	if err != nil && !errors.Is(err, checkpoint.ErrNone) || damaged != nil {
		t.Fatal(err, damaged)
	}
	s.Resume = saved
}

// outcomes is what a run leaves, without times.
type outcomes struct {
	Weights        uint64
	Steps, Metrics string
	Result         pipeline.Result
}

func (s *session) outcomes(t *testing.T, result pipeline.Result) outcomes {
	t.Helper()
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`(?m),[^,\n]*$`).ReplaceAllString(string(data), "") // the last column is a time in both
	}
	result.Duration, result.ImagesPerSecond, result.DataWait = 0, 0, 0
	return outcomes{s.model.weights, read("steps.csv"), read("metrics.csv"), result}
}

func TestARunThatWasCutShortGoesOnToTheSameBit(t *testing.T) {
	cutShort(t, 1, newSession)
}

func TestARunOfAccumulatedStepsGoesOnToTheSameBit(t *testing.T) {
	cutShort(t, 4, func(dir string) *session {
		s := newSession(dir)
		s.BatchSize, s.Accumulate, s.UpsampleSchedule = 1, 3, []int{2, 5}
		s.Test = &examples{n: 2}
		return s
	})
}

// cutShort cuts a session's run short at each of its events but for every-1 of
// every in between.
func cutShort(t *testing.T, every int, newSession func(dir string) *session) {
	whole := newSession(t.TempDir())
	counter := &trigger{}
	whole.Callbacks = append(whole.Callbacks, counter)
	result, err := whole.fit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := whole.outcomes(t, result)
	if result.Steps != 12 || strings.Count(want.Steps, "\n") != 13 || counter.seen != 1+3*(4+2+1) {
		t.Fatalf("the whole run has %+v, %d events", result, counter.seen)
	}

	for number := 1; number <= counter.seen; number += every {
		// A signal: the context ends, and Fit saves what was reached.
		t.Run(fmt.Sprintf("cancelled at event %d", number), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			dir := t.TempDir()
			first := newSession(dir)
			first.Callbacks = append(first.Callbacks, &trigger{number: number, do: func() error { cancel(); return nil }})
			cut, err := first.fit(ctx)
			if number < counter.seen && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if cut.Steps == 0 {
				return
			}
			second := newSession(dir)
			second.resume(t)
			if second.Resume.Step != cut.Steps {
				t.Errorf("saved is step %d, reached was %d", second.Resume.Step, cut.Steps)
			}
			goOn(t, second, want)
		})
		// SIGKILL: what is on the disk is all that there is.
		t.Run(fmt.Sprintf("killed at event %d", number), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "killed")
			first := newSession(t.TempDir())
			first.Callbacks = append(first.Callbacks, &trigger{number: number, do: func() error {
				return os.CopyFS(dir, os.DirFS(first.dir))
			}})
			if _, err := first.fit(t.Context()); err != nil {
				t.Fatal(err)
			}
			second := newSession(dir)
			second.resume(t)
			if second.Resume == nil { // killed before the first one
				for _, name := range []string{"steps.csv", "metrics.csv"} {
					_ = os.Remove(filepath.Join(dir, name))
				}
			}
			goOn(t, second, want)
		})
	}
}

func goOn(t *testing.T, s *session, want outcomes) {
	t.Helper()
	result, err := s.fit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.outcomes(t, result)); diff != "" {
		t.Errorf("resumed (+), in one go (-):\n%s", diff)
	}
}

func savedSteps(t *testing.T, dir string) []int {
	t.Helper()
	all, err := checkpoint.Store{Dir: dir}.List()
	if err != nil {
		t.Fatal(err)
	}
	var steps []int
	for _, c := range all {
		steps = append(steps, c.Step)
	}
	return steps
}

func TestTheNewestAndTheBestStay(t *testing.T) {
	s := newSession(t.TempDir())
	losses := []float32{5, 5, 5, 5, 1, 1, 1, 1, 3, 3, 3, 3} // of the second epoch is the least
	s.model.train = func(step, n int) map[string]tensor.Tensor {
		return map[string]tensor.Tensor{"loss": tensor.Scalar(losses[step-1]), "correct": tensor.Scalar(int64(0)), "grad_norm": tensor.Scalar[float32](3)}
	}
	s.Checkpoints.Steps = 1
	if _, err := s.fit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if steps := savedSteps(t, s.store()); !slices.Equal(steps, []int{12, 11, 8}) {
		t.Errorf("the checkpoints are of steps %v", steps)
	}
	s.resume(t)
	if diff := cmp.Diff(&pipeline.Best{Step: 8, Epoch: 2, Loss: 1}, s.Resume.Best); diff != "" {
		t.Error(diff)
	}
}

// Where there is a validation it chooses, whatever training and test say.
func TestTheValidationChoosesTheBest(t *testing.T) {
	s := newSession(t.TempDir())
	s.Validation = &examples{n: 4}
	losses := []float32{9, 9, 1, 9, 9, 5}         // of the epochs: 4, 2.5, 3.5 an example
	sums := [][2]float32{{10, 6}, {6, 4}, {8, 6}} // of the two batches of 3 and 1
	evaluations := 0
	s.model.evaluate = func(_ int, labels []int64) map[string]tensor.Tensor {
		out := answers(labels, make([]int64, len(labels)))
		epoch, batch := evaluations/4, evaluations%4 // two batches of the validation, then two of the test
		evaluations++
		if batch < 2 {
			out["loss_sum"] = tensor.Scalar(sums[epoch][batch])
		} else {
			out["loss_sum"] = tensor.Scalar(losses[epoch*2+batch-2])
		}
		return out
	}
	var seen []pipeline.Epoch
	s.Callbacks = append(s.Callbacks, epochsOf(func(e pipeline.Epoch) { seen = append(seen, e) }))
	result, err := s.fit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 3 || seen[1].Validation.Loss != 2.5 || seen[1].Test.Loss != 2 || result.Validation.Loss != 3.5 {
		t.Errorf("epochs %+v, result %+v", seen, result)
	}
	s.resume(t)
	if diff := cmp.Diff(&pipeline.Best{Step: 8, Epoch: 2, Loss: 2.5, Validation: true}, s.Resume.Best); diff != "" {
		t.Error(diff)
	}
	metrics, err := os.ReadFile(filepath.Join(s.dir, "metrics.csv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(metrics), "\n")
	if !strings.HasSuffix(lines[0], ",seconds,validation_loss,validation_accuracy") || !strings.HasSuffix(lines[2], ",2.5,"+strconv.FormatFloat(seen[1].Validation.Accuracy, 'g', 9, 64)) {
		t.Errorf("metrics.csv is\n%s", metrics)
	}
}

// epochsOf is a callback that hears of epochs.
type epochsOf func(pipeline.Epoch)

func (f epochsOf) Handle(_ context.Context, event pipeline.Event) error {
	if e, ok := event.(pipeline.Epoch); ok {
		f(e)
	}
	return nil
}

func (epochsOf) Close(error) error { return nil }

func TestWhenCheckpointsAreSaved(t *testing.T) {
	now := make(chan struct{}, 1)
	for name, test := range map[string]struct {
		checkpoints pipeline.Checkpoints
		want        []int
	}{
		"after each epoch":     {pipeline.Checkpoints{}, []int{12, 8, 4}},
		"every three steps":    {pipeline.Checkpoints{Steps: 3}, []int{12, 11, 8, 7, 4, 3}},
		"all the time":         {pipeline.Checkpoints{Every: time.Nanosecond}, []int{12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1}},
		"hardly ever":          {pipeline.Checkpoints{Every: time.Hour, Steps: 1000}, []int{12, 8, 4}},
		"when it is asked for": {pipeline.Checkpoints{Now: now}, []int{12, 8, 6, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t.TempDir())
			test.checkpoints.Dir, test.checkpoints.Keep = s.store(), 100
			s.Checkpoints = &test.checkpoints
			s.Callbacks = append(s.Callbacks, &trigger{number: 1 + (4 + 2 + 1) + 2, do: func() error { // step 6
				select {
				case now <- struct{}{}:
				default:
				}
				return nil
			}})
			if _, err := s.fit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if steps := savedSteps(t, s.store()); !slices.Equal(steps, test.want) {
				t.Errorf("the checkpoints are of steps %v, want %v", steps, test.want)
			}
			select {
			case <-now:
			default:
			}
		})
	}
}

// Early stopping: a run that has come to its end does not go on.
func TestARunThatWasStoppedIsDone(t *testing.T) {
	for _, number := range []int{3, 8} { // in an epoch, and at its end
		s := newSession(t.TempDir())
		s.Callbacks = append(s.Callbacks, &trigger{number: number, do: func() error { return pipeline.ErrStop }})
		stopped, err := s.fit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again := newSession(s.dir)
		again.resume(t)
		if again.Resume.Step != stopped.Steps || !again.Resume.Done {
			t.Errorf("saved: step %d, done %t; stopped at %d", again.Resume.Step, again.Resume.Done, stopped.Steps)
		}
		result, err := again.fit(t.Context())
		if err != nil || result.Steps != stopped.Steps || again.model.trained != 0 || again.model.weights != s.model.weights {
			t.Errorf("%v, %+v, trained %d more steps", err, result, again.model.trained)
		}
	}
}

func TestAStateThatIsNoLongerSoundIsNotSaved(t *testing.T) {
	for name, spoil := range map[string]func(s *session){
		"a call that failed": func(s *session) {
			s.model.fail = func(calls int) error {
				if calls == 4 {
					return errors.New("out of memory")
				}
				return nil
			}
		},
		"a gradient that is no number": func(s *session) {
			train := s.model.train
			s.model.train = func(step, n int) map[string]tensor.Tensor {
				out := train(step, n)
				if step >= 3 {
					out["grad_norm"] = tensor.Scalar(float32(inf))
				}
				if step >= 4 {
					out["loss"] = tensor.Scalar(float32(inf))
				}
				return out
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t.TempDir())
			s.Checkpoints.Steps = 1
			spoil(s)
			if _, err := s.fit(t.Context()); err == nil {
				t.Fatal("no error")
			}
			if steps := savedSteps(t, s.store()); slices.Max(steps) > 3 || !slices.Contains(steps, 2) || slices.Contains(steps, 3) && name != "a call that failed" {
				t.Errorf("the checkpoints are of steps %v", steps)
			}
		})
	}
}

func TestDataThatCannotBeReadDoesNotCostTheRun(t *testing.T) {
	s := newSession(t.TempDir())
	s.Checkpoints.Steps = 0
	s.data.broken, s.data.err = 4, errors.New("bad disk")
	if _, err := s.fit(t.Context()); !errors.Is(err, s.data.err) {
		t.Fatal(err)
	}
	if steps := savedSteps(t, s.store()); !slices.Equal(steps, []int{3}) {
		t.Errorf("the checkpoints are of steps %v", steps)
	}
}

// A context that ends just before TensorFlow looks at it must not spoil a step.
func TestASignalBetweenTwoLooksAtTheContext(t *testing.T) {
	s := newSession(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	s.model.fail = func(calls int) error {
		if calls == 6 {
			cancel()
		}
		return nil
	}
	cancelled := &honest{s.model}
	result, err := pipeline.Fit(ctx, cancelled, s.data, s.Options)
	if !errors.Is(err, context.Canceled) || result.Steps == 0 {
		t.Fatal(result, err)
	}
	if steps := savedSteps(t, s.store()); slices.Max(steps) != result.Steps {
		t.Errorf("it ended after step %d, the checkpoints are of steps %v", result.Steps, steps)
	}
}

// honest looks at the context once more, as a session of TensorFlow does.
type honest struct{ *learner }

func (m *honest) Call(ctx context.Context, name string, inputs map[string]tensor.Tensor) (map[string]tensor.Tensor, error) {
	outputs, err := m.learner.Call(ctx, name, inputs)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return outputs, err
}

// A callback that ends a run must not hide that its last steps are lost.
func TestAStopDoesNotHideThatStepsAreLost(t *testing.T) {
	s := newSession(t.TempDir())
	s.Callbacks = append(s.Callbacks, &trigger{number: 5, do: func() error {
		s.model.unsaved = errors.New("no space left on device")
		return pipeline.ErrStop
	}})
	result, err := s.fit(t.Context())
	if !errors.Is(err, s.model.unsaved) || errors.Is(err, pipeline.ErrStop) || !result.Finished {
		t.Errorf("finished: %v; %v", result.Finished, err)
	}
}

// With another batch size the schedule keeps to the epochs.
func TestAScheduleAfterAnotherBatchSize(t *testing.T) {
	for _, schedule := range []pipeline.Schedule{pipeline.Linear(), pipeline.Cosine()} {
		s := newSession(t.TempDir())
		s.Schedules = []pipeline.Schedule{schedule}
		s.Callbacks = append(s.Callbacks, &trigger{number: 15, do: func() error { return pipeline.ErrStop }}) // the second epoch's end
		if _, err := s.fit(t.Context()); err != nil {
			t.Fatal(err)
		}
		again := newSession(s.dir)
		again.resume(t)
		again.Resume.Done = false
		again.Schedules, again.BatchSize, again.Callbacks = s.Schedules, 5, nil
		rates := map[int]float64{}
		again.Callbacks = []pipeline.Callback{heard(func(e pipeline.Event) {
			if step, ok := e.(pipeline.Step); ok {
				rates[step.Number] = step.LearningRate
			}
		})}
		if _, err := again.fit(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := map[int]float64{9: 0.01 * schedule.Factor(5, 6), 10: 0.01 * schedule.Factor(6, 6)}
		if diff := cmp.Diff(want, rates); diff != "" {
			t.Errorf("the learning rates: %s", diff)
		}
	}
}

// heard is a callback that is a function.
type heard func(pipeline.Event)

func (h heard) Handle(_ context.Context, e pipeline.Event) error { h(e); return nil }
func (h heard) Close(error) error                                { return nil }

// While a run goes on there may be room again; at its end it must be said.
func TestACheckpointThatCannotBeSaved(t *testing.T) {
	s := newSession(t.TempDir())
	s.model.unsaved = errors.New("no space left on device")
	var warnings []error
	s.Checkpoints.Warn = func(err error) { warnings = append(warnings, err) }
	result, err := s.fit(t.Context())
	if unsaved := (*pipeline.UnsavedError)(nil); !errors.As(err, &unsaved) || unsaved.Saved != 0 || unsaved.Reached != 12 || !result.Finished {
		t.Errorf("finished: %v; %v", result.Finished, err)
	}
	if len(warnings) != 6 || !errors.Is(warnings[0], s.model.unsaved) { // after steps 2, 4, 6, …
		t.Errorf("warnings: %v", warnings)
	}
	if entries, _ := os.ReadDir(s.store()); len(entries) != 0 {
		t.Errorf("it left %v", entries)
	}

	s = newSession(t.TempDir())
	s.model.unsaved = errors.New("no space left on device")
	ctx, cancel := context.WithCancel(t.Context())
	s.Callbacks = append(s.Callbacks, &trigger{number: 3, do: func() error { cancel(); return nil }})
	if _, err := s.fit(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, s.model.unsaved) {
		t.Errorf("error: %v", err)
	}
}

func TestResumeRefusesWhatHasChanged(t *testing.T) {
	first := newSession(t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	first.Callbacks = append(first.Callbacks, &trigger{number: 4, do: func() error { cancel(); return nil }})
	_, _ = first.fit(ctx)
	for name, test := range map[string]struct {
		change func(*session)
		want   string
	}{
		"model":        {func(s *session) { s.model.name = "other" }, "the model is not the same: it was learner, it is other"},
		"accumulation": {func(s *session) { s.Accumulate = 2 }, "the number of batches in a step, which can change only between epochs (this is batch 3 of epoch 1), is not the same: it was 1, it is 2"},
		"batch size":   {func(s *session) { s.BatchSize = 5 }, "the batch size, which can change only between epochs (this is batch 3 of epoch 1), is not the same: it was 3, it is 5"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(first.dir)
			s.resume(t)
			test.change(s)
			_, err := s.fit(t.Context())
			var changed *pipeline.ChangedError
			if !errors.As(err, &changed) || !strings.Contains(err.Error(), test.want) || s.model.trained != 0 {
				t.Errorf("error: %v", err)
			}
		})
	}
	plain := newScripted()
	if _, err := pipeline.Fit(t.Context(), plain, first.data, first.Options); err == nil || !strings.Contains(err.Error(), "cannot save") {
		t.Errorf("error: %v", err)
	}
}

// States from before a setting was there say nothing of it.
func TestAStateWithoutAccumulation(t *testing.T) {
	s := newSession(t.TempDir())
	if _, err := s.fit(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.resume(t)
	if s.Resume.Settings.Accumulate != 1 || s.Resume.Settings.UpsampleSchedule != nil {
		t.Errorf("saved is %+v", s.Resume.Settings)
	}
	data, err := os.ReadFile(filepath.Join(s.Resume.Path, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	older := regexp.MustCompile(`(?m)^ *"accumulate": 1,\n`).ReplaceAll(data, nil)
	if len(older) == len(data) {
		t.Fatalf("state.json does not say it: %s", data)
	}
	store := checkpoint.Store{Dir: s.store()}
	if _, err := store.Save(13, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "state.json"), bytes.Replace(older, []byte(`"step": 12`), []byte(`"step": 13`), 1), 0o644)
	}); err != nil {
		t.Fatal(err)
	}
	s.resume(t)
	if s.Resume.Step != 13 || s.Resume.Settings.Accumulate != 1 {
		t.Errorf("step %d is of %+v", s.Resume.Step, s.Resume.Settings)
	}
}

func TestAStateThatMakesNoSenseIsPassedOver(t *testing.T) {
	s := newSession(t.TempDir())
	if _, err := s.fit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(map[string]any){
		"another format": func(state map[string]any) { state["format"] = 7 },
		"another step":   func(state map[string]any) { state["step"] = 11 },
		"no epoch":       func(state map[string]any) { state["epoch"] = 0 },
		"text":           func(state map[string]any) { state["epoch"] = "one" },
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "checkpoints")
			if err := os.CopyFS(copied, os.DirFS(s.store())); err != nil {
				t.Fatal(err)
			}
			store := checkpoint.Store{Dir: copied}
			_, err := store.Save(12, func(dir string) error { // whole, by its manifest
				data, err := os.ReadFile(filepath.Join(copied, "step-00000012", "state.json"))
				if err != nil {
					return err
				}
				var state map[string]any
				if err := json.Unmarshal(data, &state); err != nil {
					return err
				}
				change(state)
				data, err = json.Marshal(state)
				return errors.Join(err, os.WriteFile(filepath.Join(dir, "state.json"), data, 0o644))
			})
			if err != nil {
				t.Fatal(err)
			}
			saved, damaged, err := pipeline.LastSaved(copied)
			var why *checkpoint.DamagedError
			if err != nil || saved.Step == 12 || len(damaged) != 1 || !errors.As(damaged[0], &why) || why.File != "state.json" {
				t.Errorf("%+v, %v, %v", saved, damaged, err)
			}
		})
	}
}
