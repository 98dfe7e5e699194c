package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

const module = "github.com/residual-go/residual/"

// arrow says which rooms a room may import, and why no others. Imports of
// _test files are free.
type arrow struct {
	room string
	may  string // separated by spaces
	why  string
}

var arrows = []arrow{
	{"internal/disk", "", "it writes directories, whatever is in them"},
	{"tfgo/tensor", "", "tensors are plain Go: everything under pipeline is tested without TensorFlow"},
	{"tfgo/trace", "", "what a run took is plain Go, whoever ran it"},
	{"tfgo", "tfgo/tensor tfgo/trace", "the bindings know nothing of models and training"},
	{"savedmodel/bundle", "tfgo/tensor", "files are read without TensorFlow"},
	{"savedmodel/frozen", "tfgo/tensor", "graphs are rewritten as messages, without TensorFlow"},
	{"savedmodel", "internal/disk savedmodel/bundle savedmodel/frozen tfgo tfgo/tensor", "a model is called by name, whoever trains it: pipeline asks for an interface"},
	{"savedmodel/modeltest", "tfgo", "it only finds what tests run on"},
	{"pipeline/imagefile", "", "it turns files into bytes, for anyone"},
	{"pipeline/plot", "", "it draws numbers, whoever counted them"},
	{"pipeline/checkpoint", "internal/disk", "it keeps files, whatever state they hold"},
	{"pipeline/dataset", "internal/disk pipeline/imagefile tfgo/tensor", "data does not know who trains on it"},
	{"pipeline", "pipeline/checkpoint pipeline/dataset pipeline/imagefile tfgo/tensor", "the loop asks for an interface: it is tested without TensorFlow"},
	{"pipeline/benchmark", "pipeline pipeline/dataset pipeline/imagefile tfgo/tensor tfgo/trace", "it measures what pipeline drives, TensorFlow or not"},
	{"pipeline/callback", "pipeline pipeline/plot", "callbacks watch: they hear events and nothing else"},
	{"pipeline/features", "internal/disk pipeline pipeline/dataset tfgo/tensor", "it stands before the loop, which knows nothing of it: a model and data like others"},
	{"pipeline/serving/tensorjson", "tfgo/tensor", "it reads text, whoever asks"},
	{"pipeline/serving", "pipeline pipeline/imagefile pipeline/serving/tensorjson tfgo/tensor", "requests are answered by what pipeline drives, TensorFlow or not"},
	{"cli", "internal/disk pipeline pipeline/benchmark pipeline/callback pipeline/checkpoint pipeline/dataset pipeline/features pipeline/imagefile pipeline/plot pipeline/serving savedmodel tfgo tfgo/tensor tfgo/trace", "it joins the rooms"},
	{"cli/residual", "cli", "main is about 15 lines"},
	{"benchmarks/load", "", "it is a client like any other"},
	{"benchmarks/nothing", "pipeline/serving tfgo/tensor", "it is a program such as a user writes"},
	{"benchmarks/worker", "pipeline pipeline/dataset pipeline/imagefile savedmodel tfgo tfgo/tensor", "it is a program such as a user writes"},
}

// owner says who alone may import something from outside.
type owner struct {
	imports string // a path, or a beginning that ends in /
	rooms   string
	why     string
}

var owners = []owner{
	{"C", "tfgo", "C memory and C's ways of failing stay in one room"},
	{"github.com/wamuir/graft/tensorflow", "tfgo", "C memory and C's ways of failing stay in one room"},
	// Generated messages, pure Go.
	{"github.com/wamuir/graft/tensorflow/", "tfgo tfgo/trace savedmodel savedmodel/bundle savedmodel/frozen pipeline/callback pipeline/serving", "only these read and write TensorFlow's files and messages"},
	{"github.com/urfave/cli/", "cli", "cli is the only room that reads arguments"},
	{"google.golang.org/grpc", "pipeline/serving cli", "only serving speaks it; cli makes the server"},
	{"github.com/disintegration/imaging", "pipeline/imagefile", "it panics on damaged files: imagefile decodes before"},
}

func (o owner) owns(path string) bool {
	return path == o.imports || strings.HasSuffix(o.imports, "/") && strings.HasPrefix(path, o.imports)
}

// packageInfo is what `go list -json` says.
type packageInfo struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
	Standard   bool
}

func goList(t *testing.T, args ...string) []packageInfo {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,CgoFiles,Standard"}, args...)...)
	command.Dir = modeltest.Root()
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var packages []packageInfo
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p packageInfo
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestArrows(t *testing.T) {
	found := map[string]bool{}
	for _, p := range goList(t, "./...") {
		room := strings.TrimPrefix(p.ImportPath, module)
		found[room] = true
		i := slices.IndexFunc(arrows, func(a arrow) bool { return a.room == room })
		if i < 0 {
			t.Errorf("%s is not in this test's table: say there what it may import, and draw it in ARCHITECTURE.md", room)
			continue
		}
		for _, path := range p.Imports {
			checkImport(t, arrows[i], path)
		}
	}
	for _, a := range arrows {
		if !found[a.room] {
			t.Errorf("there is no package %s: take it out of this test's table", a.room)
		}
	}
}

func checkImport(t *testing.T, from arrow, path string) {
	t.Helper()
	if room, internal := strings.CutPrefix(path, module); internal {
		if !slices.Contains(strings.Fields(from.may), room) {
			t.Errorf("%s must not import %s, only %q: %s", from.room, room, from.may, from.why)
		}
		return
	}
	for _, o := range owners {
		if o.owns(path) && !slices.Contains(strings.Fields(o.rooms), from.room) {
			t.Errorf("%s must not import %q, only %s may: %s", from.room, path, o.rooms, o.why)
		}
	}
}

// What is pure Go stays so, also by way of others: it is built, tested and
// raced without TensorFlow. (Go's own net package uses C where it can.)
func TestPureRoomsDependOnNoC(t *testing.T) {
	pure := []string{"./tfgo/tensor/...", "./tfgo/trace/...", "./pipeline/...", "./savedmodel/bundle/..."}
	all := goList(t, append([]string{"-deps"}, pure...)...)
	if len(all) < 100 {
		t.Fatalf("go list knows only %d packages", len(all))
	}
	for _, p := range all {
		if p.ImportPath == "github.com/wamuir/graft/tensorflow" || !p.Standard && len(p.CgoFiles) > 0 {
			t.Errorf("something in %v depends on %s, which needs C", pure, p.ImportPath)
		}
	}
}
