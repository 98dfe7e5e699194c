package cli

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/residual-go/residual/internal/disk"
	"github.com/residual-go/residual/pipeline/dataset"
)

func unpack(c *cli.Context) (err error) {
	out := outPath(c)
	if out == "" {
		return usagef(c, "--out is missing: it is the folder to make")
	}
	if err := checkNew(out); err != nil {
		return fmt.Errorf("unpack data: %w", err)
	}
	data, err := openOwn(c)
	if err != nil {
		return err
	}
	if err := checkFolderNames(data.Train.Classes()); err != nil {
		return err
	}
	undoParents, err := disk.MakeParents(out)
	if err != nil {
		return fmt.Errorf("unpack data: %w", err)
	}
	defer func() {
		if err != nil {
			undoParents()
		}
	}()
	draft, err := os.MkdirTemp(filepath.Dir(out), ".residual-*")
	if err != nil {
		return fmt.Errorf("unpack data: %w", err)
	}
	defer os.RemoveAll(draft) // gone already, if all went well
	for _, s := range splitsOf(data) {
		if err := writeImages(c, filepath.Join(draft, s.name), s); err != nil {
			return fmt.Errorf("unpack data: %w", err)
		}
	}
	if err := os.Chmod(draft, 0o755); err != nil { // MkdirTemp keeps others out
		return fmt.Errorf("unpack data: %w", err)
	}
	if err := os.Rename(draft, out); err != nil {
		return fmt.Errorf("unpack data: %w", err)
	}
	counts := countsOf(data)
	if c.Bool(jsonFlag.Name) {
		return printJSON(c, map[string]any{"path": out, "examples": counts})
	}
	return printLine(c, "%s training and %s test images are in %s", formatCount(counts["train"]), formatCount(counts["test"]), out)
}

// checkFolderNames refuses classes whose names would lead elsewhere as folders.
func checkFolderNames(classes []string) error {
	for _, class := range classes {
		if filepath.Base(class) != class || strings.HasPrefix(class, ".") || !filepath.IsLocal(class) {
			return fmt.Errorf("unpack data: the class %q cannot be the name of a folder", class)
		}
	}
	return nil
}

// writeImages writes a split as CLASS/0001.png, counting in each class.
func writeImages(c *cli.Context, dir string, s split) error {
	meter := newMeter(c)
	defer meter.Close()
	examples := s.examples
	written := map[string]int{}
	for i := range examples.Len() {
		meter.show(dataset.Progress{Doing: "write " + s.name + " images", Unit: "images", Done: int64(i), Total: int64(examples.Len())})
		if err := c.Context.Err(); err != nil {
			return err
		}
		img, err := imageOf(examples, i)
		if err != nil {
			return err
		}
		var file bytes.Buffer
		if err := png.Encode(&file, img); err != nil {
			return err
		}
		class := examples.Classes()[examples.Label(i)]
		written[class]++
		path := filepath.Join(dir, class, fmt.Sprintf("%04d.png", written[class]))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
