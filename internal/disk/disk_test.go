package disk

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// filled returns a fill that writes a file.
func filled(text string) func(string) error {
	return func(draft string) error { return os.WriteFile(filepath.Join(draft, "a"), []byte(text), 0o600) }
}

var errFill = errors.New("fill failed")

func failing(draft string) error {
	_ = filled("half")(draft)
	return errFill
}

// contents returns what filled wrote, "" where there is nothing.
func contents(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "a"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	return all
}

func TestCreate(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "new", "parents", "dir")
	if err := Create(dir, failing); !errors.Is(err, errFill) {
		t.Errorf("error: %v", err)
	}
	if left := names(t, top); left != nil {
		t.Errorf("a fill that failed left %v", left)
	}
	if err := Create(dir+"/", filled("one")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v: others cannot look into it", info.Mode(), err)
	}
	if err := Create(dir, filled("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error: %v", err)
	}
	if got := contents(t, dir); got != "one" {
		t.Errorf("contents: %q", got)
	}
	if left := names(t, filepath.Dir(dir)); !slices.Equal(left, []string{"dir"}) {
		t.Errorf("there is %v", left)
	}
}

func TestCreateKeepsTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := filepath.Join(t.TempDir(), "private")
	if err := Create(dir, filled("one")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestCreateDoesNotTakeAPlaceThatWasTakenMeanwhile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	err := Create(dir, func(string) error { return os.Mkdir(dir, 0o755) })
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("error: %v", err)
	}
}

func TestReplace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.WriteFile(dir, []byte("a file"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two", "three"} {
		if err := Replace(dir, filled(text)); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, dir); got != text {
			t.Errorf("contents: %q, want %q", got, text)
		}
		if err := Replace(dir, failing); !errors.Is(err, errFill) {
			t.Errorf("error: %v", err)
		}
		if got := contents(t, dir); got != text {
			t.Errorf("after a fill that failed: %q, want %q", got, text)
		}
		if left := names(t, filepath.Dir(dir)); !slices.Equal(left, []string{"dir"}) {
			t.Errorf("there is %v", left)
		}
	}
}

func TestExchangeInTurn(t *testing.T) {
	top := t.TempDir()
	a, b := filepath.Join(top, "a"), filepath.Join(top, "b")
	if err := errors.Join(Create(a, filled("one")), Create(b, filled("two")), exchangeInTurn(a, b)); err != nil {
		t.Fatal(err)
	}
	if contents(t, a) != "two" || contents(t, b) != "one" || len(names(t, top)) != 2 {
		t.Errorf("%q, %q, %v", contents(t, a), contents(t, b), names(t, top))
	}
}

func TestRemove(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := errors.Join(Create(dir, filled("one")), Remove(dir)); err != nil {
		t.Fatal(err)
	}
	if left := names(t, filepath.Dir(dir)); left != nil {
		t.Errorf("there is %v", left)
	}
	if err := Remove(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error: %v", err)
	}
	if left := names(t, filepath.Dir(dir)); left != nil {
		t.Errorf("there is %v", left)
	}
}

// A draft belongs to its process until that has ended.
func TestSweepLeavesDraftsThatAreInUse(t *testing.T) {
	top := t.TempDir()
	dead, file := filepath.Join(top, ".residual-dir-1"), filepath.Join(top, ".residual-file")
	mine := filepath.Join(top, "mine")
	if err := errors.Join(os.Mkdir(dead, 0o700), filled("x")(dead), os.WriteFile(file, nil, 0o600), os.Mkdir(mine, 0o755)); err != nil {
		t.Fatal(err)
	}
	err := Create(filepath.Join(top, "dir"), func(draft string) error {
		if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what another process left of the same directory is still there: %v", err)
		}
		if err := Sweep(top); err != nil {
			t.Error(err)
		}
		if left := names(t, top); !slices.Equal(left, []string{filepath.Base(draft), "mine"}) {
			t.Errorf("there is %v", left)
		}
		return filled("one")(draft)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := Sweep(filepath.Join(top, "nowhere")); err != nil {
		t.Error(err)
	}
}

func TestTemporary(t *testing.T) {
	top := t.TempDir()
	t.Setenv("TMPDIR", top)
	dead, other := filepath.Join(top, ".residual-graph-1"), filepath.Join(top, ".residual-other-1")
	if err := errors.Join(os.Mkdir(dead, 0o700), filled("x")(dead), os.Mkdir(other, 0o700)); err != nil {
		t.Fatal(err)
	}
	one, removeOne, err := Temporary("graph")
	if err != nil {
		t.Fatal(err)
	}
	two, removeTwo, err := Temporary("graph")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Base(one), filepath.Base(two), filepath.Base(other)}
	slices.Sort(want)
	if left := names(t, top); !slices.Equal(left, want) {
		t.Errorf("there is %v, want %v", left, want)
	}
	removeOne()
	removeTwo()
	if left := names(t, top); !slices.Equal(left, []string{filepath.Base(other)}) {
		t.Errorf("there is %v", left)
	}
	t.Setenv("TMPDIR", filepath.Join(top, "nowhere"))
	if _, _, err := Temporary("graph"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error: %v", err)
	}
}

const holderVariable = "DISK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderVariable); path != "" {
		if _, _, err := TryLock(path, "process 7"); err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString("held\n")
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

// The kernel lets go of the lock of a process that was killed.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	holder := exec.CommandContext(t.Context(), program)
	holder.Env = append(os.Environ(), holderVariable+"="+path)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	if _, line, err := TryLock(path, "mine"); !errors.Is(err, ErrLocked) || line != "process 7" {
		t.Errorf("%q, %v", line, err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait()
	lock, _, err := TryLock(path, "mine")
	if err != nil {
		t.Fatalf("the lock of a killed process: %v", err)
	}
	if data, _ := os.ReadFile(path); string(data) != "mine\n" {
		t.Errorf("the file says %q", data)
	}
	if _, line, err := TryLock(path, "again"); !errors.Is(err, ErrLocked) || line != "mine" {
		t.Errorf("%q, %v", line, err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, _, err = TryLock(path, "again"); err != nil {
		t.Fatal(err)
	}
	_ = lock.Close()
}
