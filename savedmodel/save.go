package savedmodel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/residual-go/residual/internal/disk"
	"github.com/residual-go/residual/savedmodel/bundle"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Save writes the model with its variables as they are now to dir, a new
// directory, as a SavedModel that TensorFlow Serving, tf.saved_model.load,
// keras.layers.TFSMLayer and Open load. The
// directory appears whole or not at all; its parents are made.
func (m *Model) Save(ctx context.Context, dir string) error {
	err := disk.Create(dir, func(draft string) error {
		if err := m.info.files.write(draft); err != nil {
			return err
		}
		return m.SaveVariables(ctx, filepath.Join(draft, "variables", "variables"))
	})
	if err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	return nil
}

// WriteGraph writes all files of a SavedModel but its variables into dir, which
// is made if needed. With what SaveVariables wrote as variables/variables it is
// a SavedModel.
func (i *Info) WriteGraph(dir string) error {
	if err := i.files.write(dir); err != nil {
		return fmt.Errorf("write graph: %w", err)
	}
	return nil
}

// SaveVariables writes the variables as they are now, all that the model keeps
// between calls, by the model's own saver: every SavedModel of TensorFlow 2 has
// one. The files' names begin with prefix; their folder is made if needed.
// Python reads them with tf.train.load_checkpoint(prefix). They are read back
// by their index, not brought to the disk.
func (m *Model) SaveVariables(ctx context.Context, prefix string) error {
	if err := m.CheckSave(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(prefix), 0o755); err != nil {
		return fmt.Errorf("save variables: %w", err)
	}
	saver := m.info.saver
	if _, err := m.session.Run(ctx, tfgo.Feeds{saver.filename: tensor.Text(prefix)}, []string{saver.save}, nil); err != nil {
		return fmt.Errorf("save variables: %w", err)
	}
	if _, err := bundle.Read(prefix); err != nil {
		return fmt.Errorf("save variables: %w", err)
	}
	return nil
}

// RestoreVariables gives the variables the values that SaveVariables wrote. All
// of them are read, or the model must not be used any more.
func (m *Model) RestoreVariables(ctx context.Context, prefix string) error {
	if _, err := bundle.Read(prefix); err != nil {
		return fmt.Errorf("restore variables: %w", err)
	}
	folder, done, err := alias(filepath.Dir(prefix))
	if err != nil {
		return fmt.Errorf("restore variables: %w", err)
	}
	defer done()
	if err := m.thaw(); err != nil {
		return fmt.Errorf("restore variables: %w", err)
	}
	saver, name := m.info.saver, tensor.Text(filepath.Join(folder, filepath.Base(prefix)))
	if _, err := m.session.Run(ctx, tfgo.Feeds{saver.filename: name}, nil, []string{saver.restore}); err != nil {
		return fmt.Errorf("restore variables: %w", err)
	}
	return nil
}

// CheckSave says whether the model can be saved, before anybody trains it.
func (m *Model) CheckSave() error {
	for _, name := range []string{m.info.saver.filename, m.info.saver.save} {
		if !m.session.Has(name) {
			return fmt.Errorf("%s has no saver (saver_def names the tensor %q)", m.info.Dir, name)
		}
	}
	return nil
}
