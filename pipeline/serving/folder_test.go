package serving_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline/serving"
)

// shelf is a folder of versions. A version is a folder with a file: its model is
// what the test says, or an error if the file is "broken".
type shelf struct {
	t      *testing.T
	dir    string
	opened []string
	models map[string]*colors
}

func newShelf(t *testing.T) *shelf {
	return &shelf{t: t, dir: t.TempDir(), models: map[string]*colors{}}
}

func (s *shelf) put(version, text string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, version, "variables"), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, version, "variables", "data"), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) remove(version string) {
	s.t.Helper()
	if err := os.RemoveAll(filepath.Join(s.dir, version)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelf) open(dir string) (serving.Version, error) {
	base := filepath.Base(dir)
	s.opened = append(s.opened, base)
	text, err := os.ReadFile(filepath.Join(dir, "variables", "data"))
	if err != nil || string(text) == "broken" {
		return serving.Version{}, errors.Join(errors.New("it is broken"), err)
	}
	m := &colors{}
	if string(text) == "ill" {
		m.err = errors.New("it is ill")
	}
	s.models[base] = m
	return serving.Version{Model: m, Classes: colorNames, Close: m.Close}, nil
}

// opens returns what was opened since the last time it was asked.
func (s *shelf) opens() []string {
	opened := s.opened
	s.opened = nil
	return opened
}

func served(t *testing.T, s http.Handler) []string {
	t.Helper()
	var versions []string
	for version, state := range states(t, s) {
		if state == "AVAILABLE" {
			versions = append(versions, version)
		}
	}
	slices.Sort(versions)
	return versions
}

func TestSync(t *testing.T) {
	shelf := newShelf(t)
	s := emptyServer(t, serving.Options{})
	f := &serving.Folder{Name: "colors", Dir: shelf.dir, Open: shelf.open}
	sync := func(error string, want ...string) {
		t.Helper()
		err := s.Sync(t.Context(), f)
		if (err == nil) != (error == "") || err != nil && !strings.Contains(err.Error(), error) {
			t.Errorf("error: %v, want %q", err, error)
		}
		if got := served(t, s); !slices.Equal(got, want) {
			t.Errorf("%v are served, want %v", got, want)
		}
	}
	opens := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, shelf.opens()); diff != "" {
			t.Errorf("opened (-want +got):\n%s", diff)
		}
	}
	shelf.put("1", "good")
	shelf.put("0002", "good")
	shelf.put("latest", "good")
	shelf.put("-3", "good")
	if err := os.WriteFile(filepath.Join(shelf.dir, "9"), nil, 0o644); err != nil { // a file is no version
		t.Fatal(err)
	}
	sync("", "2")
	opens("0002")
	sync("", "2")
	opens()

	// A version that comes is tried when it has not changed for a while.
	shelf.put("3", "hal")
	sync("", "2")
	opens()
	shelf.put("3", "half")
	sync("", "2")
	opens()
	sync("", "3")
	opens("3")
	if n := shelf.models["0002"].closes.Load(); n != 1 {
		t.Errorf("the old version was closed %d times", n)
	}

	// A broken one is reported once, and tried again when it has changed.
	shelf.put("4", "broken")
	sync("", "3")
	sync("version 4 of colors: it is broken", "3")
	opens("4")
	send(s, http.MethodGet, "/v1/models/colors/versions/4", nil).is(t, 200, "it is broken")
	send(s, http.MethodGet, "/readyz", nil).is(t, 200, "")
	sync("", "3")
	opens()
	shelf.put("4", "ill")
	sync("", "3")
	sync("colors, version 4: warm up with 1 images: it is ill", "3")
	opens("4")
	shelf.put("4", "good again")
	sync("", "3")
	sync("", "4")
	opens("4")

	// Going back: the newest that is left.
	shelf.remove("4")
	sync("", "3")
	opens("3")

	// When nothing is left, what is served goes on.
	shelf.remove("3")
	shelf.remove("1")
	shelf.remove("0002")
	sync("", "3")
	if err := os.RemoveAll(shelf.dir); err != nil {
		t.Fatal(err)
	}
	sync("look for versions of colors", "3")
}

func TestSyncKeepsAndLabels(t *testing.T) {
	shelf := newShelf(t)
	s := emptyServer(t, serving.Options{})
	for _, version := range []string{"1", "2", "3", "4"} {
		shelf.put(version, "good")
	}
	f := &serving.Folder{Name: "colors", Dir: shelf.dir, Open: shelf.open, Keep: 2, Labels: map[string]int64{"stable": 1, "canary": 4, "next": 5}}
	if err := s.Sync(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	if got := served(t, s); !slices.Equal(got, []string{"1", "3", "4"}) {
		t.Errorf("%v are served", got)
	}
	send(s, http.MethodGet, "/v1/models/colors/labels/stable", nil).is(t, 200, `1`)
	send(s, http.MethodGet, "/v1/models/colors/labels/next", nil).is(t, 400, "next")
	shelf.put("5", "good")
	for range 2 {
		if err := s.Sync(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	if got := served(t, s); !slices.Equal(got, []string{"1", "4", "5"}) {
		t.Errorf("%v are served", got)
	}
	send(s, http.MethodGet, "/v1/models/colors/labels/next", nil).is(t, 200, "AVAILABLE")
}

func TestSyncOfNothing(t *testing.T) {
	shelf := newShelf(t)
	s := emptyServer(t, serving.Options{})
	f := &serving.Folder{Name: "colors", Dir: shelf.dir, Open: shelf.open}
	if err := s.Sync(t.Context(), f); err == nil || !strings.Contains(err.Error(), "holds no version of colors") || s.Serves("colors") {
		t.Errorf("error: %v", err)
	}
	shelf.put("1", "broken")
	f = &serving.Folder{Name: "colors", Dir: shelf.dir, Open: shelf.open}
	if err := s.Sync(t.Context(), f); err == nil || !strings.Contains(err.Error(), "it is broken") || s.Ready() {
		t.Errorf("error: %v", err)
	}
}

func TestFollow(t *testing.T) {
	shelf := newShelf(t)
	s := emptyServer(t, serving.Options{})
	shelf.put("1", "good")
	f := &serving.Folder{Name: "colors", Dir: shelf.dir, Open: shelf.open, Every: time.Millisecond}
	if err := s.Sync(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		s.Follow(ctx, f)
		close(done)
	}()
	shelf.put("2", "good")
	for deadline := time.Now().Add(10 * time.Second); !slices.Equal(served(t, s), []string{"2"}); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the new version is not served")
		}
	}
	stop()
	<-done
}

// Files come and go: what cannot be looked at for a moment is still there.
func TestSyncOfFilesThatCannotBeSeen(t *testing.T) {
	shelf := newShelf(t)
	s := emptyServer(t, serving.Options{})
	shelf.put("1", "good")
	shelf.put("2", "good")
	f := &serving.Folder{Name: "colors", Dir: shelf.dir, Open: shelf.open}
	dangling := filepath.Join(shelf.dir, "2", "junk")
	sync := func(want ...string) {
		t.Helper()
		if err := s.Sync(t.Context(), f); err != nil {
			t.Error(err)
		}
		if got := served(t, s); !slices.Equal(got, want) {
			t.Errorf("%v are served, want %v", got, want)
		}
	}
	sync("2")
	if err := os.Symlink("/nowhere", dangling); err != nil {
		t.Fatal(err)
	}
	sync("2")
	// A new one waits until it can be seen, and its linked folders are looked into.
	store := t.TempDir()
	if err := os.Mkdir(filepath.Join(shelf.dir, "3"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(store, filepath.Join(shelf.dir, "3", "variables")); err != nil {
		t.Fatal(err)
	}
	sync("2")
	for _, text := range []string{"g", "go"} { // on its way
		if err := os.WriteFile(filepath.Join(store, "data"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		sync("2")
	}
	sync("3")
	// Links that go round in a circle are an error of the version, not a hang.
	if err := os.Symlink(shelf.dir, filepath.Join(store, "circle")); err != nil {
		t.Fatal(err)
	}
	sync("3")
}
