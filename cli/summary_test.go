package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/savedmodel/modeltest"
)

// described makes a SavedModel that holds nothing but a description.
func described(t *testing.T, metadata string) string {
	t.Helper()
	graph, err := proto.Marshal(&pb.SavedModel{MetaGraphs: []*pb.MetaGraphDef{
		{MetaInfoDef: &pb.MetaGraphDef_MetaInfoDef{Tags: []string{"serve"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "saved_model.pb"), graph)
	write(t, filepath.Join(dir, "assets.extra", "residual.json"), []byte(metadata))
	return dir
}

// testdata/resnet50.json is the residual.json of `residual export` with all
// defaults: the article's model. The table is what Keras 3.15's model.summary()
// prints of it, byte for byte.
func TestSummaryOfTheFullModel(t *testing.T) {
	dir := described(t, read(t, "testdata/resnet50.json"))
	text := must(t, "summary", "--model", dir).stdout
	checkOutput(t, "summary/resnet50.txt", text)
	for _, count := range []string{"26,215,818", "26,162,698", "53,120", "23,587,712", "2,098,176", "524,800", "5,130"} {
		if !strings.Contains(text, count) {
			t.Errorf("the article's %s is missing:\n%s", count, text)
		}
	}
	checkOutput(t, "summary/resnet50.json", must(t, "summary", "--json", "--model", dir).stdout)
}

func TestSummaryOfASmallModel(t *testing.T) {
	dir := modeltest.Dir(t, modeltest.Pets)
	checkOutput(t, "summary/pets.txt", must(t, "summary", "--model", dir).stdout)
	checkOutput(t, "summary/pets.json", must(t, "summary", "--json", "--model", dir).stdout)
}

// Lines are as wide as Keras's, whatever the layers are called. Keras 3.15
// prints these rows.
func TestSummaryOfLongNames(t *testing.T) {
	metadata := strings.Replace(read(t, "testdata/resnet50.json"), `"up_sampling2d"`, `"a_`+strings.Repeat("x", 40)+`"`, 1)
	metadata = strings.Replace(metadata, `"flatten"`, `"größer_als_zwanzig_zeichen_ü"`, 1)
	text := must(t, "summary", "--model", described(t, metadata)).stdout
	for _, rows := range []string{
		"│ a_xxxxxxxxxxxxxxxxxxxxxxxxxxxx… │ (None, 224, 224, 3)    │             0 │\n" +
			"│ (UpSampling2D)                  │                        │               │\n",
		"│ größer_als_zwanzig_zeichen_ü    │ (None, 2048)           │             0 │\n" +
			"│ (Flatten)                       │                        │               │\n",
	} {
		if !strings.Contains(text, rows) {
			t.Errorf("the table lacks\n%sit is\n%s", rows, text)
		}
	}
}
