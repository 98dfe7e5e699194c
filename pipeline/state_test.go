package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline/checkpoint"
)

// FuzzState looks for a state.json that is taken and cannot be gone on from, or
// is not the same when it is written again.
func FuzzState(f *testing.F) {
	for _, seed := range []string{
		`{"format":1,"step":7,"epoch":2,"batch":3,"settings":{"epochs":4},"sums":{"loss":1.5,"correct":1,"examples":16},"callbacks":{"csv":{}}}`,
		`{"format":1,"step":7,"epoch":2,"batch":3,"best":{"step":4,"epoch":1,"loss":1e300,"validation":true},"test":{"loss":1}}`,
		`{"format":2}`, `{}`, `[]`, ``, `{"format":1,"step":7,"epoch":0}`, `{"format":1,"step":7,"epoch":1,"batch":-1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := checkpoint.Checkpoint{Step: 7, Path: t.TempDir()}
		if err := os.WriteFile(filepath.Join(c.Path, stateName), data, 0o644); err != nil {
			t.Fatal(err)
		}
		saved, err := ReadSaved(c)
		if (saved == nil) == (err == nil) {
			t.Fatalf("ReadSaved = %v, %v", saved, err)
		}
		if err != nil {
			return
		}
		if saved.Step != 7 || saved.Epoch < 1 || saved.Batch < 0 || saved.Seconds < 0 {
			t.Errorf("it took %+v", saved)
		}
		_ = saved.Result()
		written, err := json.Marshal(saved.State)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.Path, stateName), written, 0o644); err != nil {
			t.Fatal(err)
		}
		again, err := ReadSaved(c)
		if err != nil {
			t.Fatal(err)
		}
		rewritten, err := json.Marshal(again.State)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(written), string(rewritten)); diff != "" {
			t.Error(diff)
		}
	})
}
