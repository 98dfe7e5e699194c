package serving

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Folder is where the versions of a model come from: DIR/1, DIR/2, …, as for
// TensorFlow Serving. Fields must not be changed once it is used, and it must not be
// looked at by two goroutines at once.
type Folder struct {
	// Name is what the model is called.
	Name string
	// Dir is the folder of versions.
	Dir string
	// Open opens the model in a version's directory. Name and Number of what it
	// returns are not looked at.
	Open func(dir string) (Version, error)
	// Keep is how many versions are served, the newest ones; 0 means one.
	Keep int
	// Labels are names of versions. These are served, however old they are.
	Labels map[string]int64
	// Every is how often Follow looks; 0 means each two seconds.
	Every time.Duration

	looked bool             // once at least
	seen   map[int64]onDisk // versions when they were looked at last
	failed map[int64]onDisk // versions that could not be loaded
}

// Sync looks at a folder once: it loads what is new, and unloads what is not to be
// served any more, when what takes its place has been loaded. A version that
// cannot be loaded is passed over, until its files change. The error is of those,
// or that there is none to serve.
//
// At the first look versions are loaded as they are; later ones when their files
// have not changed between two looks: they may be on their way.
func (s *Server) Sync(ctx context.Context, f *Folder) error {
	there, err := f.look()
	if err != nil {
		return fmt.Errorf("look for versions of %s: %w", f.Name, err)
	}
	keep := cmp.Or(f.Keep, 1)
	wanted := map[int64]bool{}
	var errs []error
	want := func(number int64) {
		loaded, err := s.ensure(ctx, f, number, there[number])
		if errs = append(errs, err); loaded {
			wanted[number] = true
		}
	}
	numbers := slices.Sorted(maps.Keys(there))
	slices.Reverse(numbers)
	for _, number := range numbers {
		if len(wanted) < keep {
			want(number)
		}
	}
	for _, number := range f.Labels {
		if _, ok := there[number]; ok && !wanted[number] {
			want(number)
		}
	}
	f.seen, f.looked = there, true
	if len(wanted) == 0 { // what is served goes on
		if len(s.served(f.Name)) == 0 {
			errs = append(errs, fmt.Errorf("%s holds no version of %s that can be served", f.Dir, f.Name))
		}
		return errors.Join(errs...)
	}
	errs = append(errs, s.relabel(f))
	for _, number := range s.served(f.Name) {
		if !wanted[number] {
			// A signal ends the look, not the requests that are being answered.
			errs = append(errs, s.Unload(context.WithoutCancel(ctx), f.Name, number))
		}
	}
	return errors.Join(errs...)
}

// Follow calls Sync again and again until the context ends. What goes wrong is
// logged, each time that it is something else.
func (s *Server) Follow(ctx context.Context, f *Folder) {
	ticker := time.NewTicker(cmp.Or(f.Every, 2*time.Second))
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		text := errorText(s.Sync(ctx, f))
		if text != "" && text != said && ctx.Err() == nil {
			s.options.Log.Warn("a version is not served", "model", f.Name, "error", text)
		}
		said = text
	}
}

// ensure loads a version unless it is served, has failed, or may be on its way.
func (s *Server) ensure(ctx context.Context, f *Folder, number int64, now onDisk) (loaded bool, err error) {
	switch {
	case slices.Contains(s.served(f.Name), number):
		return true, nil
	case now.stamp == "", f.failed[number] == now, f.looked && f.seen[number] != now:
		return false, nil
	}
	v, err := f.Open(filepath.Join(f.Dir, now.base))
	if err == nil {
		v.Name, v.Number = f.Name, number
		err = s.Load(ctx, v)
	} else {
		err = fmt.Errorf("open version %d of %s: %w", number, f.Name, err)
		s.table.fail(f.Name, number, err)
	}
	if err == nil {
		return true, nil
	}
	if ctx.Err() == nil {
		if f.failed == nil {
			f.failed = map[int64]onDisk{}
		}
		f.failed[number] = now
	}
	return false, err
}

func versionOf(name string) (int64, bool) {
	n, err := strconv.ParseInt(name, 10, 64)
	return n, err == nil && n >= 0 && name[0] != '+'
}

// relabel names those of the labelled versions that are served.
func (s *Server) relabel(f *Folder) error {
	served := s.served(f.Name)
	labels := map[string]int64{}
	for label, number := range f.Labels {
		if slices.Contains(served, number) {
			labels[label] = number
		}
	}
	return s.SetLabels(f.Name, labels)
}

// Serves tells whether a model has a version that can be asked.
func (s *Server) Serves(name string) bool { return len(s.served(name)) > 0 }

// served lists the versions of a model that can be asked.
func (s *Server) served(name string) []int64 {
	var numbers []int64
	for _, one := range s.table.statuses(name) {
		if one.available() {
			numbers = append(numbers, one.number)
		}
	}
	return numbers
}

// onDisk is a version's folder as it was seen.
type onDisk struct {
	base  string // its name, which may begin with zeros
	stamp string // what its files look like; "" if that cannot be seen now
}

// look finds the versions in the folder.
func (f *Folder) look() (map[int64]onDisk, error) {
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		return nil, err
	}
	found := map[int64]onDisk{}
	for _, entry := range entries {
		number, ok := versionOf(entry.Name())
		if !ok {
			continue
		}
		dir := filepath.Join(f.Dir, entry.Name())
		if info, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			continue
		}
		stamp, err := stampOf(dir)
		if err != nil { // files come and go: it is looked at again
			stamp = ""
		}
		found[number] = onDisk{entry.Name(), stamp}
	}
	return found, nil
}

// stampOf sums up the names, sizes and times of a folder's files. It follows links.
func stampOf(dir string) (string, error) {
	hash := fnv.New128a()
	if err := sumUp(hash, dir, 0); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

func sumUp(hash io.Writer, dir string, depth int) error {
	const deepest = 16 // links may go round in a circle
	if depth > deepest {
		return fmt.Errorf("%s: the folders go too deep, or round in a circle", dir)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(hash, "%q %d %d %v\n", entry.Name(), info.Size(), info.ModTime().UnixNano(), info.IsDir())
		if info.IsDir() {
			if err := sumUp(hash, path, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}
