package savedmodel_test

import (
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel/modeltest"
)

// TestMain makes the directory that the examples run in.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "savedmodel-test-")
	if err == nil {
		err = furnish(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// furnish puts models/resnet50 and ship.png into dir and goes there.
func furnish(dir string) error {
	small, err := modeltest.Find(modeltest.Small)
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(dir, "models"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(small, filepath.Join(dir, "models", "resnet50")); err != nil {
		return err
	}
	if err := drawShip(filepath.Join(dir, "ship.png")); err != nil {
		return err
	}
	return os.Chdir(dir)
}

func drawShip(path string) error {
	classes, err := dataset.Classes(dataset.Synthetic)
	if err != nil {
		return err
	}
	shape := imagefile.Shape{Height: 32, Width: 32, Channels: 3}
	data, err := dataset.Open(context.Background(), dataset.Synthetic, dataset.Options{Classes: classes, Shape: shape, Limit: 10})
	if err != nil {
		return err
	}
	for i := range data.Test.Len() {
		if classes[data.Test.Label(i)] != "ship" {
			continue
		}
		pixels := make([]byte, shape.Size())
		if err := data.Test.Read(i, pixels); err != nil {
			return err
		}
		img, err := imagefile.ToImage(pixels, shape)
		if err != nil {
			return err
		}
		file, err := os.Create(path)
		if err != nil {
			return err
		}
		defer file.Close()
		return png.Encode(file, img)
	}
	return fmt.Errorf("there is no ship among the drawn images")
}
