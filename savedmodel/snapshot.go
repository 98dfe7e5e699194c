package savedmodel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// snapshot is all of a SavedModel but its variables: each file by its path in
// the directory. It is taken when a model is opened, so that what is saved with
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
