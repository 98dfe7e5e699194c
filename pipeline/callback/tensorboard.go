package callback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"time"

	summarypb "github.com/wamuir/graft/tensorflow/core/framework/summary_go_proto"

	"github.com/residual-go/residual/pipeline"
)

// TensorBoard writes a run for `tensorboard --logdir DIR`, which may follow it
// while it goes on. The layout and the names are those of Keras's TensorBoard
// callback, so that runs of both can be laid over each other; epochs count
// from 1.
//
//	DIR/train       by epoch: epoch_loss, epoch_accuracy, epoch_learning_rate;
//	                by step: batch_loss, batch_accuracy (of the batch alone),
//	                learning_rate, images_per_second, grad_norm;
//	                the picture preview
//	DIR/validation  by epoch: epoch_loss, epoch_accuracy of the validation;
//	                without one, what DIR/test has
//	DIR/test        by epoch: epoch_loss, epoch_accuracy, the picture confusion
//	DIR             the HPARAMS tab
//
// Each is an event file (see eventFile) of its own that is made when there is
// something for it. A run that is resumed goes on in further files; what it does
// again is cut off the old ones. Confusion matrices are drawn as Curve draws: a
// tenth of the time at most, the last one in any case.
type TensorBoard struct {
	Dir     string         // "" is the working directory
	HParams map[string]any // truths, numbers and text of the HPARAMS tab; nil means that there is none
	Classes []string       // in label order; nil means that there are no confusion matrices
	Preview []byte         // a PNG of what is trained on; nil means that there is none

	files    map[string]*eventFile // by folder; each is made when there is something for it
	tested   string                // the folder of the test
	rate     float64               // the last step's
	sketch   sketch
	restored *boardState
}

// boardState is how far the files of a run had come.
type boardState struct {
	Files map[string]map[string]mark `json:"files"` // by folder and name
	Rate  float64                    `json:"learning_rate"`
}

var _ pipeline.Stateful = (*TensorBoard)(nil)

// StateName says "tensorboard".
func (t *TensorBoard) StateName() string { return "tensorboard" }

// State says how far the files have come.
func (t *TensorBoard) State() (json.RawMessage, error) {
	state := boardState{Files: map[string]map[string]mark{}, Rate: t.rate}
	for _, folder := range boardFolders {
		file, marks := t.files[folder], map[string]mark{}
		if t.restored != nil && t.restored.Files[folder] != nil {
			marks = maps.Clone(t.restored.Files[folder])
		}
		if file != nil {
			m, err := file.mark()
			if err != nil {
				return nil, fmt.Errorf("write events: %w", err)
			}
			marks[file.name] = m
		}
		state.Files[folder] = marks
	}
	return json.Marshal(state)
}

// Restore cuts off what came after a state.
func (t *TensorBoard) Restore(data json.RawMessage) error {
	var state boardState
	err := json.Unmarshal(data, &state)
	if err == nil && state.Files[trainFolder] == nil {
		err = fmt.Errorf("there is nothing about the folder %q", trainFolder)
	}
	for _, folder := range boardFolders {
		if err == nil {
			err = cutEvents(filepath.Join(t.Dir, folder), state.Files[folder])
		}
	}
	if err != nil {
		return fmt.Errorf("resume events: %w", err)
	}
	t.restored, t.rate = &state, state.Rate
	return nil
}

// The folders in Dir.
const (
	runFolder        = "."
	trainFolder      = "train"
	validationFolder = "validation"
	testFolder       = "test"
)

var boardFolders = []string{runFolder, trainFolder, validationFolder, testFolder}

// Handle writes the event.
func (t *TensorBoard) Handle(_ context.Context, event pipeline.Event) error {
	switch e := event.(type) {
	case pipeline.Begin:
		return t.begin(e)
	case pipeline.Step:
		return t.step(e)
	case pipeline.Epoch:
		return t.epoch(e)
	}
	return nil
}

// Close writes what was put off, says how the run ended, and closes the files.
func (t *TensorBoard) Close(runErr error) error {
	var errs []error
	if t.files[t.tested] != nil {
		picture, err := t.sketch.draw()
		errs = append(errs, err, t.confusion(picture))
	}
	if run := t.files[runFolder]; run != nil {
		errs = append(errs, run.summary(0, sessionEnd(runErr, time.Now())))
	}
	for _, folder := range boardFolders {
		errs = append(errs, t.files[folder].close())
	}
	return errors.Join(errs...)
}

// write appends to the event file of a folder.
func (t *TensorBoard) write(folder string, step int, values ...*summarypb.Summary_Value) error {
	file, err := t.file(folder)
	if err != nil {
		return err
	}
	return file.summary(step, values...)
}

// file returns the event file of a folder, which is made if needed.
func (t *TensorBoard) file(folder string) (*eventFile, error) {
	if t.files == nil {
		return nil, errNoBegin
	}
	if t.files[folder] == nil {
		file, err := newEventFile(filepath.Join(t.Dir, folder))
		if err != nil {
			return nil, err
		}
		t.files[folder] = file
	}
	return t.files[folder], nil
}

func (t *TensorBoard) begin(e pipeline.Begin) error {
	t.sketch.classes = t.Classes
	t.files, t.tested = map[string]*eventFile{}, testFolder
	if e.ValidationExamples == 0 { // as Keras's users give fit their test
		t.tested = validationFolder
	}
	if _, err := t.file(trainFolder); err != nil {
		return err
	}
	if t.restored != nil {
		return t.goOn(e.Step + 1)
	}
	if t.Preview != nil {
		preview, err := imageValue("preview", t.Preview)
		if err == nil {
			err = t.write(trainFolder, 0, preview)
		}
		if err != nil {
			return err
		}
	}
	if t.HParams == nil {
		return nil
	}
	metrics := []metricName{{"train", "epoch_accuracy"}, {"train", "epoch_loss"}}
	if e.ValidationExamples > 0 || e.TestExamples > 0 { // what matters most is the first column
		metrics = append([]metricName{{validationFolder, "epoch_accuracy"}, {validationFolder, "epoch_loss"}}, metrics...)
	}
	now := time.Now()
	return t.write(runFolder, 0, experiment(t.HParams, metrics, now), sessionStart(t.HParams, now))
}

// goOn begins further files at a step: readers of the old ones have read beyond.
func (t *TensorBoard) goOn(step int) error {
	if err := t.files[trainFolder].restarted(step); err != nil || t.HParams == nil {
		return err
	}
	_, err := t.file(runFolder) // for the end of the session that the old one began
	return err
}

func (t *TensorBoard) step(e pipeline.Step) error {
	t.rate = e.LearningRate
	values := append(scores("batch_", e.Loss, e.Accuracy),
		scalarValue("learning_rate", e.LearningRate),
		scalarValue("images_per_second", perSecond(float64(e.Examples), e.Duration.Seconds())))
	if e.GradNorm != 0 { // a model need not tell it
		values = append(values, scalarValue("grad_norm", e.GradNorm))
	}
	return t.write(trainFolder, e.Number, values...)
}

func (t *TensorBoard) epoch(e pipeline.Epoch) error {
	rate := scalarValue("epoch_learning_rate", t.rate)
	err := t.write(trainFolder, e.Number, append(scores("epoch_", e.Train.Loss, e.Train.Accuracy), rate)...)
	if err == nil && e.Validation != nil {
		err = t.write(validationFolder, e.Number, scores("epoch_", e.Validation.Loss, e.Validation.Accuracy)...)
	}
	if err != nil || e.Test == nil {
		return err
	}
	if err := t.write(t.tested, e.Number, scores("epoch_", e.Test.Loss, e.Test.Accuracy)...); err != nil || t.Classes == nil {
		return err
	}
	picture, err := t.sketch.take(e.Number, e.Confusion)
	if err != nil {
		return err
	}
	return t.confusion(picture)
}

// confusion writes the picture that the sketch drew, if it did.
func (t *TensorBoard) confusion(picture []byte) error {
	if picture == nil {
		return nil
	}
	value, err := imageValue("confusion", picture)
	if err != nil {
		return err
	}
	return t.write(t.tested, t.sketch.epoch, value)
}
