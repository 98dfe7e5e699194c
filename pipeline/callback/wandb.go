package callback

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/residual-go/residual/pipeline"
)

// WandB writes a run as W&B's own package does offline, for `wandb sync` to
// upload. It needs neither that package nor a network.
//
//	DIR/wandb/offline-run-YYYYMMDD_HHMMSS-ID/
//	  run-ID.wandb                   see wandbLog and wandbRun
//	  files/wandb-metadata.json      machine and command
//	  files/media/images/*.png       pictures, named by their content
//
// History has a row for each step and each epoch. Over step there are
// train/loss and train/accuracy (of the batch alone), train/learning_rate,
// train/images_per_second and train/grad_norm; over epoch there are
// epoch/train_loss, epoch/train_accuracy, epoch/test_loss,
// epoch/test_accuracy, epoch/seconds and the picture epoch/confusion. The
// picture preview is in the row of step 1. W&B's own step of step n in epoch e is
// n-1 + 2(e-1): it grows strictly, and goes on where a run is resumed.
//
// Confusion matrices are drawn as Curve draws: a tenth of the time at most.
type WandB struct {
	Dir     string // "" is the working directory
	Project string // "" means "uncategorized", as W&B has it
	Name    string // "" lets W&B make one up
	// RunID is the run's place in its project. "" makes one up, which is here
	// when Begin was handled. A run that is resumed keeps its own.
	RunID   string
	Config  map[string]any // what JSON can say; nil is empty
	Classes []string       // in label order; nil means that there are no confusion matrices
	Preview []byte         // a PNG of what is trained on; nil means that there is none

	path    string
	log     *wandbLog
	records int
	began   time.Time
	running bool // the run's record is written
	resumed bool // in a log of its own: its first row is that of step
	step    int  // W&B's own, of the next row that does not say
	atEpoch bool // the last event was an epoch
	summary map[string]any
	sketch  sketch

	restored *wandbState
}

// wandbState is how far the log had come.
type wandbState struct {
	RunID   string         `json:"run_id"`
	Folder  string         `json:"folder"` // in DIR/wandb
	Log     mark           `json:"log"`
	Records int            `json:"records"`
	Runtime float64        `json:"runtime"` // seconds
	Running bool           `json:"running"`
	Step    int            `json:"step"`
	AtEpoch bool           `json:"at_epoch"`
	Summary map[string]any `json:"summary"`
}

var _ pipeline.Stateful = (*WandB)(nil)

// StateName says "wandb".
func (w *WandB) StateName() string { return "wandb" }

// State says how far the log has come.
func (w *WandB) State() (json.RawMessage, error) {
	if w.log == nil {
		return nil, nil
	}
	m, err := w.log.mark()
	if err != nil {
		return nil, fmt.Errorf("write W&B log: %w", err)
	}
	return json.Marshal(wandbState{
		RunID: w.RunID, Folder: filepath.Base(w.path), Log: m, Records: w.records, Runtime: time.Since(w.began).Seconds(),
		Running: w.running, Step: w.step, AtEpoch: w.atEpoch, Summary: w.summary,
	})
}

// Restore has Begin go on in the log where it was.
func (w *WandB) Restore(state json.RawMessage) error {
	w.restored = &wandbState{}
	if err := json.Unmarshal(state, w.restored); err != nil {
		return fmt.Errorf("resume W&B log: %w", err)
	}
	return nil
}

// W&B's own exit code of a run that Ctrl-C ended (wandb/sdk/lib/exit_hooks.py).
const wandbInterrupted = 255

// Path returns the folder to give to `wandb sync`; "" before Begin.
func (w *WandB) Path() string { return w.path }

// Handle writes the event.
func (w *WandB) Handle(_ context.Context, event pipeline.Event) error {
	switch e := event.(type) {
	case pipeline.Begin:
		return w.begin()
	case pipeline.Step:
		return w.trained(e)
	case pipeline.Epoch:
		return w.epoch(e)
	}
	return nil
}

// Close writes what was put off and the exit code: 0, 1 after a failure, 255
// after a cancelled context.
func (w *WandB) Close(runErr error) error {
	if w.log == nil {
		return nil
	}
	code := 0
	switch {
	case errors.Is(runErr, context.Canceled), errors.Is(runErr, context.DeadlineExceeded):
		code = wandbInterrupted
	case runErr != nil:
		code = 1
	}
	err := w.run()
	if err == nil && w.atEpoch { // else the row's place may be that of a step when the run is resumed
		err = w.lastPicture()
	}
	if err == nil {
		err = w.summarize()
	}
	if err == nil {
		err = w.write(recordExit, wandbExit(code, time.Since(w.began)))
	}
	return errors.Join(err, w.log.close())
}

func (w *WandB) begin() error {
	w.began, w.sketch.classes = time.Now(), w.Classes
	if w.restored != nil {
		return w.goOn(w.restored)
	}
	w.summary = map[string]any{}
	if w.RunID == "" {
		w.RunID = wandbID()
	}
	return w.create()
}

// goOn takes the log back to where it was. If it has been uploaded, as W&B's own
// program marks it, the run goes on in a second log under the same ID: W&B puts
// that one's rows behind the first one's.
func (w *WandB) goOn(from *wandbState) error {
	w.RunID, w.path = from.RunID, filepath.Join(w.Dir, "wandb", filepath.Base(from.Folder))
	w.step, w.atEpoch, w.summary = from.Step, from.AtEpoch, from.Summary
	path := w.logPath()
	_, err := os.Stat(path + ".synced")
	if err == nil {
		w.resumed = true
		return w.create()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("resume W&B log: %w", err)
	}
	w.began = w.began.Add(-time.Duration(from.Runtime * float64(time.Second)))
	w.records, w.running = from.Records, from.Running
	w.log, err = reopenWandbLog(path, from.Log)
	return err
}

// create makes the folder and the log in it.
func (w *WandB) create() (err error) {
	folder := "offline-run-" + w.began.Format("20060102_150405") + "-" + w.RunID
	w.path = filepath.Join(w.Dir, "wandb", folder)
	if err := os.MkdirAll(filepath.Join(w.path, "files"), 0o755); err != nil {
		return fmt.Errorf("make W&B folder: %w", err)
	}
	if w.log, err = newWandbLog(w.logPath()); err != nil {
		return err
	}
	if err := w.write(recordHeader, wandbHeader()); err != nil {
		return err
	}
	return writeMetadata(filepath.Join(w.path, "files", metadataName), w.began)
}

func (w *WandB) logPath() string {
	return filepath.Join(w.path, "run-"+filepath.Base(w.RunID)+".wandb")
}

// wandbID makes up an ID of 8 small letters and digits, as W&B does.
func wandbID() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails
	for i, b := range id {
		id[i] = letters[int(b)%len(letters)]
	}
	return string(id)
}

// run writes, once, what comes before the first row.
func (w *WandB) run() error {
	if w.running {
		return nil
	}
	w.running = true
	host, _ := os.Hostname()
	run, err := wandbRun{
		id: w.RunID, project: cmp.Or(w.Project, "uncategorized"), name: w.Name, host: host,
		config: w.Config, began: w.began, firstStep: w.step, resumed: w.resumed,
	}.record()
	if err != nil {
		return err
	}
	for _, record := range []struct {
		kind    protowire.Number
		message []byte
	}{
		{recordRun, run},
		{recordFiles, wandbFile(metadataName, filePlain)},
		{recordMetric, axis("step")},
		{recordMetric, axis("epoch")},
		{recordMetric, over("step", "train/*")},
		{recordMetric, over("epoch", "epoch/*")},
	} {
		if err := w.write(record.kind, record.message); err != nil {
			return err
		}
	}
	return nil
}

func (w *WandB) trained(e pipeline.Step) error {
	if w.log == nil {
		return errNoBegin
	}
	w.atEpoch = false
	w.step = e.Number - 1 + 2*(e.Epoch-1)
	row := map[string]any{
		"step":                    e.Number,
		"train/loss":              e.Loss,
		"train/accuracy":          e.Accuracy,
		"train/learning_rate":     e.LearningRate,
		"train/images_per_second": perSecond(float64(e.Examples), e.Duration.Seconds()),
	}
	if e.GradNorm != 0 { // a model need not tell it
		row["train/grad_norm"] = e.GradNorm
	}
	if err := w.run(); err != nil {
		return err
	}
	if e.Number == 1 {
		if err := w.addPicture(row, "preview", w.Preview); err != nil {
			return err
		}
	}
	return w.row(row)
}

func (w *WandB) epoch(e pipeline.Epoch) error {
	if w.log == nil {
		return errNoBegin
	}
	w.atEpoch = true
	row := map[string]any{
		"epoch":                e.Number,
		"epoch/train_loss":     e.Train.Loss,
		"epoch/train_accuracy": e.Train.Accuracy,
		"epoch/seconds":        e.Duration.Seconds(),
	}
	if e.Validation != nil {
		row["epoch/validation_loss"], row["epoch/validation_accuracy"] = e.Validation.Loss, e.Validation.Accuracy
	}
	if e.Test != nil {
		row["epoch/test_loss"], row["epoch/test_accuracy"] = e.Test.Loss, e.Test.Accuracy
	}
	if w.Classes != nil {
		picture, err := w.sketch.take(e.Number, e.Confusion)
		if err == nil {
			err = w.addPicture(row, confusionKey, picture)
		}
		if err != nil {
			return err
		}
	}
	if err := w.row(row); err != nil {
		return err
	}
	return w.summarize()
}

// lastPicture writes the last epoch's matrix in a row of its own, if it was
// put off.
func (w *WandB) lastPicture() error {
	picture, err := w.sketch.draw()
	if err != nil || picture == nil {
		return err
	}
	row := map[string]any{"epoch": w.sketch.epoch}
	if err := w.addPicture(row, confusionKey, picture); err != nil {
		return err
	}
	return w.row(row)
}

const confusionKey = "epoch/confusion"

// addPicture saves a PNG, if there is one, and adds it to a row.
func (w *WandB) addPicture(row map[string]any, key string, picture []byte) error {
	if picture == nil {
		return nil
	}
	path, value, err := savePicture(filepath.Join(w.path, "files"), key, w.step, picture)
	if err != nil {
		return err
	}
	row[key] = value
	return w.write(recordFiles, wandbFile(path, fileMedia))
}

// row writes a row of history, and leaves the next one's step behind it.
func (w *WandB) row(values map[string]any) error {
	now := time.Now()
	values["_step"], values["_timestamp"], values["_runtime"] = w.step, unixSeconds(now), now.Sub(w.began).Seconds()
	maps.Copy(w.summary, values)
	record, err := wandbHistory(w.step, values)
	if err != nil {
		return fmt.Errorf("write W&B history: %w", err)
	}
	w.step++
	return w.write(recordHistory, record)
}

// summarize writes the newest of all values. It is done after each epoch, so
// that a program that is killed leaves a summary.
func (w *WandB) summarize() error {
	record, err := wandbItems(w.summary)
	if err != nil {
		return fmt.Errorf("write W&B summary: %w", err)
	}
	return w.write(recordSummary, record)
}

func (w *WandB) write(kind protowire.Number, message []byte) error {
	w.records++
	return w.log.write(appendMessage(appendNumber(nil, 1, w.records), kind, message))
}
