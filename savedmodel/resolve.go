package savedmodel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

const graphFile = "saved_model.pb"

// Resolve finds the SavedModel that dir stands for: dir itself, the highest of
// its numbered versions (as TensorFlow Serving counts them), or the same in its
// folder model, if dir is a run directory.
func Resolve(dir string) (string, error) {
	model, _, err := resolve(dir)
	return model, err
}

// ResolveVersions tells whether dir stands for a folder of numbered versions, as Resolve
// understands it, and which folder that is. Otherwise it is a model by itself.
func ResolveVersions(dir string) (folder string, numbered bool, err error) {
	_, folder, err = resolve(dir)
	return folder, folder != "", err
}

// resolve also returns the folder whose highest version the model is; "" if it is none.
func resolve(dir string) (model, folder string, err error) {
	if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("find model: there is no directory %q", dir)
	} else if err != nil {
		return "", "", fmt.Errorf("find model: %w", err)
	} else if !info.IsDir() {
		return "", "", fmt.Errorf("find model: %q is a file, not a directory", dir)
	}
	for _, candidate := range []string{dir, filepath.Join(dir, "model")} {
		if isModel(candidate) {
			return candidate, "", nil
		}
		if version, ok := highestVersion(candidate); ok {
			return version, candidate, nil
		}
	}
	return "", "", fmt.Errorf("find model: %q holds no %s, no numbered version and no run's model/1", dir, graphFile)
}

func isModel(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, graphFile))
	return err == nil
}

func highestVersion(dir string) (string, bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", false
	}
	highest, name := int64(-1), ""
	for _, entry := range entries {
		version, err := strconv.ParseInt(entry.Name(), 10, 64)
		if err == nil && version > highest && isModel(filepath.Join(dir, entry.Name())) {
			highest, name = version, entry.Name()
		}
	}
	return filepath.Join(dir, name), highest >= 0
}
