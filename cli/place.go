package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/internal/disk"
)

// outPath reads --out. Shells complete folders with a slash at the end, which
// would make another path of it.
func outPath(c *cli.Context) string {
	out := c.String("out")
	if out == "" {
		return ""
	}
	return filepath.Clean(out)
}

// checkNew refuses an --out that exists or cannot be made.
func checkNew(out string) error {
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("%s exists; --out must be a new directory", out)
	}
	return checkParent(out)
}

// checkFile refuses an --out that is a folder or cannot be made.
func checkFile(out string) error {
	if info, err := os.Stat(out); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder; --out must be a file", out)
	}
	return checkParent(out)
}

func checkParent(path string) error {
	parent := nearest(path)
	info, err := os.Stat(parent)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s cannot be made: %s is a file, not a folder", path, parent)
	}
	if err == nil {
		err = unix.Access(parent, unix.W_OK)
	}
	if err != nil {
		return fmt.Errorf("%s cannot be made: %s: %w", path, parent, err)
	}
	return nil
}

// nearest returns the first of a path's parents that exists.
func nearest(path string) string {
	parent := filepath.Dir(filepath.Clean(path))
	for {
		if _, err := os.Lstat(parent); err == nil || parent == filepath.Dir(parent) {
			return parent
		}
		parent = filepath.Dir(parent)
	}
}

// writePicture writes a file whole or not at all, and makes its folder.
func writePicture(path string, draw func(*bytes.Buffer) error) error {
	var picture bytes.Buffer
	if err := draw(&picture); err != nil {
		return err
	}
	undoParents, err := disk.MakeParents(path)
	if err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	if err := renameio.WriteFile(path, picture.Bytes(), 0o644); err != nil {
		undoParents()
		return fmt.Errorf("write picture: %w", err)
	}
	return nil
}
