package cli_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/residual-go/residual/tfgo"
)

type doctorOutcome struct {
	Findings []struct {
		Name    string `json:"name"`
		Value   string `json:"value"`
		Problem string `json:"problem"`
		Mend    string `json:"mend"`
		Fatal   bool   `json:"fatal"`
	} `json:"findings"`
}

func TestDoctor(t *testing.T) {
	var got doctorOutcome
	o := must(t, "doctor", "--json")
	o.lastLine(t, &got)
	var names []string
	for _, f := range got.Findings {
		names = append(names, f.Name)
		if f.Fatal || f.Value == "" && (f.Problem == "" || f.Mend == "") {
			t.Errorf("finding %+v", f)
		}
	}
	for _, name := range []string{"residual", "graft", "C library", "C headers", "devices", "Python", "CPU"} {
		if !slices.Contains(names, name) {
			t.Errorf("nothing is said of %s:\n%s", name, o.stdout)
		}
	}
	text := unbroken(must(t, "doctor").stdout)
	for _, f := range got.Findings {
		if !strings.Contains(text, f.Name+" ") || !strings.Contains(text, f.Value) || !strings.Contains(text, f.Problem) {
			t.Errorf("finding %+v is not in the text:\n%s", f, text)
		}
	}
}

// unbroken joins lines that were broken between words.
func unbroken(text string) string { return strings.Join(strings.Fields(text), " ") }

// A shell takes what --env prints, whatever the folders are called.
func TestDoctorEnv(t *testing.T) {
	library, err := tfgo.Load()
	if err != nil {
		t.Fatal(err)
	}
	// A folder with all that a shell would make something else of.
	odd := filepath.Join(t.TempDir(), `it's a $HOME; echo`)
	write(t, filepath.Join(odd, ".keep"), nil)
	link := filepath.Join(odd, "tensorflow")
	if err := exec.Command("ln", "-s", filepath.Dir(library.Path), link).Run(); err != nil {
		t.Fatal(err)
	}
	o := finish(t, process(t, []string{"doctor", "--env"}, tfgo.LibraryVariable+"="+link))
	if o.code != 0 {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	shell := exec.Command("sh", "-c", `eval "$1"; printf '%s\n%s\n' "$CGO_CFLAGS" "$`+tfgo.LibraryVariable+`"`, "sh", o.stdout)
	shell.Env = []string{}
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	flags, file, _ := strings.Cut(strings.TrimSuffix(string(out), "\n"), "\n")
	// In quotes, since go splits CGO_CFLAGS at blanks.
	if flags != `"-I`+filepath.Join(link, "include")+`"` || file != filepath.Join(link, filepath.Base(library.Path)) {
		t.Errorf("the shell has\n%s\nfrom\n%s", out, o.stdout)
	}

	var asJSON map[string]string
	finish(t, process(t, []string{"doctor", "--env", "--json"}, tfgo.LibraryVariable+"="+link)).lastLine(t, &asJSON)
	if asJSON["CGO_CFLAGS"] != flags || asJSON[tfgo.LibraryVariable] != file {
		t.Errorf("--json says %v, the shell %s", asJSON, out)
	}
}
