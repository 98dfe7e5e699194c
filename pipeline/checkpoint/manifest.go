package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	manifestName = "MANIFEST"
	manifestHead = "residual checkpoint 1"
	// mostManifest is far more than a manifest's few lines take.
	mostManifest = 1 << 20
)

// sum is what a manifest says of a file.
type sum struct {
	hash string // SHA-256, hexadecimal
	size int64
}

// writeManifest describes all files of a directory.
func writeManifest(dir string) error {
	names, err := filesOf(dir)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	fmt.Fprintln(&text, manifestHead)
	for _, name := range names {
		s, err := sumOf(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%s %d %s\n", s.hash, s.size, name)
	}
	return os.WriteFile(filepath.Join(dir, manifestName), text.Bytes(), 0o644)
}

// filesOf lists the files of a directory but for the manifest, sorted, with
// slashes. What is neither a file nor a folder is an error.
func filesOf(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if !entry.Type().IsRegular() {
			return fmt.Errorf("%s is not a regular file", path)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if name == manifestName {
			return nil
		}
		if strings.ContainsAny(name, "\n") {
			return fmt.Errorf("%q has a name of two lines", path)
		}
		names = append(names, filepath.ToSlash(name))
		return nil
	})
	return names, err
}

func sumOf(path string) (sum, error) {
	file, err := os.Open(path)
	if err != nil {
		return sum{}, err
	}
	defer file.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, file)
	if err != nil {
		return sum{}, err
	}
	return sum{hex.EncodeToString(hash.Sum(nil)), size}, nil
}

// DamagedError says what is wrong with a checkpoint.
type DamagedError struct {
	Checkpoint Checkpoint
	File       string // of it; "" where it is not about one
	Reason     string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %s", filepath.Join(e.Checkpoint.Path, filepath.FromSlash(e.File)), e.Reason)
}

// Check holds the names and sizes of a checkpoint's files against its manifest.
// It is fast; a flipped bit is for Verify. Errors are a *DamagedError where the
// checkpoint is to blame.
func (c Checkpoint) Check() error {
	_, err := c.check()
	return err
}

// Verify is Check, and holds each file's bytes against their SHA-256.
func (c Checkpoint) Verify() error {
	sums, err := c.check()
	if err != nil {
		return err
	}
	for name, want := range sums {
		got, err := sumOf(filepath.Join(c.Path, filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("verify checkpoint: %w", err)
		}
		if got != want {
			return &DamagedError{c, name, "its contents are not those that were saved (SHA-256)"}
		}
	}
	return nil
}

func (c Checkpoint) check() (map[string]sum, error) {
	sums, err := c.readManifest()
	if err != nil {
		return nil, err
	}
	names, err := filesOf(c.Path)
	if err != nil {
		return nil, fmt.Errorf("check checkpoint: %w", err)
	}
	found := map[string]bool{}
	for _, name := range names {
		found[name] = true
		want, ok := sums[name]
		if !ok {
			return nil, &DamagedError{c, name, "its MANIFEST does not name this file"}
		}
		info, err := os.Stat(filepath.Join(c.Path, filepath.FromSlash(name)))
		if err != nil {
			return nil, fmt.Errorf("check checkpoint: %w", err)
		}
		if info.Size() != want.size {
			return nil, &DamagedError{c, name, fmt.Sprintf("it has %d bytes, %d were saved", info.Size(), want.size)}
		}
	}
	for name := range sums {
		if !found[name] {
			return nil, &DamagedError{c, name, "the file is missing"}
		}
	}
	return sums, nil
}

func (c Checkpoint) readManifest() (map[string]sum, error) {
	path := filepath.Join(c.Path, manifestName)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &DamagedError{c, manifestName, "the file is missing"}
	case err != nil:
		return nil, fmt.Errorf("read manifest: %w", err)
	case !info.Mode().IsRegular() || info.Size() > mostManifest:
		return nil, &DamagedError{c, manifestName, "it is not a manifest"}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	sums, err := parseManifest(string(data))
	if err != nil {
		return nil, &DamagedError{c, manifestName, err.Error()}
	}
	return sums, nil
}

func parseManifest(text string) (map[string]sum, error) {
	body, ok := strings.CutPrefix(text, manifestHead+"\n")
	if !ok {
		return nil, fmt.Errorf("it does not begin with %q", manifestHead)
	}
	sums := map[string]sum{}
	for line := range strings.Lines(body) {
		line, whole := strings.CutSuffix(line, "\n")
		fields := strings.SplitN(line, " ", 3)
		if !whole || len(fields) != 3 || fields[2] == "" {
			return nil, fmt.Errorf("it was cut, or %.80q is no line of it", line)
		}
		size, err := strconv.ParseInt(fields[1], 10, 64)
		if hash, hexErr := hex.DecodeString(fields[0]); err != nil || size < 0 || hexErr != nil || len(hash) != sha256.Size {
			return nil, fmt.Errorf("%.80q is no line of it", line)
		}
		if _, twice := sums[fields[2]]; twice {
			return nil, fmt.Errorf("it names %q twice", fields[2])
		}
		sums[fields[2]] = sum{fields[0], size}
	}
	return sums, nil
}
