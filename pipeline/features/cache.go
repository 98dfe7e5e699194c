package features

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/residual-go/residual/internal/disk"
	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Cache keeps features on the disk, a folder for each model and split. The zero
// value is fine.
type Cache struct {
	// Dir is where; by default the folder DefaultDir.
	Dir string
	// Setup is what else features depend on in their last bits, such as the number
	// of threads. Those of another setup are not taken.
	Setup string
	// Progress, if set, hears how many of the examples are computed.
	Progress func(done, total int)
	// Warn, if set, hears of features that are damaged and computed again.
	Warn func(error)
}

// Model computes features.
type Model interface {
	pipeline.Model
	// Fingerprint tells the model from any other.
	Fingerprint() string
}

const (
	format = 1
	// computeBatch is how many images are computed at once. The last bits of
	// features depend on it.
	computeBatch = 32
)

// DefaultDir is the folder "residual/features" in the user's cache.
func DefaultDir() (string, error) {
	user, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the user's cache: %w", err)
	}
	return filepath.Join(user, "residual", "features"), nil
}

// Open returns the features of all of data. What is not in the cache is computed,
// and is there whole or not at all. Several processes may do so at once.
func (c Cache) Open(ctx context.Context, model Model, data Source) (*Rows, error) {
	rows, err := c.open(ctx, model, data)
	if err != nil {
		return nil, fmt.Errorf("open features: %w", err)
	}
	return rows, nil
}

func (c Cache) open(ctx context.Context, model Model, data Source) (_ *Rows, err error) {
	want, err := c.describe(model, data)
	if err != nil {
		return nil, err
	}
	if c.Dir == "" {
		if c.Dir, err = DefaultDir(); err != nil {
			return nil, err
		}
	}
	folder := filepath.Join(c.Dir, want.key())
	rows := &Rows{Path: filepath.Join(folder, arrayName), source: data, width: want.Features}
	rows.array, err = openArray(folder, want)
	switch {
	case err == nil:
		return rows, nil
	case errors.Is(err, errDamaged) && c.Warn != nil:
		c.Warn(fmt.Errorf("%w; the features are computed again", err))
	case !errors.Is(err, errDamaged) && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := c.makeRoom(want); err != nil {
		return nil, err
	}
	err = disk.Replace(folder, func(draft string) error {
		w, err := newWriter(draft, want)
		if err != nil {
			return err
		}
		return w.finish(c.compute(ctx, w, model, data))
	})
	if err != nil {
		return nil, err
	}
	rows.Computed = true
	rows.array, err = openArray(folder, want)
	return rows, err
}

// describe says what is wanted.
func (c Cache) describe(model Model, data Source) (about, error) {
	s, ok := model.Signature(ComputeSignature)
	if !ok {
		return about{}, fmt.Errorf("find signature %q: %w", ComputeSignature, pipeline.ErrNoSignature)
	}
	output, ok := tensor.Find(s.Outputs, featuresName)
	if !ok || output.DType != tensor.Float32 || len(output.Shape) != 2 || output.Shape[1] < 1 {
		return about{}, fmt.Errorf("check signature %q: it must give %q as float32 [N,features], it gives %v", ComputeSignature, featuresName, s.Outputs)
	}
	if data.Len() == 0 {
		return about{}, errors.New("there are no examples")
	}
	a := about{
		Format: format, Model: model.Fingerprint(), Data: data.Fingerprint(), Modified: data.Modified(), Setup: c.Setup,
		Batch: computeBatch, Examples: data.Len(), Features: output.Shape[1],
	}
	if a.Model == "" || a.Data == "" {
		return about{}, errors.New("the model or the data has no fingerprint to keep them under")
	}
	return a, nil
}

// makeRoom makes the cache's folder, and refuses a disk without room.
func (c Cache) makeRoom(want about) error {
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return err
	}
	if err := disk.Sweep(c.Dir); err != nil {
		return err
	}
	free, err := disk.Free(c.Dir)
	if err != nil {
		return err
	}
	const other = 1 << 20
	if need := want.size() + other; free < need {
		return fmt.Errorf("no disk space: %s has %d MB free, the features of %d images need %d MB", c.Dir, free>>20, want.Examples, need>>20)
	}
	return nil
}

// compute writes the features of all examples in the data's own order.
func (c Cache) compute(ctx context.Context, w *writer, model Model, data Source) error {
	done := 0
	for batch, err := range data.Batches(ctx, dataset.BatchOptions{Size: computeBatch, NoShuffle: true}) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		outputs, err := model.Call(ctx, ComputeSignature, map[string]tensor.Tensor{ImagesInput: batch.Images})
		if err != nil {
			return err
		}
		rows := outputs[featuresName]
		if want := []int{batch.Len(), w.about.Features}; rows.DType() != tensor.Float32 || !slices.Equal(rows.Shape(), want) {
			return fmt.Errorf("read output %q: it is %s %v, expected float32 %v", featuresName, rows.DType(), rows.Shape(), want)
		}
		if _, err := w.out.Write(rows.Bytes()); err != nil {
			return err
		}
		if done += batch.Len(); c.Progress != nil {
			c.Progress(done, w.about.Examples)
		}
	}
	if done != w.about.Examples {
		return fmt.Errorf("the data ended after %d of %d examples", done, w.about.Examples)
	}
	return nil
}
