package savedmodel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
	draft, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+".tmp-*")
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
	if err := copyGraph(m.info.Dir, draft); err != nil {
		return err
	}
	if err := m.writeVariables(ctx, filepath.Join(draft, "variables", "variables")); err != nil {
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
	saver := m.info.saver
	if saver.filename == "" || saver.save == "" {
		return fmt.Errorf("%s has no saver", m.info.Dir)
	}
	if err := os.MkdirAll(filepath.Dir(prefix), 0o755); err != nil {
		return err
	}
	_, err := m.session.Run(ctx, tfgo.Feeds{saver.filename: tensor.Text(prefix)}, []string{saver.save}, nil)
	return err
}

// copyGraph copies all of a SavedModel but its variables.
func copyGraph(from, to string) error {
	return copyTree(from, to, func(name string) bool { return name == "variables" })
}

// copyTree copies a folder, what links in it point at included, into one that
// is there. skip chooses what is left out at the top.
func copyTree(from, to string, skip func(name string) bool) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if skip(entry.Name()) {
			continue
		}
		source, target := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
		info, err := os.Stat(source)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			err = copyFile(source, target)
		} else if err = os.Mkdir(target, 0o755); err == nil {
			err = copyTree(source, target, func(string) bool { return false })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
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
