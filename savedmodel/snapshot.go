package savedmodel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// snapshot is all of a SavedModel but its variables: each file by its path in
// the directory. It is taken when a model is inspected, so that what is saved with
// the weights is the graph that trained them, whatever becomes of the directory
// in the hours between.
type snapshot map[string][]byte

const (
	mostFiles = 1 << 30 // bytes of a snapshot; graphs have some megabytes
	mostDepth = 16      // of folders: links may go round in a circle
)

func readSnapshot(dir string) (snapshot, error) {
	s := snapshot{}
	if err := s.add(dir, "", 0); err != nil {
		return nil, fmt.Errorf("read model: %w", err)
	}
	return s, nil
}

// add reads the folder at path in dir, following links.
func (s snapshot) add(dir, path string, depth int) error {
	if depth > mostDepth {
		return fmt.Errorf("%s: the folders go too deep, or round in a circle", filepath.Join(dir, path))
	}
	entries, err := os.ReadDir(filepath.Join(dir, path))
	if err != nil {
		return err
	}
	for _, entry := range entries {
		name := filepath.Join(path, entry.Name())
		if name == "variables" {
			continue
		}
		info, err := os.Stat(filepath.Join(dir, name))
		switch {
		case err != nil:
		case info.IsDir():
			err = s.add(dir, name, depth+1)
		case !info.Mode().IsRegular():
			err = fmt.Errorf("%s is not a regular file", filepath.Join(dir, name))
		case s.size()+info.Size() > mostFiles:
			err = errors.New("its files, without the variables, are larger than 1 GiB")
		default:
			s[name], err = os.ReadFile(filepath.Join(dir, name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s snapshot) size() int64 {
	var size int64
	for _, data := range s {
		size += int64(len(data))
	}
	return size
}

// fingerprint is Info.Fingerprint of the model in dir.
func (s snapshot) fingerprint(dir string) (string, error) {
	const index = "variables/variables.index"
	variables, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(index)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read model: %w", err)
	}
	hash := sha256.New()
	add := func(name string, data []byte) { fmt.Fprintf(hash, "%q %d\n%s", name, len(data), data) }
	for _, name := range slices.Sorted(maps.Keys(s)) {
		add(filepath.ToSlash(name), s[name])
	}
	add(index, variables)
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// write writes the files into a folder that is there.
func (s snapshot) write(dir string) error {
	for name, data := range s {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
