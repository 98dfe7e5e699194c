package savedmodel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
)

func TestResolve(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{
		"plain/saved_model.pb",
		"versions/1/saved_model.pb", "versions/2/saved_model.pb", "versions/10/saved_model.pb", "versions/11/half-copied", "versions/new/saved_model.pb",
		"run/model/1/saved_model.pb", "run/config.json",
		"nothing/readme.txt",
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{
		"plain": "plain", "versions": "versions/10", "run": "run/model/1", "run/model": "run/model/1",
	} {
		got, err := savedmodel.Resolve(filepath.Join(root, dir))
		if err != nil || got != filepath.Join(root, want) {
			t.Errorf("Resolve(%s) = %s, %v, want %s", dir, got, err, want)
		}
	}
	for dir, want := range map[string]string{
		"nothing":              "holds no saved_model.pb",
		"none":                 "there is no directory",
		"nothing/readme.txt":   "is a file",
		"plain/saved_model.pb": "is a file",
	} {
		_, err := savedmodel.Resolve(filepath.Join(root, dir))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Resolve(%s): %v, want %q and the path in it", dir, err, want)
		}
	}
}

func TestInspect(t *testing.T) {
	info, err := savedmodel.Inspect(modeltest.Dir(t, modeltest.Pets))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"evaluate", "evaluate_head", "features", "serving_default", "train", "train_accumulate", "train_head"}, info.SignatureNames()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"cat", "dog"}, info.Metadata.Classes); diff != "" {
		t.Error(diff)
	}
	if got, want := info.Metadata.Image, (savedmodel.Image{Height: 16, Width: 16, Channels: 3}); got != want {
		t.Errorf("image is %v", got)
	}
	names := map[string][]int{}
	for _, v := range info.Variables {
		names[v.Name] = v.Shape
	}
	for name, want := range map[string][]int{
		"weights/first/kernel":            {3, 3, 3, 8},
		"weights/norm_1/moving_mean":      {8},
		"optimizer/first_kernel_momentum": {3, 3, 3, 8},
		"optimizer/iteration":             {},
	} {
		if diff := cmp.Diff(want, names[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestInspectOfSomebodyElsesModel(t *testing.T) {
	info, err := savedmodel.Inspect(modeltest.Dir(t, modeltest.Foreign))
	if err != nil {
		t.Fatal(err)
	}
	if info.Metadata.Classes != nil || len(info.Variables) != 1 || len(info.SignatureNames()) != 1 {
		t.Errorf("Inspect = %+v", info)
	}
}

func TestClassesAreNumberedWithoutMetadata(t *testing.T) {
	dir := modeltest.Copy(t, modeltest.Pets)
	if err := os.RemoveAll(filepath.Join(dir, "assets.extra")); err != nil {
		t.Fatal(err)
	}
	info, err := savedmodel.Inspect(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0", "1"}, info.Metadata.Classes); diff != "" {
		t.Error(diff)
	}
	if info.Metadata.Image.Height != 16 {
		t.Errorf("image is %v", info.Metadata.Image)
	}
}

func TestInspectAndOpenRefuseDamagedModels(t *testing.T) {
	const (
		graph    = "saved_model.pb"
		index    = "variables/variables.index"
		data     = "variables/variables.data-00000-of-00001"
		metadata = "assets.extra/residual.json"
	)
	for name, test := range map[string]struct {
		file   string
		damage func([]byte) []byte // nil: remove it
		want   string
	}{
		"no index":               {index, nil, "no such file"},
		"no data":                {data, nil, "no such file"},
		"data cut":               {data, func(b []byte) []byte { return b[:len(b)-1] }, "was cut"},
		"data empty":             {data, func([]byte) []byte { return nil }, "was cut"},
		"index cut":              {index, func(b []byte) []byte { return b[:len(b)-1] }, "not a checkpoint index"},
		"index empty":            {index, func([]byte) []byte { return nil }, "not a checkpoint index"},
		"index with a wrong bit": {index, func(b []byte) []byte { b[10] ^= 1; return b }, "checksum"},
		"graph cut":              {graph, func(b []byte) []byte { return b[:len(b)/2] }, "was cut"},
		"graph empty":            {graph, func([]byte) []byte { return nil }, `no graph tagged "serve"`},
		"graph is text":          {graph, func([]byte) []byte { return []byte("hello, world") }, "no SavedModel"},
		"metadata cut":           {metadata, func(b []byte) []byte { return b[:len(b)/2] }, "unexpected end of JSON"},
		"metadata from tomorrow": {metadata, func([]byte) []byte { return []byte(`{"format": 99}`) }, "format is 99"},
		"metadata of one class":  {metadata, func([]byte) []byte { return []byte(`{"format": 1, "classes": ["x"]}`) }, "1 classes"},
		"metadata of twins":      {metadata, func([]byte) []byte { return []byte(`{"format": 1, "classes": ["x","x"]}`) }, `class "x" is empty or named twice`},
		"metadata of other classes": {metadata, func([]byte) []byte {
			return []byte(`{"format": 1, "classes": ["x","y"], "image": {"height": 32, "width": 32, "channels": 3}}`)
		}, "it names 2 classes, the signature"},
		"metadata of other images": {metadata, func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"height": 32`, `"height": 64`, 1))
		}, "its image is [64 32 3], the signature"},
		"metadata without image": {metadata, func([]byte) []byte { return []byte(`{"format": 1, "classes": ["x","y"]}`) }, "image is 0x0x0"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := modeltest.Copy(t, modeltest.Small)
			path := filepath.Join(dir, test.file)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if test.damage == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, test.damage(content), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = savedmodel.Inspect(dir)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.file) {
				t.Errorf("Inspect: %v\nwant %q and %q in it", err, test.want, test.file)
			}
			if _, err := savedmodel.Open(dir, savedmodel.Options{}); err == nil {
				t.Error("Open took it")
			}
		})
	}
}

// FuzzInspect looks for files that crash the inspector.
func FuzzInspect(f *testing.F) {
	dir := modeltest.Dir(f, modeltest.Pets)
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		return data
	}
	graph, metadata, index := read("saved_model.pb"), read("assets.extra/residual.json"), read("variables/variables.index")
	f.Add(graph, metadata, index)
	f.Add(graph[:100], []byte("{}"), index[:50])
	f.Add([]byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, graph, metadata, index []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{
			"saved_model.pb": graph, "assets.extra/residual.json": metadata, "variables/variables.index": index,
			"variables/variables.data-00000-of-00001": make([]byte, 1<<16),
		} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		info, err := savedmodel.Inspect(dir)
		if (info == nil) == (err == nil) {
			t.Errorf("Inspect = %v, %v", info, err)
		}
	})
}
