package cli_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/checkpoint"
	"github.com/residual-go/residual/pipeline/dataset"
	"github.com/residual-go/residual/pipeline/imagefile"
	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
)

var crashes = flag.Int("crashes", 8, "in how many system calls of a save TestASaveThatCrashes kills; 0 is all")

// saver trains and saves a checkpoint after each step, MODEL DIR, and lets the
// test prepare each of them: it writes "ready" and its thread, waits for a line,
// saves, and writes "saved" and what went wrong.
func saver(args []string) int {
	runtime.LockOSThread() // all system calls of the save but TensorFlow's are this thread's
	_ = unix.Prctl(unix.PR_SET_PTRACER, ^uintptr(0), 0, 0, 0)
	model, err := savedmodel.Open(args[0], savedmodel.Options{Threads: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	data, err := dataset.Open(context.Background(), dataset.Synthetic, dataset.Options{
		Classes: model.Info().Metadata.Classes, Shape: imagefile.Shape{Height: 32, Width: 32, Channels: 3}, Limit: 2000,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	lines := make(chan string)
	go func() { // another thread's
		input := bufio.NewReader(os.Stdin)
		for {
			line, err := input.ReadString('\n')
			if errors.Is(err, io.EOF) {
				os.Exit(0)
			}
			if err == nil { // this read may have been failed, too
				lines <- line
			}
		}
	}()
	h := &handshake{lines: lines}
	_, err = pipeline.Fit(context.Background(), model, data.Train, pipeline.Options{
		Epochs: 1, BatchSize: 1, Seed: 1, Callbacks: []pipeline.Callback{h},
		Checkpoints: &pipeline.Checkpoints{Dir: args[1], Steps: 1, Warn: func(err error) { h.failed = err }},
	})
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// handshake comes after each step and before its checkpoint.
type handshake struct {
	lines  chan string
	begun  bool
	failed error
}

func (h *handshake) Handle(_ context.Context, event pipeline.Event) error {
	step, ok := event.(pipeline.Step)
	if !ok {
		return nil
	}
	if h.begun {
		say("saved %s\n", strings.ReplaceAll(fmt.Sprint(h.failed), "\n", "; "))
	}
	h.begun, h.failed = true, nil
	say("ready %d %d\n", step.Number, unix.Gettid())
	<-h.lines
	return nil
}

// say writes a line, also if it is this write that was failed.
func say(format string, values ...any) {
	for {
		if _, err := fmt.Printf(format, values...); err == nil {
			return
		}
	}
}

func (h *handshake) Close(error) error { return nil }

// savingProcess is a process of saver.
type savingProcess struct {
	command *exec.Cmd
	in      io.Writer
	out     *bufio.Scanner
	store   checkpoint.Store
	step    int // that is ready to be saved
	thread  int // its thread
}

func startSaver(t *testing.T, dir string) *savingProcess {
	t.Helper()
	command := process(t, []string{modeltest.Dir(t, modeltest.Tiny), dir})
	command.Env = append(command.Env, roleVariable+"=saver")
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	s := &savingProcess{command, in, bufio.NewScanner(out), checkpoint.Store{Dir: dir}, 0, 0}
	s.ready(t)
	return s
}

// ready waits for the next step.
func (s *savingProcess) ready(t *testing.T) {
	t.Helper()
	if !s.out.Scan() {
		t.Fatal("the process has ended")
	}
	if _, err := fmt.Sscanf(s.out.Text(), "ready %d %d", &s.step, &s.thread); err != nil {
		t.Fatalf("%q: %v", s.out.Text(), err)
	}
}

// save lets the process save. It returns what went wrong, "" if nothing, and
// false if the process has ended.
func (s *savingProcess) save(t *testing.T) (wrong string, alive bool) {
	t.Helper()
	if _, err := fmt.Fprintln(s.in, "go"); err != nil {
		t.Fatal(err)
	}
	guard := time.AfterFunc(time.Minute, func() { _ = s.command.Process.Kill() }) // only over a broken program
	defer guard.Stop()
	if !s.out.Scan() {
		return "", false
	}
	wrong, ok := strings.CutPrefix(s.out.Text(), "saved ")
	if !ok {
		t.Fatalf("%q", s.out.Text())
	}
	if wrong == "<nil>" {
		wrong = ""
	}
	return wrong, true
}

// threads are those of the process, but for that which saves.
func (s *savingProcess) threads(t *testing.T) []int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", s.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var others []int
	for _, entry := range entries {
		if id, err := strconv.Atoi(entry.Name()); err == nil && id != s.thread {
			others = append(others, id)
		}
	}
	return others
}

// strace traces threads of the process until the function that it returns is
// called, which returns what strace wrote.
func (s *savingProcess) strace(t *testing.T, own bool, flags ...string) (end func() string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	args := append([]string{"-q", "-o", log}, flags...)
	threads := []int{s.thread}
	if !own {
		threads = s.threads(t)
		args = append(args, "-f") // those that they start, too
	}
	for _, id := range threads {
		args = append(args, "-p", strconv.Itoa(id))
	}
	command := exec.Command("strace", args...)
	var stderr strings.Builder
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		t.Skipf("without strace the disk cannot be made to fail: %v", err)
	}
	// A thread that is traced says by whom.
	until(t, "strace is there", func() bool {
		if !(started{command: command}).running(t) {
			t.Skipf("strace is not let to trace: %s", stderr.String())
		}
		for _, id := range threads {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", s.command.Process.Pid, id))
			if err == nil && strings.Contains(string(status), "\nTracerPid:\t0\n") {
				return false
			}
		}
		return true
	})
	return func() string {
		// One whose process was killed may wait for threads that are gone.
		last := time.AfterFunc(time.Second, func() { _ = command.Process.Kill() })
		_ = command.Process.Signal(syscall.SIGTERM)
		_ = command.Wait()
		last.Stop()
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

// ofFiles are the system calls that have to do with files.
var ofFiles = strings.Split("open openat creat read pread64 readv write pwrite64 writev fsync fdatasync sync_file_range rename renameat renameat2 "+
	"mkdir mkdirat unlink unlinkat rmdir ftruncate fallocate chmod fchmod fchmodat getdents64 flock close lseek fstat newfstatat statx copy_file_range", " ")

// callSite is a system call of a save.
type callSite struct {
	own  bool // of the thread that saves, else of TensorFlow's
	name string
	nth  int // of its name, on its thread
}

// callsOfASave lists the system calls of a save that have to do with files.
func (s *savingProcess) callsOfASave(t *testing.T) []callSite {
	t.Helper()
	var sites []callSite
	for _, own := range []bool{true, false} {
		end := s.strace(t, own, "-e", "trace="+strings.Join(ofFiles, ","), "-y")
		if wrong, alive := s.save(t); wrong != "" || !alive {
			t.Fatalf("alive: %v; %s", alive, wrong)
		}
		log := end()
		log, _, _ = strings.Cut(log, `"saved `)
		counts := map[string]int{}
		for line := range strings.Lines(log) {
			m := regexp.MustCompile(`^(?:(\d+) +)?(\w+)\(`).FindStringSubmatch(line)
			if m == nil {
				continue // the second half of a call
			}
			thread, name := m[1], m[2]
			counts[thread+name]++
			site := callSite{own, name, counts[thread+name]}
			// Go's runtime wakes its threads by writes, too.
			if strings.Contains(line, s.store.Dir) && !slices.Contains(sites, site) {
				sites = append(sites, site)
			}
		}
		s.ready(t)
	}
	return sites
}

// check holds the store against what the process said: the step is there if
// nothing went wrong, and all checkpoints under their names are whole.
func (s *savingProcess) check(t *testing.T, said string, lastGood int) (newest int) {
	t.Helper()
	saved, damaged, err := pipeline.LastSaved(s.store.Dir)
	if err != nil || damaged != nil {
		t.Fatalf("after %q there is no checkpoint, or a damaged one: %v, %v", said, damaged, err)
	}
	if saved.Step != s.step && (said == "" || saved.Step != lastGood) {
		t.Fatalf("the newest checkpoint is of step %d, not %d; it said %q", saved.Step, s.step, said)
	}
	all, err := s.store.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		if err := one.Verify(); err != nil {
			t.Errorf("after %q: %v", said, err)
		}
	}
	return saved.Step
}

// Every system call of a save that has to do with files fails in turn.
func TestASaveOnADiskThatFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "checkpoints")
	s := startSaver(t, dir)
	sites := s.callsOfASave(t)
	if len(sites) < 50 {
		t.Fatalf("only %d system calls were seen: %v", len(sites), sites)
	}
	failures, told := 0, map[string]int{}
	good := s.step - 1
	for _, site := range sites {
		for _, code := range []string{"EIO", "ENOSPC"} {
			end := s.strace(t, site.own, "-e", "trace="+site.name, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", site.name, code, site.nth))
			wrong, alive := s.save(t)
			log := end()
			if !alive {
				t.Fatalf("%v, %s: the process has ended", site, code)
			}
			if strings.Contains(log, "(INJECTED)") {
				failures++
			}
			if wrong != "" {
				told[site.name]++
				if !strings.Contains(wrong, "checkpoint") || !strings.Contains(wrong, dir) {
					t.Errorf("%v, %s: it says %q", site, code, wrong)
				}
			}
			good = s.check(t, wrong, good)
			s.ready(t)
		}
	}
	t.Logf("%d system calls, %d failures; told of: %v", len(sites), failures, told)
	if failures < len(sites) {
		t.Errorf("of 2 times %d failures only %d came", len(sites), failures)
	}
	for _, name := range []string{"write", "fsync", "openat"} {
		if told[name] == 0 {
			t.Errorf("no failure of %s was told of", name)
		}
	}
	if err := s.store.Sweep(); err != nil {
		t.Error(err)
	}
	for _, name := range listing(t, dir) {
		if strings.Contains(name, ".residual-") {
			t.Errorf("%s is left", name)
		}
	}
}

// The process is killed in system calls of a save.
func TestASaveThatCrashes(t *testing.T) {
	sites := startSaver(t, filepath.Join(t.TempDir(), "checkpoints")).callsOfASave(t)
	every := 1
	if *crashes > 0 {
		every = max(1, len(sites) / *crashes)
	}
	killed, survived := 0, 0
	for i := 0; i < len(sites); i += every {
		site := sites[i]
		s := startSaver(t, filepath.Join(t.TempDir(), "checkpoints"))
		if wrong, alive := s.save(t); wrong != "" || !alive {
			t.Fatalf("alive: %v; %s", alive, wrong)
		}
		s.ready(t)
		end := s.strace(t, site.own, "-e", "trace="+site.name, "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", site.name, site.nth))
		if _, alive := s.save(t); alive {
			end()
			survived++ // the calls of TensorFlow's threads are not the same each time
			continue
		}
		end()
		killed++
		s.check(t, "it was killed", s.step-1)
		if err := s.store.Sweep(); err != nil {
			t.Error(err)
		}
		for _, name := range listing(t, s.store.Dir) {
			if strings.Contains(name, ".residual-") {
				t.Errorf("%v: %s is left", site, name)
			}
		}
	}
	t.Logf("of %d system calls it was killed in %d; %d did not come", len(sites), killed, survived)
	if killed <= survived {
		t.Error("it was hardly killed")
	}
}

// A disk has room for the first so many pages of a checkpoint, and then for one
// more, and so on: writes end in the middle.
func TestASaveOnADiskThatIsFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, dir, 0, "size=4m")
	s := startSaver(t, filepath.Join(dir, "checkpoints"))
	if wrong, alive := s.save(t); wrong != "" || !alive {
		t.Fatalf("alive: %v; %s", alive, wrong)
	}
	s.ready(t)
	good, failed := s.step-1, 0
	for pages := 0; ; pages++ {
		fill(t, filepath.Join(dir, "filler"), pages)
		wrong, alive := s.save(t)
		if !alive {
			t.Fatal("the process has ended")
		}
		good = s.check(t, wrong, good)
		s.ready(t)
		if wrong == "" {
			t.Logf("a checkpoint needs %d pages; %d saves failed", pages, failed)
			break
		}
		if failed++; !strings.Contains(strings.ToLower(wrong), "no space left") || !strings.Contains(wrong, dir) {
			t.Errorf("with %d pages: %s", pages, wrong)
		}
	}
	if failed < 3 {
		t.Errorf("it failed %d times", failed)
	}
}

// fill fills a disk but for so many pages.
func fill(t *testing.T, path string, free int) {
	t.Helper()
	const page = 4096
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &disk); err != nil {
		t.Fatal(err)
	}
	size := int64(disk.Bfree)*disk.Bsize - int64(free)*page
	if err := unix.Fallocate(int(file.Fd()), 0, 0, max(page, size)); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}
