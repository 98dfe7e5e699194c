package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzConfig looks for a config.json that is taken and is not the same when it
// is written again.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"format":1,"model":"m","model_fingerprint":"ab","data":"synthetic","train":{"examples":3,"fingerprint":"c"},"epochs":1,
		"batch_size":2,"accumulate":3,"upsample_schedule":[3,5,7],"learning_rate":0.1,"threads":1,"keep":1,"checkpoint_every":"10m","schedule":"cosine","log":["csv","wandb"],
		"resumed":[{"step":1,"changed":[{"setting":"epochs","was":"1","is":"2"}]}]}`))
	f.Add([]byte(`{"format":1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		run := runDir(t.TempDir())
		if err := os.WriteFile(run.config(), data, 0o644); err != nil {
			t.Fatal(err)
		}
		config, err := run.readConfig()
		if err != nil {
			return
		}
		if changes := config.changes(config); len(changes) > 0 {
			t.Errorf("it differs from itself: %v", changes)
		}
		if err := config.sameInputs(run, config); err != nil {
			t.Error(err)
		}
		other := runDir(filepath.Join(t.TempDir()))
		if err := other.writeConfig(config); err != nil {
			t.Fatal(err)
		}
		again, err := other.readConfig()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(config.settings(), again.settings(), cmp.AllowUnexported(setting{})); diff != "" {
			t.Error(diff)
		}
	})
}

// Configs from before a setting was there say nothing of it.
func TestAConfigWithoutAccumulation(t *testing.T) {
	run := runDir(t.TempDir())
	text := `{"format":1,"model_fingerprint":"ab","epochs":1,"batch_size":2,"learning_rate":0.1,"threads":1,"keep":1}`
	if err := os.WriteFile(run.config(), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	config, err := run.readConfig()
	if err != nil || config.Accumulate != 1 || config.UpsampleSchedule != nil {
		t.Errorf("%+v, %v", config, err)
	}
}
