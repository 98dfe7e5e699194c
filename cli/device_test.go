package cli_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
	"github.com/residual-go/residual/tfgo"
)

// skipWithGPU is for what is said where there is none.
func skipWithGPU(t *testing.T) {
	t.Helper()
	if modeltest.HasGPU(t) {
		t.Skip("there is a GPU")
	}
}

func TestDevice(t *testing.T) {
	skipWithGPU(t)
	small, out := modeltest.Dir(t, modeltest.Small), t.TempDir()
	for _, device := range []string{"auto", "cpu"} {
		must(t, "evaluate", "--model", small, "--data", "synthetic", "--limit", "20", "--device", device, "--gpu-memory", "0.5", "--out", out)
	}
	check := unchanged(t, out)
	for _, device := range []string{"gpu", "gpu:1"} {
		refused(t, run("evaluate", "--model", small, "--data", "synthetic", "--limit", "20", "--device", device), 1, "no GPU can be used", tfgo.WhyNoGPU())
		refused(t, run("train", "--model", small, "--data", "synthetic", "--limit", "20", "--device", device, "--out", filepath.Join(out, "run")), 1, "no GPU can be used")
	}
	check()
	for _, wrong := range [][]string{
		{"--device", "tpu"}, {"--device", "gpu:x"}, {"--gpu-memory", "2"}, {"--gpu-memory", "0"}, {"--gpu-memory", "all"}, {"--gpu-memory", "NaN"},
	} {
		refused(t, run(append([]string{"evaluate", "--model", small, "--data", "synthetic"}, wrong...)...), 2, wrong[0])
	}
}

// XLA compiles another program of the same model. What it computes is as near as
// float32 is, also of the last short batch, whose shape comes once.
func TestXLA(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	dir := t.TempDir()
	train := func(name string, flags ...string) (loss float64) {
		t.Helper()
		var result struct {
			Train struct{ Loss float64 } `json:"train"`
			Steps int                    `json:"steps"`
		}
		// In a process of its own: TensorFlow reads once whether XLA is for CPUs, too.
		// TensorFlow's log says that XLA has compiled something.
		o := finish(t, process(t, append([]string{"train", "--debug", "--model", small, "--data", "synthetic", "--limit", "50", "--batch-size", "16", "--epochs", "2",
			"--threads", "1", "--json", "--quiet", "--out", filepath.Join(dir, name)}, flags...)))
		if o.code != 0 {
			t.Fatalf("%s: exit code %d: %s", name, o.code, o.stderr)
		}
		o.lastLine(t, &result)
		if result.Steps != 8 {
			t.Errorf("%s: %d steps", name, result.Steps)
		}
		if compiled := strings.Contains(o.stderr, "Compiled cluster using XLA"); compiled != (len(flags) > 0) {
			t.Errorf("%s: compiled: %t\n%s", name, compiled, o.stderr)
		}
		return result.Train.Loss
	}
	plain, compiled := train("plain"), train("xla", "--xla")
	if d := plain - compiled; d > 1e-4 || d < -1e-4 {
		t.Errorf("the loss is %g, with XLA %g", plain, compiled)
	}
	if config := read(t, filepath.Join(dir, "xla", "config.json")); !strings.Contains(config, `"xla": true`) || !strings.Contains(config, `"device": "auto"`) {
		t.Errorf("config.json has %s", config)
	}
	refused(t, run("train", "--out", filepath.Join(dir, "xla"), "--resume", "--xla=false"), 2, "--xla false, which was true")
}

func TestDropLast(t *testing.T) {
	small := modeltest.Dir(t, modeltest.Small)
	dir := filepath.Join(t.TempDir(), "run")
	var result struct {
		Steps int `json:"steps"`
	}
	args := []string{"train", "--model", small, "--data", "synthetic", "--limit", "50", "--batch-size", "16", "--epochs", "2", "--quiet", "--json"}
	must(t, append(args, "--drop-last", "--out", dir)...).lastLine(t, &result)
	if result.Steps != 6 {
		t.Errorf("50 images in batches of 16 are 3 steps an epoch, and it took %d", result.Steps)
	}
	refused(t, run("train", "--out", dir, "--resume", "--drop-last=false"), 2, "--drop-last false, which was true")
	refused(t, run(append(args, "--drop-last", "--batch-size", "64", "--out", dir+"2")...), 1, "nothing is left of 50 examples", "64")
}

func TestDoctorAsksAServer(t *testing.T) {
	answers := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(answers)
		_, _ = w.Write([]byte("loading\n\x1b]0;m"))
	}))
	defer server.Close()
	url := server.URL + "/readyz"
	if o := must(t, "doctor", "--url", url); o.stdout != url+": 200 OK\n" {
		t.Errorf("got %q", o.stdout)
	}
	if o := must(t, "doctor", "--url", server.URL); o.stdout != url+": 200 OK\n" {
		t.Errorf("without a path: %q", o.stdout)
	}
	var got struct{ Status int }
	must(t, "doctor", "--url", url, "--json").lastLine(t, &got)
	if got.Status != http.StatusOK {
		t.Errorf("got %+v", got)
	}
	answers = http.StatusServiceUnavailable
	refused(t, run("doctor", "--url", url), 1, url, "503", "loading; ]0;m")
	server.Close()
	refused(t, run("doctor", "--url", url), 1, url, "refused")
	for _, wrong := range []string{"", "localhost:8501", "ftp://localhost", "http://", "http://a b"} {
		refused(t, run("doctor", "--url", wrong), 2, "--url")
	}
}
