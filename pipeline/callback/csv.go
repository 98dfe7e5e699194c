package callback

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/residual-go/residual/pipeline"
)

// CSV writes a run's figures to two files in Dir, which it makes if needed.
// Both begin with a row of names; later versions add columns only at the end.
//
// steps.csv has a row for each training step:
//
//	step              from 1, in the run
//	epoch             from 1
//	loss              mean over the step's batch, before its update
//	accuracy          share of the step's batch, before its update
//	learning_rate
//	images_per_second of the step, waiting for data included
//
// metrics.csv has a row for each whole epoch:
//
//	epoch             from 1
//	step              the run's steps so far
//	train_loss        mean over the epoch's examples, each before its update
//	train_accuracy
//	test_loss         empty, as test_accuracy, when nothing is tested
//	test_accuracy
//	seconds           the epoch took, the test included
//
// and, where there is a validation, validation_loss and validation_accuracy.
//
// Numbers have nine significant digits, enough to get each float32 back. A row
// is in its file when the next event comes, so that the files can be followed
// and lose nothing when the program is killed. A file that exists already is
// an error, and so is a row that cannot be written. A run that is resumed goes
// on in its files; rows of steps that it does again are cut off. Where writing had
// failed before, or the files were changed, rows may be missing.
type CSV struct {
	Dir string // "" is the working directory

	steps, metrics *table
	restored       *csvState
}

// csvState is how far the files had come.
type csvState struct {
	Steps   mark `json:"steps"`
	Metrics mark `json:"metrics"`
}

var _ pipeline.Stateful = (*CSV)(nil)

// Handle writes the event's row.
func (c *CSV) Handle(_ context.Context, event pipeline.Event) error {
	switch e := event.(type) {
	case pipeline.Begin:
		return c.open(e)
	case pipeline.Step:
		return c.steps.write(number(e.Number), number(e.Epoch), decimal(e.Loss), decimal(e.Accuracy),
			decimal(e.LearningRate), decimal(perSecond(float64(e.Examples), e.Duration.Seconds())))
	case pipeline.Epoch:
		testLoss, testAccuracy := "", ""
		if e.Test != nil {
			testLoss, testAccuracy = decimal(e.Test.Loss), decimal(e.Test.Accuracy)
		}
		row := []string{
			number(e.Number), number(e.Step), decimal(e.Train.Loss), decimal(e.Train.Accuracy),
			testLoss, testAccuracy, decimal(e.Duration.Seconds()),
		}
		if e.Validation != nil {
			row = append(row, decimal(e.Validation.Loss), decimal(e.Validation.Accuracy))
		}
		return c.metrics.write(row...)
	}
	return nil
}

// StateName says "csv".
func (c *CSV) StateName() string { return "csv" }

// State says how far the files have come.
func (c *CSV) State() (json.RawMessage, error) {
	if c.steps == nil || c.metrics == nil {
		return nil, nil
	}
	steps, stepsErr := c.steps.mark()
	metrics, metricsErr := c.metrics.mark()
	if err := errors.Join(stepsErr, metricsErr); err != nil {
		return nil, fmt.Errorf("write metrics: %w", err)
	}
	return json.Marshal(csvState{steps, metrics})
}

// Restore has Begin go on where the files were.
func (c *CSV) Restore(state json.RawMessage) error {
	c.restored = &csvState{}
	if err := json.Unmarshal(state, c.restored); err != nil {
		return fmt.Errorf("restore metrics: %w", err)
	}
	return nil
}

// Close closes the files.
func (c *CSV) Close(error) error { return errors.Join(c.steps.close(), c.metrics.close()) }

func (c *CSV) open(begin pipeline.Begin) error {
	if err := os.MkdirAll(cmp.Or(c.Dir, "."), 0o755); err != nil {
		return fmt.Errorf("make folder of metrics: %w", err)
	}
	columns := []string{"epoch", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"}
	if begin.ValidationExamples > 0 {
		columns = append(columns, "validation_loss", "validation_accuracy")
	}
	var from csvState
	if c.restored != nil {
		from = *c.restored
	}
	var stepsErr, metricsErr error
	c.steps, stepsErr = openTable(filepath.Join(c.Dir, "steps.csv"), begin.Step > 0, from.Steps, begin.Step,
		"step", "epoch", "loss", "accuracy", "learning_rate", "images_per_second")
	c.metrics, metricsErr = openTable(filepath.Join(c.Dir, "metrics.csv"), begin.Step > 0, from.Metrics, begin.Epoch-1, columns...)
	return errors.Join(stepsErr, metricsErr)
}

// openTable makes a file with a row of names. If the run is resumed it goes on in
// the one that is there, after a mark, or where no row ends there, after the row
// that begins with the number last.
func openTable(path string, resumed bool, m mark, last int, names ...string) (*table, error) {
	info, err := os.Stat(path)
	if !resumed || errors.Is(err, os.ErrNotExist) {
		return newTable(path, names...)
	}
	if err == nil && !info.Mode().IsRegular() { // a pipe would wait for a reader
		err = fmt.Errorf("%s is not a file", path)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("resume metrics: %w", err)
	}
	if n := m.Bytes; n <= 0 || n > int64(len(data)) || data[n-1] != '\n' {
		m = markAfter(data, last)
	}
	file, err := reopenJournal(path, m)
	if err != nil {
		return nil, fmt.Errorf("resume metrics: %w", err)
	}
	t := &table{journal: file}
	if m.Bytes > 0 {
		return t, nil
	}
	return t, t.write(names...)
}

// markAfter returns how far a table had come when it had the row that begins with
// the number last, or the last one before that.
func markAfter(data []byte, last int) mark {
	size := 0
	for line := range bytes.Lines(data) {
		first, _, _ := bytes.Cut(line, []byte(","))
		n, err := strconv.Atoi(string(first))
		if line[len(line)-1] != '\n' || size > 0 && (err != nil || n > last) { // the first row has the names
			break
		}
		size += len(line)
	}
	return mark{int64(size)}
}

// table is a file of rows. A nil table has none.
type table struct {
	*journal
	row bytes.Buffer
}

func newTable(path string, names ...string) (*table, error) {
	file, err := newJournal(path)
	if err != nil {
		return nil, fmt.Errorf("create metrics: %w", err)
	}
	t := &table{journal: file}
	return t, t.write(names...)
}

// write appends a row.
func (t *table) write(fields ...string) error {
	if t == nil {
		return fmt.Errorf("write metrics: %w", errNoBegin)
	}
	t.row.Reset()
	for i, field := range fields {
		if i > 0 {
			t.row.WriteByte(',')
		}
		t.row.WriteString(field)
	}
	t.row.WriteByte('\n')
	if err := t.journal.write(t.row.Bytes()); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

func (t *table) close() error {
	if t == nil {
		return nil
	}
	if err := t.journal.close(); err != nil {
		return fmt.Errorf("close metrics: %w", err)
	}
	return nil
}

func number(n int) string { return strconv.Itoa(n) }

func decimal(x float64) string { return strconv.FormatFloat(x, 'g', 9, 64) }
