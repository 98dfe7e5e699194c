package features

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// The files of an array: NumPy's format, and what it is.
const (
	arrayName = "features.npy"
	aboutName = "features.json"
)

// about is features.json. All but the hash decides what the features are, and
// under which name they are kept.
type about struct {
	Format   int    `json:"format"`   // 1
	Model    string `json:"model"`    // its fingerprint
	Data     string `json:"data"`     // the same
	Modified string `json:"modified"` // Source.Modified
	Setup    string `json:"setup"`    // Cache.Setup
	Batch    int    `json:"batch"`    // images that were computed at once
	Examples int    `json:"examples"`
	Features int    `json:"features"` // of an example
	SHA256   string `json:"sha256,omitempty"`
}

// key is a name for what there is only one of.
func (a about) key() string {
	a.SHA256 = ""
	text, err := json.Marshal(a)
	if err != nil {
		panic(err) // strings and numbers
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

func (a about) size() int64 { return int64(a.Examples) * int64(a.Features) * 4 }

// header begins a file of NumPy's format 1.0, of float32 [Examples,Features] row
// by row: numpy.load(…, mmap_mode="r") reads it. The values begin at a multiple of
// 64 bytes.
func (a about) header() []byte {
	text := fmt.Sprintf("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", a.Examples, a.Features)
	const magic = "\x93NUMPY\x01\x00"
	length := (len(magic)+2+len(text)+1+63)/64*64 - len(magic) - 2
	header := binary.LittleEndian.AppendUint16([]byte(magic), uint16(length))
	return append(header, fmt.Sprintf("%-*s\n", length-1, text)...)
}

// writer writes an array's values, row by row.
type writer struct {
	about about
	file  *os.File
	hash  hash.Hash
	out   io.Writer
}

func newWriter(folder string, a about) (*writer, error) {
	file, err := os.Create(filepath.Join(folder, arrayName))
	if err != nil {
		return nil, err
	}
	w := &writer{about: a, file: file, hash: sha256.New()}
	w.out = io.MultiWriter(file, w.hash)
	if _, err := w.out.Write(a.header()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return w, nil
}

// finish writes what the array is, if all went well so far.
func (w *writer) finish(err error) error {
	if err = errors.Join(err, w.file.Close()); err != nil {
		return err
	}
	w.about.SHA256 = hex.EncodeToString(w.hash.Sum(nil))
	text, err := json.MarshalIndent(w.about, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(w.file.Name()), aboutName), append(text, '\n'), 0o644)
}

// array is a file in memory, read when it is needed.
type array struct {
	file   []byte
	values []byte // the part behind the header
}

// errDamaged is in the chain of errors about files that are not what was written.
var errDamaged = errors.New("is damaged")

// openArray maps the array in a folder into memory, having checked that it is
// what is wanted and whole. Otherwise errDamaged is in the error's chain, or
// fs.ErrNotExist where there is none.
func openArray(folder string, want about) (*array, error) {
	text, err := readAbout(folder)
	if err != nil {
		return nil, err
	}
	var found about
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fmt.Errorf("%s %w: %w", filepath.Join(folder, aboutName), errDamaged, err)
	}
	want.SHA256 = found.SHA256
	if found != want {
		return nil, fmt.Errorf("%s %w: it is of other features", filepath.Join(folder, aboutName), errDamaged)
	}
	path := filepath.Join(folder, arrayName)
	if !isFile(path) {
		return nil, fmt.Errorf("%s %w: %s is gone, or not a file", folder, errDamaged, arrayName)
	}
	mapped, err := mapFile(path)
	if err != nil {
		return nil, err
	}
	a := &array{file: mapped}
	if err := a.check(want); err != nil {
		return nil, errors.Join(fmt.Errorf("%s %w: %w", path, errDamaged, err), a.Close())
	}
	a.values = a.file[len(want.header()):]
	return a, nil
}

// readAbout reads features.json. fs.ErrNotExist is in the error's chain where
// there is nothing under the folder's name.
func readAbout(folder string) ([]byte, error) {
	if _, err := os.Lstat(folder); err != nil {
		return nil, err
	}
	path := filepath.Join(folder, aboutName)
	if !isFile(path) { // to open a pipe would wait for a writer
		return nil, fmt.Errorf("%s %w: %s is gone, or not a file", folder, errDamaged, aboutName)
	}
	return os.ReadFile(path)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// rows copies the chosen rows of size bytes. A file that was cut short since it was
// mapped, and a disk that fails, are errors, not the end of the process.
func (a *array) rows(chosen []int, size int) (copied []byte, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			if _, ok := fault.(interface{ Addr() uintptr }); !ok {
				panic(fault)
			}
			err = fmt.Errorf("%s can no longer be read: %v", arrayName, fault)
		}
	}()
	copied = make([]byte, 0, len(chosen)*size)
	for _, row := range chosen {
		copied = append(copied, a.values[row*size:][:size]...)
	}
	return copied, nil
}

func (a *array) check(want about) error {
	header := want.header()
	if size := int64(len(header)) + want.size(); int64(len(a.file)) != size {
		return fmt.Errorf("it has %d bytes, expected %d", len(a.file), size)
	}
	if !bytes.HasPrefix(a.file, header) {
		return errors.New("it does not begin as it should")
	}
	if sum := sha256.Sum256(a.file); hex.EncodeToString(sum[:]) != want.SHA256 {
		return errors.New("its contents are not those that were written (SHA-256)")
	}
	return nil
}

func (a *array) Close() error { return unix.Munmap(a.file) }

func mapFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, fmt.Errorf("%s %w: it is empty", path, errDamaged)
	}
	mapped, err := unix.Mmap(int(file.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", path, err)
	}
	return mapped, nil
}
