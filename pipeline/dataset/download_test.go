package dataset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// packed is a .tar.gz with the archive's files and some that must not be
// unpacked. Its bytes do not compress, so that a connection can break within.
func packed(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	files := tar.NewWriter(zipped)
	random := rand.New(rand.NewPCG(1, 1))
	for _, name := range slices.Concat(names, []string{"../escaped.bin", "cifar-10-batches-bin/other.bin", "data_batch_1.bin"}) {
		data := make([]byte, 20_000)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		err := errors.Join(files.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}))
		if _, writeErr := files.Write(data); err != nil || writeErr != nil {
			t.Fatal(err, writeErr)
		}
	}
	if err := errors.Join(files.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// mirror is a server of one file that can misbehave.
type mirror struct {
	mu       sync.Mutex
	data     []byte
	requests []string // the Range of each
	breaks   int      // connections to break off half way
	noRange  bool
	status   int           // if not 0, the only answer
	hang     chan struct{} // if not nil, wait for it after half of the file
	pause    time.Duration // after each tenth of the file
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	m.requests = append(m.requests, r.Header.Get("Range"))
	breaks, hang := m.breaks > 0, m.hang
	if breaks {
		m.breaks--
	}
	m.mu.Unlock()
	if m.status != 0 {
		http.Error(w, "no", m.status)
		return
	}
	if m.noRange {
		r.Header.Del("Range")
	}
	if breaks || hang != nil {
		var start int
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &start); n == 1 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", start, len(m.data)-1, len(m.data)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(m.data)-start))
		if start > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(m.data[start : start+(len(m.data)-start)/2])
		w.(http.Flusher).Flush()
		if hang != nil {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
		panic(http.ErrAbortHandler)
	}
	if m.pause > 0 {
		for piece := range slices.Chunk(m.data, len(m.data)/10) {
			w.Write(piece)
			w.(http.Flusher).Flush()
			time.Sleep(m.pause)
		}
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(m.data))
}

func (m *mirror) ranges() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.requests)
}

// serve starts the mirror and returns the archive that comes from it.
func serve(t *testing.T, m *mirror) archive {
	t.Helper()
	a := officialCIFAR
	var members []string
	for _, name := range a.files {
		members = append(members, "cifar-10-batches-bin/"+name)
	}
	if m.data == nil {
		m.data = packed(t, members...)
	}
	server := httptest.NewServer(m)
	sum := md5.Sum(m.data)
	a.url, a.md5 = server.URL+"/cifar-10-binary.tar.gz", hex.EncodeToString(sum[:])
	a.client = &http.Client{Transport: &http.Transport{}}
	a.stall, a.pause = 10*time.Second, time.Millisecond
	t.Cleanup(func() {
		server.Close()
		a.client.CloseIdleConnections()
	})
	return a
}

// entries lists a folder.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	found, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range found {
		names = append(names, entry.Name())
	}
	return names
}

const (
	lockName = "cifar-10-binary.tar.gz.lock"
	partName = "cifar-10-binary.tar.gz.part"
)

// wantUnpacked checks that the folder has the known files and the cache has
// nothing else.
func wantUnpacked(t *testing.T, a archive, cache, dir string) {
	t.Helper()
	want := slices.Sorted(slices.Values(a.files))
	if got := entries(t, dir); !slices.Equal(got, want) {
		t.Errorf("unpacked %q, want %q", got, want)
	}
	if got, want := entries(t, cache), []string{cifarFolder, lockName}; !slices.Equal(got, want) {
		t.Errorf("the cache has %q, want %q", got, want)
	}
	if info, err := os.Stat(filepath.Join(dir, cifarTest[0])); err != nil || info.Size() != 20_000 {
		t.Errorf("%s: %v, %v", cifarTest[0], info, err)
	}
}

func TestDownloadSurvives(t *testing.T) {
	for _, test := range []struct {
		name     string
		mirror   *mirror
		have     float64 // share of the file that is in the cache already
		requests int
		first    string // Range of the first request
	}{
		{"a good connection", &mirror{}, 0, 1, ""},
		{"broken connections", &mirror{breaks: 3}, 0, 4, ""},
		{"many breaks, as long as each brings something", &mirror{breaks: 9}, 0, 10, ""},
		{"a server without ranges", &mirror{breaks: 1, noRange: true}, 0, 2, ""},
		{"an earlier download that broke off", &mirror{}, 0.5, 1, "half"},
		{"the same, without ranges", &mirror{noRange: true}, 0.5, 1, "half"},
		{"a download that was whole", &mirror{}, 1, 1, "all"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := test.mirror
			a, cache := serve(t, m), t.TempDir()
			have := int(float64(len(m.data)) * test.have)
			if have > 0 {
				if err := os.WriteFile(filepath.Join(cache, partName), m.data[:have], 0o644); err != nil {
					t.Fatal(err)
				}
			}
			dir, err := a.fetch(t.Context(), cache, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantUnpacked(t, a, cache, dir)
			ranges := m.ranges()
			if len(ranges) != test.requests {
				t.Errorf("%d requests %q, want %d", len(ranges), ranges, test.requests)
			}
			if want := fmt.Sprintf("bytes=%d-", have); test.first != "" && ranges[0] != want {
				t.Errorf("the first request was for %q, want %q", ranges[0], want)
			}
			for _, later := range ranges[1:] {
				if !strings.HasPrefix(later, "bytes=") || later == "bytes=0-" {
					t.Errorf("a later request was for %q", later)
				}
			}
		})
	}
}

// A connection may be slow for hours as long as it does not stand still.
func TestASlowDownloadIsNotAStalledOne(t *testing.T) {
	m := &mirror{pause: 60 * time.Millisecond}
	a, cache := serve(t, m), t.TempDir()
	a.stall, a.tries = 400*time.Millisecond, 1
	dir, err := a.fetch(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUnpacked(t, a, cache, dir)
	if got := len(m.ranges()); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
}

func TestDownloadIsUsedAgain(t *testing.T) {
	m := &mirror{}
	a, cache := serve(t, m), t.TempDir()
	for range 3 {
		if _, err := a.fetch(t.Context(), cache, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(m.ranges()); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
	// A folder that someone has taken a file from is fetched again.
	if err := os.Remove(filepath.Join(cache, cifarFolder, cifarMeta)); err != nil {
		t.Fatal(err)
	}
	dir, err := a.fetch(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUnpacked(t, a, cache, dir)
}

// Without a network the archive can be carried to the cache.
func TestDownloadTakesAnArchiveThatIsThere(t *testing.T) {
	m := &mirror{status: 404}
	a, cache := serve(t, m), t.TempDir()
	if err := os.WriteFile(filepath.Join(cache, a.name()), m.data, 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := a.fetch(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUnpacked(t, a, cache, dir)
	if got := len(m.ranges()); got != 0 {
		t.Errorf("%d requests, want none", got)
	}
}

func TestDownloadFailsClearly(t *testing.T) {
	for _, test := range []struct {
		name     string
		mirror   *mirror
		change   func(*archive)
		want     []string
		left     []string // in the cache, besides the lock
		requests int
		again    bool // another call may mend it
	}{
		{"not found", &mirror{status: 404}, nil, []string{"/cifar-10-binary.tar.gz: the server answered 404 Not Found"}, nil, 1, false},
		{"a broken server", &mirror{status: 503}, nil, []string{"503 Service Unavailable", `or use "synthetic"`}, nil, 4, true},
		{"nobody there", &mirror{}, func(a *archive) { a.url = "http://127.0.0.1:1/cifar-10-binary.tar.gz" },
			[]string{"connect", "the network failed", "without one, unpack the archive", `"synthetic"`}, nil, 0, true},
		{"a wrong checksum", &mirror{}, func(a *archive) { a.md5 = "0123" },
			[]string{"the MD5 of", "expected 0123", "it was removed, try again"}, nil, 1, true},
		{"not an archive", &mirror{data: []byte("<html>sign in to use this network</html>")}, nil,
			[]string{"unpack", "gzip"}, []string{"cifar-10-binary.tar.gz"}, 1, false},
		{"an archive without the files", &mirror{data: packed(t, "cifar-10-batches-bin/readme.html")}, nil,
			[]string{"it lacks some of the files"}, []string{"cifar-10-binary.tar.gz"}, 1, false},
		{"a connection that hangs", &mirror{hang: make(chan struct{})}, func(a *archive) { a.stall, a.tries = 50*time.Millisecond, 1 },
			[]string{"the connection stalled: nothing came for 50ms"}, []string{partName}, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := test.mirror
			a, cache := serve(t, m), t.TempDir()
			if test.change != nil {
				test.change(&a)
			}
			_, err := a.fetch(t.Context(), cache, nil)
			wantError(t, err, test.want...)
			if errors.Is(err, ErrNetwork) != test.again {
				t.Errorf("that another call may mend it: %t, want %t", !test.again, test.again)
			}
			want := append(slices.Clone(test.left), lockName)
			slices.Sort(want)
			if got := entries(t, cache); !slices.Equal(got, want) {
				t.Errorf("the cache has %q, want %q", got, want)
			}
			if got := len(m.ranges()); got != test.requests {
				t.Errorf("%d requests, want %d", got, test.requests)
			}
		})
	}
}

// What a cancelled download has brought is there for the next one.
func TestDownloadGoesOnAfterACancellation(t *testing.T) {
	m := &mirror{hang: make(chan struct{})}
	a, cache := serve(t, m), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := a.fetch(ctx, cache, func(p Progress) {
		if p.Done >= int64(len(m.data)/2) {
			cancel()
		}
	})
	cancel()
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	m.mu.Lock()
	m.hang = nil
	m.mu.Unlock()
	dir, err := a.fetch(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUnpacked(t, a, cache, dir)
	if got, want := m.ranges()[1], fmt.Sprintf("bytes=%d-", len(m.data)/2); got != want {
		t.Errorf("the second request was for %q, want %q", got, want)
	}
}

func TestDownloadReplacesADamagedPart(t *testing.T) {
	m := &mirror{}
	a, cache := serve(t, m), t.TempDir()
	if err := os.WriteFile(filepath.Join(cache, partName), []byte("not the beginning"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := a.fetch(t.Context(), cache, nil)
	wantError(t, err, "the MD5 of", "it was removed, try again")
	dir, err := a.fetch(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUnpacked(t, a, cache, dir)
}

func TestOnlyOneDownloadsAtOnce(t *testing.T) {
	m := &mirror{}
	a, cache := serve(t, m), t.TempDir()
	var group sync.WaitGroup
	for range 5 {
		group.Go(func() {
			if _, err := a.fetch(t.Context(), cache, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := len(m.ranges()); got != 1 {
		t.Errorf("%d requests, want 1", got)
	}
	wantUnpacked(t, a, cache, filepath.Join(cache, cifarFolder))
}

func TestWaitingForAnotherDownloadCanBeCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
	unlock()
	again, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestDownloadRemovesWhatKilledProcessesLeft(t *testing.T) {
	a, cache := serve(t, &mirror{}), t.TempDir()
	if err := os.MkdirAll(filepath.Join(cache, ".residual-"+cifarFolder+"-123", "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := a.fetch(t.Context(), cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantUnpacked(t, a, cache, dir)
}

func TestDownloadReportsItsProgress(t *testing.T) {
	m := &mirror{}
	a := serve(t, m)
	last := map[string]Progress{}
	if _, err := a.fetch(t.Context(), t.TempDir(), func(p Progress) { last[p.Unit] = p }); err != nil {
		t.Fatal(err)
	}
	size := int64(len(m.data))
	want := map[string]Progress{
		"bytes": {"download cifar-10-binary.tar.gz", "bytes", size, size},
		"files": {"unpack cifar-10-binary.tar.gz", "files", 8, 8},
	}
	for unit := range want {
		if last[unit] != want[unit] {
			t.Errorf("the last progress is %+v, want %+v", last[unit], want[unit])
		}
	}
}

func TestDownloadNeedsAFolder(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	_, err := Download(t.Context(), "", nil)
	wantError(t, err, "download CIFAR-10: find the user's cache")

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Download(t.Context(), file, nil)
	wantError(t, err, "download CIFAR-10: ", file, "not a directory")
}

func TestContentRanges(t *testing.T) {
	for value, want := range map[string]struct {
		start, total int64
		ok           bool
	}{
		"bytes 100-199/200": {100, 200, true},
		"bytes 0-0/*":       {0, 0, true},
		"bytes */200":       {},
		"bytes 100-199":     {},
		"items 0-1/2":       {},
		"bytes -5-1/2":      {},
		"bytes 1-2/x":       {},
		"":                  {},
	} {
		start, total, ok := parseContentRange(value)
		if ok != want.ok || ok && (start != want.start || total != want.total) {
			t.Errorf("%q is %d of %d, %v; want %+v", value, start, total, ok, want)
		}
	}
}

func TestDiskErrorsAreFinal(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip(err)
	}
	m := &mirror{}
	a, cache := serve(t, m), t.TempDir()
	if err := os.Symlink("/dev/full", filepath.Join(cache, partName)); err != nil {
		t.Skip(err)
	}
	_, err := a.fetch(t.Context(), cache, nil)
	wantError(t, err, "no space left on device")
	if got := len(m.ranges()); got != 1 {
		t.Errorf("%d requests for a full disk, want 1", got)
	}
}
