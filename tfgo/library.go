package tfgo

// #cgo CFLAGS: -Wall -Werror
// #cgo LDFLAGS: -L${SRCDIR}/stub -ldl
// #include <stdlib.h>
// #include "library.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	tf "github.com/wamuir/graft/tensorflow"
	"golang.org/x/sys/cpu"
)

// LibraryVariable is the environment variable that names TensorFlow's C
// library: the file, or the folder that holds it.
const LibraryVariable = "RESIDUAL_TENSORFLOW"

// ErrNoLibrary is in the chain of errors about a C library that was not found
// or cannot be used.
var ErrNoLibrary = errors.New("TensorFlow's C library cannot be used")

// Library is TensorFlow's C library as it was loaded.
type Library struct {
	Path    string // of the file
	Version string // such as 2.21.0
}

// The file names of TensorFlow's C API: in the Python wheel, and in the C
// library's own archive.
var libraryNames = []string{"libtensorflow_cc.so.2", "libtensorflow.so.2", "libtensorflow.so"}

// Load loads TensorFlow's C library, once a process. It looks at
// RESIDUAL_TENSORFLOW, beside the program (../lib/residual/tensorflow, where it is
// installed, and ../lib), in the checkout's .venv (../.venv), then on the loader's path. Everything in this package that needs
// the library calls it.
func Load() (Library, error) { return load() }

var load = sync.OnceValues(func() (Library, error) {
	if !cpu.X86.HasAVX { // TensorFlow would end the process
		return Library{}, fmt.Errorf("%w: this processor has no AVX, which TensorFlow needs", ErrNoLibrary)
	}
	paths, err := candidates()
	if err != nil {
		return Library{}, err
	}
	preferOneDNN()
	var failures []error
	for _, path := range paths {
		err := quietly(func() error { return startingThreads(func() error { return loadFile(path) }) })
		if err == nil {
			return loaded()
		}
		failures = append(failures, err)
	}
	return Library{}, choose(paths, failures)
})

// loaded describes the library that has been loaded.
func loaded() (Library, error) {
	file := C.tfgo_path()
	defer C.free(unsafe.Pointer(file))
	library := Library{Path: C.GoString(file), Version: tf.Version()}
	return library, checkVersion(library)
}

// choose returns the error that helps most: of a library that was there but
// could not be loaded, else that there is none.
func choose(paths []string, failures []error) error {
	for i, err := range failures {
		// The loader uses the same words for a library that the file needs.
		missing := paths[i] + ": cannot open shared object file: No such file"
		if !strings.Contains(err.Error(), missing) || len(failures) == 1 {
			return err
		}
	}
	return fmt.Errorf("%w: it is not in %s and not on the loader's path; run `make build` in a checkout, "+
		"or `pip install tensorflow-cpu` and set %s to its folder site-packages/tensorflow",
		ErrNoLibrary, strings.Join(besideProgram(), ", "), LibraryVariable)
}

func loadFile(path string) error {
	cPath := C.CString(path)
	defer C.free(unsafe.Pointer(cPath))
	why := C.tfgo_load(cPath)
	if why == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(why))
	return fmt.Errorf("%w: load %s: %s", ErrNoLibrary, path, C.GoString(why))
}

// candidates returns the library's file where it is known, else the names to
// look up on the loader's path.
func candidates() ([]string, error) {
	if named := os.Getenv(LibraryVariable); named != "" {
		if path, ok := libraryAt(named); ok {
			return []string{path}, nil
		}
		return nil, fmt.Errorf("%w: %s is %q, where there is no %s", ErrNoLibrary, LibraryVariable, named, libraryNames[0])
	}
	for _, folder := range besideProgram() {
		if path, ok := libraryAt(folder); ok {
			return []string{path}, nil
		}
	}
	return libraryNames, nil
}

// besideProgram lists the folders that belong to the running program.
func besideProgram() []string {
	program, err := os.Executable()
	if err != nil {
		return nil
	}
	if real, err := filepath.EvalSymlinks(program); err == nil {
		program = real
	}
	root := filepath.Dir(filepath.Dir(program))
	return []string{filepath.Join(root, "lib", "residual"), filepath.Join(root, "lib"), filepath.Join(root, ".venv")}
}

// libraryAt finds the library at path: the file itself, or in a folder that
// holds it, or in a Python environment with TensorFlow's wheel.
func libraryAt(path string) (string, bool) {
	if info, err := os.Stat(path); err != nil {
		return "", false
	} else if !info.IsDir() {
		return path, true
	}
	folders := []string{path, filepath.Join(path, "tensorflow")}
	pythons, _ := os.ReadDir(filepath.Join(path, "lib"))
	for _, python := range pythons {
		folders = append(folders, filepath.Join(path, "lib", python.Name(), "site-packages", "tensorflow"))
	}
	for _, folder := range folders {
		for _, name := range libraryNames {
			file := filepath.Join(folder, name)
			if _, err := os.Stat(file); err == nil {
				return file, true
			}
		}
	}
	return "", false
}

// graft v0.10.0 was made for 2.18.
const oldestMajor, oldestMinor = 2, 18

func checkVersion(l Library) error {
	var major, minor int
	if _, err := fmt.Sscanf(l.Version, "%d.%d", &major, &minor); err != nil {
		return fmt.Errorf("%w: %s calls itself version %q", ErrNoLibrary, l.Path, l.Version)
	}
	if major != oldestMajor || minor < oldestMinor {
		return fmt.Errorf("%w: %s is version %s, this program needs %d.%d or a newer %[4]d.x",
			ErrNoLibrary, l.Path, l.Version, oldestMajor, oldestMinor)
	}
	return nil
}
