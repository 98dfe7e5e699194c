package callback

import (
	"bytes"
	"cmp"
	"context"
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
// Numbers have nine significant digits, enough to get each float32 back. A row
// is in its file when the next event comes, so that the files can be followed
// and lose nothing when the program is killed. A file that exists already is
// an error, and so is a row that cannot be written.
type CSV struct {
	Dir string // "" is the working directory

	steps, metrics *table
}

var _ pipeline.Callback = (*CSV)(nil)

// Handle writes the event's row.
func (c *CSV) Handle(_ context.Context, event pipeline.Event) error {
	switch e := event.(type) {
	case pipeline.Begin:
		return c.open()
	case pipeline.Step:
		return c.steps.write(number(e.Number), number(e.Epoch), decimal(e.Loss), decimal(e.Accuracy),
			decimal(e.LearningRate), decimal(perSecond(float64(e.Examples), e.Duration.Seconds())))
	case pipeline.Epoch:
		testLoss, testAccuracy := "", ""
		if e.Test != nil {
			testLoss, testAccuracy = decimal(e.Test.Loss), decimal(e.Test.Accuracy)
		}
		return c.metrics.write(number(e.Number), number(e.Step), decimal(e.Train.Loss), decimal(e.Train.Accuracy),
			testLoss, testAccuracy, decimal(e.Duration.Seconds()))
	}
	return nil
}

// Close closes the files.
func (c *CSV) Close(error) error { return errors.Join(c.steps.close(), c.metrics.close()) }

func (c *CSV) open() error {
	if err := os.MkdirAll(cmp.Or(c.Dir, "."), 0o755); err != nil {
		return fmt.Errorf("make folder of metrics: %w", err)
	}
	var stepsErr, metricsErr error
	c.steps, stepsErr = newTable(filepath.Join(c.Dir, "steps.csv"),
		"step", "epoch", "loss", "accuracy", "learning_rate", "images_per_second")
	c.metrics, metricsErr = newTable(filepath.Join(c.Dir, "metrics.csv"),
		"epoch", "step", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
	return errors.Join(stepsErr, metricsErr)
}

// table is a file of rows. A nil table has none.
type table struct {
	file *os.File
	row  bytes.Buffer
}

func newTable(path string, names ...string) (*table, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create metrics: %w", err)
	}
	t := &table{file: file}
	return t, t.write(names...)
}

// write appends a row. There is no buffer that could be lost: a step takes
// milliseconds, a write microseconds.
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
	if _, err := t.file.Write(t.row.Bytes()); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

func (t *table) close() error {
	if t == nil {
		return nil
	}
	if err := t.file.Close(); err != nil {
		return fmt.Errorf("close metrics: %w", err)
	}
	return nil
}

func number(n int) string { return strconv.Itoa(n) }

func decimal(x float64) string { return strconv.FormatFloat(x, 'g', 9, 64) }
