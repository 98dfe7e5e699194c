package cli_test

import (
	"testing"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

func TestInspect(t *testing.T) {
	for _, model := range []string{modeltest.Small, modeltest.Pets, modeltest.Foreign} {
		t.Run(model, func(t *testing.T) {
			dir := modeltest.Dir(t, model)
			checkOutput(t, "inspect/"+model+".txt", stable(must(t, "inspect", "--model", dir).stdout))
			checkOutput(t, "inspect/"+model+".json", stable(must(t, "inspect", "--json", "--model", dir).stdout))
		})
	}
}

func TestInspectTakesTheFolderAsAnArgument(t *testing.T) {
	dir := modeltest.Dir(t, modeltest.Small)
	if a, b := must(t, "inspect", dir), must(t, "inspect", "--model", dir); a != b {
		t.Errorf("inspect DIR prints\n%s\ninspect --model DIR\n%s", a.stdout, b.stdout)
	}
}
