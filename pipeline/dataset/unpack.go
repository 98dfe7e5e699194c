package dataset

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/residual-go/residual/internal/disk"
)

// maxMember bounds one file of the archive; CIFAR-10's have 31 MB.
const maxMember = 64 << 20

// unpack writes the archive's known files to dir, which is there whole or not at
// all, in place of an older one that was incomplete.
func (a archive) unpack(ctx context.Context, file, dir string, progress func(Progress)) error {
	err := disk.Replace(dir, func(draft string) error {
		report := newReporter(progress, Progress{Doing: "unpack " + a.name(), Unit: "files", Total: int64(len(a.files))})
		if err := a.extract(ctx, file, draft, report); err != nil {
			return err
		}
		if !a.unpacked(draft) {
			return fmt.Errorf("it lacks some of the files %q", a.files)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("unpack %q: %w", file, err)
	}
	return nil
}

func (a archive) extract(ctx context.Context, file, dir string, report *reporter) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	members := tar.NewReader(unzipped)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		member, err := members.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		// Nothing but the known names is written, so no name can lead elsewhere.
		folder, name := path.Split(path.Clean(member.Name))
		if path.Clean(folder) != a.folder || !slices.Contains(a.files, name) || member.Typeflag != tar.TypeReg {
			continue
		}
		if member.Size > maxMember {
			return fmt.Errorf("%q has %d bytes, more than %d", member.Name, member.Size, maxMember)
		}
		if err := writeAll(filepath.Join(dir, name), members); err != nil {
			return err
		}
		report.add(1)
	}
}

func writeAll(path string, r io.Reader) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, r)
	return err
}
