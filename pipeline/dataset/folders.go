package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// classFolders is a folder with train/<class>/*.jpg and test/<class>/*.jpg.
type classFolders string

func (root classFolders) missing() string {
	return fmt.Sprintf("%q has no folder \"test\"", string(root))
}

func (root classFolders) list(ctx context.Context, split string, o Options) (*listing, error) {
	dir := filepath.Join(string(root), split)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && split == "test":
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%q has no folder %q: expected train/<class>/*.jpg or *.png and, for test figures, "+
			"test/<class>/…, or CIFAR-10's binary files such as data_batch_1.bin", string(root), split)
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, fmt.Errorf("%q is a file, expected a folder of class folders", dir)
	}
	return listClasses(ctx, dir, o.Classes)
}

// listClasses lists a split: each folder in it is one class of the model.
func listClasses(ctx context.Context, dir string, model []string) (*listing, error) {
	all := &listing{where: fmt.Sprintf("%q", dir)}
	folders, files, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	if len(folders) == 0 {
		return nil, fmt.Errorf("%q has no images: expected a folder for each class %s", dir, quote(model))
	}
	if err := sameClasses(fmt.Sprintf("%q", dir), folders, model); err != nil {
		return nil, err
	}
	all.ignore(dir, files)
	for _, class := range folders {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := all.addClass(filepath.Join(dir, class), slices.Index(model, class)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// addClass lists one class folder.
func (l *listing) addClass(dir string, label int) error {
	folders, files, err := readFolder(dir)
	if err != nil {
		return err
	}
	if len(folders) > 0 {
		return fmt.Errorf("%q is a folder: images stand directly in the folder of their class", filepath.Join(dir, folders[0]))
	}
	var others []string
	for _, name := range files {
		path := filepath.Join(dir, name)
		switch ext := strings.ToLower(filepath.Ext(name)); {
		case ext == ".jpg" || ext == ".jpeg" || ext == ".png":
			l.examples = append(l.examples, example{name: path, label: label, image: imageFile(path)})
		case slices.Contains(foreignImages, ext):
			return fmt.Errorf("%q is a %s image: only JPEG and PNG are read", path, ext[1:])
		default:
			others = append(others, name)
		}
	}
	l.ignore(dir, others)
	return nil
}

// foreignImages would silently be missing from training if they were ignored
// as a notes.txt is.
var foreignImages = []string{".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".jfif", ".ppm"}

func (l *listing) ignore(dir string, names []string) {
	for _, name := range names {
		l.ignored = append(l.ignored, filepath.Join(dir, name))
	}
}

// readFolder returns the names of folders and of files, sorted, following
// links and leaving out hidden ones.
func readFolder(dir string) (folders, files []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		mode := entry.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(filepath.Join(dir, entry.Name()))
			if err != nil {
				return nil, nil, err
			}
			mode = info.Mode()
		}
		if mode.IsDir() {
			folders = append(folders, entry.Name())
		} else {
			files = append(files, entry.Name())
		}
	}
	return folders, files, nil
}

// sameClasses returns an error that shows both lists unless they hold the same
// names.
func sameClasses(where string, found, model []string) error {
	missing := without(model, found)
	unexpected := without(found, model)
	switch {
	case len(missing) == 0 && len(unexpected) == 0:
		return nil
	case len(unexpected) == 0:
		return fmt.Errorf("%s lacks the model's classes %s: it has %s, the model has %s",
			where, quote(missing), quote(found), quote(model))
	case len(missing) == 0:
		return fmt.Errorf("%s has classes %s, which the model has not: the model has %s", where, quote(unexpected), quote(model))
	default:
		return fmt.Errorf("%s has classes %s, which the model has not, and lacks %s: it has %s, the model has %s",
			where, quote(unexpected), quote(missing), quote(found), quote(model))
	}
}

// quote writes a list of names for an error: as Go's %q, but of a long list only
// the beginning.
func quote(names []string) string {
	const most = 20
	if len(names) <= most {
		return fmt.Sprintf("%q", names)
	}
	return fmt.Sprintf("%q and %d more", names[:most], len(names)-most)
}

// without returns the names that others does not have.
func without(names, others []string) []string {
	known := make(map[string]bool, len(others))
	for _, other := range others {
		known[other] = true
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return known[name] })
}

// imageFile is the path of a JPEG or PNG file.
type imageFile string

func (path imageFile) check() error {
	_, err := imagefile.ReadSize(string(path))
	return err
}

// identity is the file's place below the dataset's folder and its size: a copy
// of the data elsewhere is the same data.
func (path imageFile) identity() string {
	size := int64(-1)
	if info, err := os.Stat(string(path)); err == nil {
		size = info.Size()
	}
	class, file := filepath.Split(string(path))
	return fmt.Sprintf("%q %q %d", filepath.Base(class), file, size)
}

func (path imageFile) read(shape imagefile.Shape, pixels []byte) error {
	img, err := imagefile.Read(string(path))
	if err != nil {
		return err
	}
	return imagefile.Fit(img, shape, pixels)
}
