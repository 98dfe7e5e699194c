package callback

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/residual-go/residual/pipeline"
)

// FuzzRestore looks for a callback's state that crashes the callback, or has it
// touch files outside its folder.
func FuzzRestore(f *testing.F) {
	for _, seed := range []string{
		`{}`, `[]`, `null`, `{"steps":{"bytes":3},"metrics":{"bytes":-1}}`, `{"best":1,"waiting":2,"falls":3}`,
		`{"files":{".":{},"train":{"../x":{"bytes":1}},"validation":{},"test":{}},"learning_rate":1}`,
		`{"run_id":"../../x","folder":"..","step":1,"log":{"bytes":1},"summary":{},"running":true,"records":7}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, state []byte) {
		root := t.TempDir()
		dir := filepath.Join(root, "run")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		outside := filepath.Join(root, "x")
		if err := os.WriteFile(outside, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"steps.csv", "metrics.csv"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("a,b\n1,2\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []pipeline.Stateful{
			&CSV{Dir: dir}, &TensorBoard{Dir: filepath.Join(dir, "tensorboard")}, &WandB{Dir: dir},
			&EarlyStopping{Patience: 2}, &Plateau{Patience: 2},
		} {
			if c.Restore(state) != nil {
				continue
			}
			_ = c.Handle(context.Background(), pipeline.Begin{Epochs: 9, Step: 3, Batches: 3})
			_ = c.Handle(context.Background(), pipeline.Step{Number: 4, Epoch: 2, Batch: 1, Batches: 3})
			_ = c.Handle(context.Background(), pipeline.Epoch{Number: 2})
			_, _ = c.State()
			_ = c.Close(nil)
		}
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile(outside); err != nil || string(data) != "mine" || len(entries) != 2 {
			t.Errorf("files outside were touched: %v, %q, %v", entries, data, err)
		}
	})
}
