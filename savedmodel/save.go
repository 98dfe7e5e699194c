package savedmodel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/residual-go/residual/savedmodel/bundle"
	"github.com/residual-go/residual/tfgo"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Save writes the model with its variables as they are now to dir, a new
// directory, as a SavedModel that TensorFlow Serving, tf.saved_model.load,
// keras.layers.TFSMLayer and Open load. The
// directory appears whole or not at all; its parents are made.
func (m *Model) Save(ctx context.Context, dir string) (err error) {
	dir = filepath.Clean(dir)
	if _, err := os.Lstat(dir); err == nil {
		return fmt.Errorf("save model: %s: %w", dir, fs.ErrExist)
	}
	parent := filepath.Dir(dir)
	_, statErr := os.Stat(parent)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	draft, err := os.MkdirTemp(parent, ".residual-*")
	if err != nil {
		return fmt.Errorf("save model: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("save model: %w", err), os.RemoveAll(draft))
			if statErr != nil {
				os.Remove(parent)
			}
		}
	}()
	if err := m.graph.write(draft); err != nil {
		return err
	}
	prefix := filepath.Join(draft, "variables", "variables")
	if err := m.writeVariables(ctx, prefix); err != nil {
		return err
	}
	if _, err := bundle.Read(prefix); err != nil {
		return err
	}
	if err := os.Chmod(draft, 0o755); err != nil { // MkdirTemp keeps others out
		return err
	}
	if err := syncTree(draft); err != nil {
		return err
	}
	if err := os.Rename(draft, dir); err != nil {
		return err
	}
	return syncPath(parent)
}

// writeVariables runs the model's own saver: every SavedModel of TensorFlow 2
// has one.
func (m *Model) writeVariables(ctx context.Context, prefix string) error {
	if err := m.CheckSave(); err != nil {
		return err
	}
	saver := m.info.saver
	if err := os.MkdirAll(filepath.Dir(prefix), 0o755); err != nil {
		return err
	}
	_, err := m.session.Run(ctx, tfgo.Feeds{saver.filename: tensor.Text(prefix)}, []string{saver.save}, nil)
	return err
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

// syncTree brings all files and directories under dir to the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(file.Sync(), file.Close())
}
