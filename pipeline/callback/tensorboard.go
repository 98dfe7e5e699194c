package callback

import (
	"context"
	"errors"
	"path/filepath"
	"time"

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
//	DIR/validation  by epoch: epoch_loss, epoch_accuracy, the picture confusion
//	DIR             the HPARAMS tab
//
// Each is an event file (see eventFile) of its own that is made when there is
// something for it. Confusion matrices are drawn as Curve draws: a tenth of
// the time at most, the last one in any case.
type TensorBoard struct {
	Dir     string         // "" is the working directory
	HParams map[string]any // truths, numbers and text of the HPARAMS tab; nil means that there is none
	Classes []string       // in label order; nil means that there are no confusion matrices
	Preview []byte         // a PNG of what is trained on; nil means that there is none

	run, train, validation *eventFile
	rate                   float64 // the last step's
	sketch                 sketch
}

var _ pipeline.Callback = (*TensorBoard)(nil)

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
	if t.validation != nil {
		picture, err := t.sketch.draw()
		errs = append(errs, err, t.confusion(picture))
	}
	if t.run != nil {
		errs = append(errs, t.run.summary(0, sessionEnd(runErr, time.Now())))
	}
	return errors.Join(append(errs, t.run.close(), t.train.close(), t.validation.close())...)
}

func (t *TensorBoard) begin(e pipeline.Begin) (err error) {
	t.sketch.classes = t.Classes
	if t.train, err = newEventFile(filepath.Join(t.Dir, "train")); err != nil {
		return err
	}
	if t.Preview != nil {
		preview, err := imageValue("preview", t.Preview)
		if err == nil {
			err = t.train.summary(0, preview)
		}
		if err != nil {
			return err
		}
	}
	if t.HParams == nil {
		return nil
	}
	if t.run, err = newEventFile(t.Dir); err != nil {
		return err
	}
	metrics := []metricName{{"train", "epoch_accuracy"}, {"train", "epoch_loss"}}
	if e.TestExamples > 0 { // what matters most is the first column
		metrics = append([]metricName{{"validation", "epoch_accuracy"}, {"validation", "epoch_loss"}}, metrics...)
	}
	now := time.Now()
	return t.run.summary(0, experiment(t.HParams, metrics, now), sessionStart(t.HParams, now))
}

func (t *TensorBoard) step(e pipeline.Step) error {
	if t.train == nil {
		return errNoBegin
	}
	t.rate = e.LearningRate
	values := append(scores("batch_", e.Loss, e.Accuracy),
		scalarValue("learning_rate", e.LearningRate),
		scalarValue("images_per_second", perSecond(float64(e.Examples), e.Duration.Seconds())))
	if e.GradNorm != 0 { // a model need not tell it
		values = append(values, scalarValue("grad_norm", e.GradNorm))
	}
	return t.train.summary(e.Number, values...)
}

func (t *TensorBoard) epoch(e pipeline.Epoch) error {
	if t.train == nil {
		return errNoBegin
	}
	values := append(scores("epoch_", e.Train.Loss, e.Train.Accuracy), scalarValue("epoch_learning_rate", t.rate))
	if err := t.train.summary(e.Number, values...); err != nil || e.Test == nil {
		return err
	}
	if t.validation == nil {
		var err error
		if t.validation, err = newEventFile(filepath.Join(t.Dir, "validation")); err != nil {
			return err
		}
	}
	if err := t.validation.summary(e.Number, scores("epoch_", e.Test.Loss, e.Test.Accuracy)...); err != nil || t.Classes == nil {
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
	return t.validation.summary(t.sketch.epoch, value)
}
