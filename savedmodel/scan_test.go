package savedmodel_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wamuir/graft/tensorflow/core/framework/function_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/savedmodel"
	"github.com/residual-go/residual/savedmodel/modeltest"
)

func TestScanOfWhatIsExported(t *testing.T) {
	for _, name := range []string{modeltest.Small, modeltest.Tiny, modeltest.Pets, modeltest.Sizes, modeltest.Many, modeltest.Foreign} {
		info, err := savedmodel.Inspect(modeltest.Dir(t, name))
		if err != nil {
			t.Fatal(err)
		}
		all, refused := info.Scan(nil)
		if len(refused) > 0 || len(all) < 10 {
			t.Errorf("%s: %d kinds of operations, refused: %v", name, len(all), refused)
		}
		if !slices.IsSortedFunc(all, func(a, b savedmodel.Operation) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s: not sorted: %v", name, all)
		}
		if err := info.CheckOperations([]string{"serving_default"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// change gives a copy of a model another graph.
func change(t *testing.T, with func(*pb.MetaGraphDef)) *savedmodel.Info {
	t.Helper()
	info, err := savedmodel.Inspect(changed(t, func(model *pb.SavedModel) { with(model.GetMetaGraphs()[0]) }))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// changed is the directory of a changed copy.
func changed(t *testing.T, with func(*pb.SavedModel)) string {
	t.Helper()
	dir := modeltest.Copy(t, modeltest.Small)
	path := filepath.Join(dir, "saved_model.pb")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var model pb.SavedModel
	if err := proto.Unmarshal(data, &model); err != nil {
		t.Fatal(err)
	}
	with(&model)
	if data, err = proto.Marshal(&model); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TensorFlow loads the graph whose only tag is "serve": no other one may be looked at in
// its place.
func TestAModelHasOneGraph(t *testing.T) {
	for name, with := range map[string]func(*pb.SavedModel){
		"two": func(m *pb.SavedModel) { m.MetaGraphs = append(m.MetaGraphs, m.MetaGraphs[0]) },
		"another tag beside": func(m *pb.SavedModel) {
			m.MetaGraphs[0].MetaInfoDef.Tags = []string{"serve", "x"}
		},
	} {
		if _, err := savedmodel.Inspect(changed(t, with)); err == nil || !strings.Contains(err.Error(), `tagged "serve"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func function(t *testing.T, library *function_go_proto.FunctionDefLibrary, part string) *function_go_proto.FunctionDef {
	t.Helper()
	for _, f := range library.GetFunction() {
		name, _ := strings.CutSuffix(strings.TrimRight(f.GetSignature().GetName(), "0123456789"), "_")
		if strings.HasSuffix(name, part) {
			return f
		}
	}
	t.Fatalf("there is no function %s", part)
	return nil
}

func TestScanNamesWhatIsNotNeeded(t *testing.T) {
	add := func(op string) *node_def_go_proto.NodeDef { return &node_def_go_proto.NodeDef{Name: "evil", Op: op} }
	for name, c := range map[string]struct {
		change func(*graph_go_proto.GraphDef)
		op     string
		where  string
	}{
		"a node that writes files": {func(g *graph_go_proto.GraphDef) { g.Node = append(g.Node, add("WriteFile")) }, "WriteFile", "evil"},
		"Python":                   {func(g *graph_go_proto.GraphDef) { g.Node = append(g.Node, add("PyFunc")) }, "PyFunc", "evil"},
		"an end of the process":    {func(g *graph_go_proto.GraphDef) { g.Node = append(g.Node, add("Abort")) }, "Abort", "evil"},
		"an operation of others":   {func(g *graph_go_proto.GraphDef) { g.Node = append(g.Node, add("MyOwnOp")) }, "MyOwnOp", "evil"},
		"files where variables are saved": {func(g *graph_go_proto.GraphDef) {
			f := function(t, g.GetLibrary(), "traced_save")
			f.NodeDef = append(f.NodeDef, add("ReadFile"))
		}, "ReadFile", "traced_save"},
		"saving while restoring": {func(g *graph_go_proto.GraphDef) {
			f := function(t, g.GetLibrary(), "traced_restore")
			f.NodeDef = append(f.NodeDef, add("SaveV2"))
		}, "SaveV2", "traced_restore"},
		"restoring in a signature": {func(g *graph_go_proto.GraphDef) {
			f := function(t, g.GetLibrary(), "inference_serve")
			f.NodeDef = append(f.NodeDef, add("RestoreV2"))
		}, "RestoreV2", "inference_serve"},
		"a signature that calls the saver": {func(g *graph_go_proto.GraphDef) {
			f := function(t, g.GetLibrary(), "inference_serve")
			f.NodeDef = append(f.NodeDef, add(function(t, g.GetLibrary(), "traced_save").GetSignature().GetName()))
		}, "SaveV2", "traced_save"},
		"a signature that the saver says it needs": {func(g *graph_go_proto.GraphDef) {
			f := function(t, g.GetLibrary(), "inference_serve")
			f.NodeDef = append(f.NodeDef, add("SaveV2"))
			var callers []string
			for _, n := range g.GetNode() {
				if strings.HasPrefix(n.GetName(), "StatefulPartitionedCall") {
					callers = append(callers, "^"+n.GetName())
				}
			}
			for _, n := range g.GetNode() {
				if strings.Contains(n.String(), "traced_save") {
					for _, caller := range callers {
						if caller != "^"+n.GetName() {
							n.Input = append(n.Input, caller)
						}
					}
				}
			}
		}, "SaveV2", "inference_serve"},
		"a function that nobody calls": {func(g *graph_go_proto.GraphDef) {
			f := proto.Clone(function(t, g.GetLibrary(), "traced_restore")).(*function_go_proto.FunctionDef)
			f.Signature.Name, f.NodeDef = "idle", []*node_def_go_proto.NodeDef{add("MatchingFiles")}
			g.Library.Function = append(g.Library.Function, f)
		}, "MatchingFiles", "idle"},
	} {
		t.Run(name, func(t *testing.T) {
			info := change(t, func(g *pb.MetaGraphDef) { c.change(g.GetGraphDef()) })
			_, refused := info.Scan(nil)
			i := slices.IndexFunc(refused, func(o savedmodel.Operation) bool { return o.Name == c.op })
			if i < 0 || refused[i].Count != 1 || !strings.Contains(refused[i].Where, c.where) {
				t.Errorf("refused: %v", refused)
			}
			if err := info.CheckOperations(nil); err == nil || !strings.Contains(err.Error(), c.op+" (in ") {
				t.Errorf("error: %v", err)
			}
		})
	}
}

// What is not loaded cannot do harm.
func TestScanOfSomeSignatures(t *testing.T) {
	info := change(t, func(g *pb.MetaGraphDef) {
		f := function(t, g.GetGraphDef().GetLibrary(), "inference_train")
		f.NodeDef = append(f.NodeDef, &node_def_go_proto.NodeDef{Name: "evil", Op: "WriteFile"})
	})
	if err := info.CheckOperations([]string{"serving_default"}); err != nil {
		t.Error(err)
	}
	if err := info.CheckOperations([]string{"train"}); err == nil {
		t.Error("it is not found where it runs")
	}
}
