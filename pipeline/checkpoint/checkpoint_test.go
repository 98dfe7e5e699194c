package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// save saves a checkpoint of two files that tell its step.
func save(t *testing.T, s Store, step int) Checkpoint {
	t.Helper()
	c, err := s.Save(step, func(dir string) error {
		return errors.Join(
			os.WriteFile(filepath.Join(dir, "state.json"), fmt.Appendf(nil, `{"step": %d}`, step), 0o644),
			os.WriteFile(filepath.Join(dir, "variables.index"), fmt.Appendf(nil, "index of %04d", step), 0o644))
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func steps(t *testing.T, s Store) []int {
	t.Helper()
	all, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, c := range all {
		found = append(found, c.Step)
	}
	return found
}

func TestSaveListPrune(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "run", "checkpoints")}
	if found := steps(t, s); found != nil {
		t.Errorf("steps %v", found)
	}
	if _, _, err := s.Newest(nil); !errors.Is(err, ErrNone) {
		t.Errorf("error: %v", err)
	}
	for _, step := range []int{7, 20, 100, 3, 123456789} {
		if c := save(t, s, step); c.Verify() != nil {
			t.Errorf("step %d: %v", step, c.Verify())
		}
	}
	for _, other := range []string{"step-1", "step-0000000x", "step-00000001.old", "notes", "step--0000001"} {
		if err := os.Mkdir(filepath.Join(s.Dir, other), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if found := steps(t, s); !slices.Equal(found, []int{123456789, 100, 20, 7, 3}) {
		t.Errorf("steps %v", found)
	}
	newest, damaged, err := s.Newest(nil)
	if err != nil || damaged != nil || newest.Step != 123456789 {
		t.Errorf("newest %v, damaged %v, %v", newest, damaged, err)
	}
	if err := s.Prune(123456789, 2, 7); err != nil {
		t.Fatal(err)
	}
	if found := steps(t, s); !slices.Equal(found, []int{123456789, 100, 7}) {
		t.Errorf("steps after Prune: %v", found)
	}
	if err := s.Prune(123456789, 5); err != nil || len(steps(t, s)) != 3 {
		t.Errorf("%v, steps %v", err, steps(t, s))
	}
}

// A run that went on from before damaged checkpoints keeps its new ones.
func TestPruneOfACourseThatWasLeft(t *testing.T) {
	s := Store{t.TempDir()}
	for _, step := range []int{3, 72, 73, 100, 102} {
		save(t, s, step)
	}
	for _, damaged := range []int{3, 100} {
		if err := os.Remove(filepath.Join(s.at(damaged).Path, "state.json")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Prune(73, 3); err != nil {
		t.Fatal(err)
	}
	if found := steps(t, s); !slices.Equal(found, []int{73, 72}) {
		t.Errorf("steps %v", found)
	}
}

func TestSaveAgainReplaces(t *testing.T) {
	s := Store{t.TempDir()}
	save(t, s, 5)
	c, err := s.Save(5, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "state.json"), []byte("new"), 0o644)
	})
	if err != nil || c.Verify() != nil {
		t.Fatal(err, c.Verify())
	}
	if data, _ := os.ReadFile(filepath.Join(c.Path, "state.json")); string(data) != "new" {
		t.Errorf("it holds %q", data)
	}
	_, err = s.Save(5, func(string) error { return errors.New("no") })
	if err == nil || c.Verify() != nil {
		t.Errorf("%v, %v", err, c.Verify())
	}
	if entries, _ := os.ReadDir(s.Dir); len(entries) != 1 {
		t.Errorf("there is %v", entries)
	}
}

// Whatever is done to the newest one, it is named, and the one before is taken.
func TestDamage(t *testing.T) {
	in := func(name string, change func(path string) error) func(Checkpoint) error {
		return func(c Checkpoint) error { return change(filepath.Join(c.Path, name)) }
	}
	edit := func(change func([]byte) []byte) func(string) error {
		return func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, change(data), 0o644)
		}
	}
	cut := edit(func(data []byte) []byte { return data[:len(data)/2] })
	empty := edit(func([]byte) []byte { return nil })
	flip := edit(func(data []byte) []byte { data[len(data)-2] ^= 4; return data })
	line := edit(func(data []byte) []byte { return data[:strings.LastIndexByte(string(data[:len(data)-1]), '\n')+1] })
	double := edit(func(data []byte) []byte {
		last := strings.LastIndexByte(string(data[:len(data)-1]), '\n')
		return append(data, data[last+1:]...)
	})
	type damage struct {
		do   func(Checkpoint) error
		file string // that must be named
	}
	cases := map[string]damage{
		"manifest without its last line": {in(manifestName, line), "variables.index"},
		"manifest of another version":    {in(manifestName, edit(func(d []byte) []byte { d[len(manifestHead)-1] = '2'; return d })), manifestName},
		"manifest with a line twice":     {in(manifestName, double), manifestName},
		"manifest is a folder": {in(manifestName, func(path string) error {
			return errors.Join(os.Remove(path), os.Mkdir(path, 0o755))
		}), manifestName},
		"one file more": {in("more", func(path string) error { return os.WriteFile(path, nil, 0o644) }), "more"},
		"files swapped": {func(c Checkpoint) error {
			a, b := filepath.Join(c.Path, "state.json"), filepath.Join(c.Path, "variables.index")
			return errors.Join(os.Rename(a, a+"x"), os.Rename(b, a), os.Rename(a+"x", b))
		}, ""},
		"file of the one before": {func(c Checkpoint) error {
			before := filepath.Join(filepath.Dir(c.Path), "step-00000010", "variables.index")
			data, err := os.ReadFile(before)
			return errors.Join(err, os.WriteFile(filepath.Join(c.Path, "variables.index"), data, 0o644))
		}, "variables.index"},
		"file is a link": {in("state.json", func(path string) error {
			return errors.Join(os.Rename(path, path+"x"), os.Symlink(path+"x", path))
		}), "state.json"},
		"empty": {func(c Checkpoint) error { return errors.Join(os.RemoveAll(c.Path), os.Mkdir(c.Path, 0o755)) }, manifestName},
	}
	for _, name := range []string{manifestName, "state.json", "variables.index"} {
		cases[name+" cut"] = damage{in(name, cut), name}
		cases[name+" empty"] = damage{in(name, empty), name}
		cases[name+" deleted"] = damage{in(name, os.Remove), name}
		if name != manifestName {
			cases[name+" flipped"] = damage{in(name, flip), name}
		}
	}
	cases["manifest with a flipped name"] = damage{in(manifestName, flip), "variables.index"}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			s := Store{t.TempDir()}
			save(t, s, 10)
			newest := save(t, s, 20)
			if err := test.do(newest); err != nil {
				t.Fatal(err)
			}
			found, damaged, err := s.Newest(nil)
			if err != nil || found.Step != 10 || len(damaged) != 1 {
				t.Fatalf("newest %v, damaged %v, %v", found, damaged, err)
			}
			if text := damaged[0].Error(); !strings.Contains(text, newest.Path) || !strings.Contains(text, test.file) {
				t.Errorf("%q does not name %s of %s", text, test.file, newest.Path)
			}
		})
	}
}

func TestNewestAsksTheCaller(t *testing.T) {
	s := Store{t.TempDir()}
	for _, step := range []int{1, 2, 3} {
		save(t, s, step)
	}
	refusal := errors.New("not this one")
	found, damaged, err := s.Newest(func(c Checkpoint) error {
		if c.Step == 3 {
			return refusal
		}
		return nil
	})
	if err != nil || found.Step != 2 || len(damaged) != 1 || damaged[0] != refusal {
		t.Errorf("%v, %v, %v", found, damaged, err)
	}
	_, damaged, err = s.Newest(func(Checkpoint) error { return refusal })
	if !errors.Is(err, ErrNone) || len(damaged) != 3 {
		t.Errorf("%v, %v", damaged, err)
	}
}

func TestSweep(t *testing.T) {
	s := Store{t.TempDir()}
	c := save(t, s, 4)
	draft := filepath.Join(s.Dir, ".residual-step-00000009-12345")
	if err := os.MkdirAll(filepath.Join(draft, "variables_temp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(); err != nil || c.Verify() != nil {
		t.Fatal(err, c.Verify())
	}
	if _, err := os.Stat(draft); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the draft is still there: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(manifestHead + "\n" + strings.Repeat("ab", 32) + " 12 state.json\n")
	f.Add(manifestHead + "\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		sums, err := parseManifest(text)
		if err != nil {
			return
		}
		lines := strings.Count(text, "\n") - 1
		if len(sums) != lines {
			t.Errorf("%d files from %d lines", len(sums), lines)
		}
	})
}
