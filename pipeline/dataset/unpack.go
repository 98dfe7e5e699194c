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
)

// maxMember bounds one file of the archive; CIFAR-10's have 31 MB.
const maxMember = 64 << 20

// unpack writes the archive's known files to a folder beside dir, then gives it
// dir's name: dir is there whole or not at all.
func (a archive) unpack(ctx context.Context, file, dir string, progress func(Progress)) (err error) {
	leftovers, _ := filepath.Glob(dir + ".tmp*") // of processes that were killed
	for _, old := range leftovers {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), a.folder+".tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("unpack %q: %w", file, err), os.RemoveAll(temp))
		}
	}()
	if err := os.Chmod(temp, 0o755); err != nil { // MkdirTemp's is 0700, and caches are shared
		return err
	}
	report := newReporter(progress, Progress{Doing: "unpack " + a.name(), Unit: "files", Total: int64(len(a.files))})
	if err := a.extract(ctx, file, temp, report); err != nil {
		return err
	}
	if !a.unpacked(temp) {
		return fmt.Errorf("it lacks some of the files %q", a.files)
	}
	if err := os.RemoveAll(dir); err != nil { // an older one that was incomplete
		return err
	}
	return os.Rename(temp, dir)
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
		if err := writeSynced(filepath.Join(dir, name), members); err != nil {
			return err
		}
		report.add(1)
	}
}

// writeSynced returns when the bytes are on the disk: without, a crash could
// leave a folder of empty files that looks whole.
func writeSynced(path string, r io.Reader) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	return f.Sync()
}
