package savedmodel

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	attrs "github.com/wamuir/graft/tensorflow/core/framework/attr_value_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/function_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/graph_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/internal/disk"
	"github.com/residual-go/residual/tfgo"
)

// load opens the signatures that are wanted, with loops for those that hold examples.
// Opening a model takes TensorFlow a third of a second for each megabyte of its
// functions, so it gets a graph that has only these. Where that fails it gets the model as
// it is, without loops; its name is in the error then.
func (i *Info) load(o Options) (*tfgo.Session, held, error) {
	h := held{examples: map[string]int{}}
	if len(o.Held) > 0 || o.Signatures != nil && i.hasOthers(o.Signatures) {
		names := o.Signatures
		if names == nil {
			names = i.SignatureNames()
		}
		graph := i.pruned(names)
		h.loops, h.errs = i.addLoops(graph, o.Held)
		session, err := i.loadGraph(graph, o)
		if err == nil {
			return session, h, nil
		}
		for _, name := range o.Held {
			h.errs[name] = err
		}
	}
	session, err := loadFrom(i.Dir, o)
	return session, h, err
}

// loadGraph opens the model with another graph than its own.
func (i *Info) loadGraph(graph *pb.MetaGraphDef, o Options) (*tfgo.Session, error) {
	folder, remove, err := i.withGraph(graph)
	if err != nil {
		return nil, err
	}
	defer remove()
	session, err := loadFrom(folder, o)
	if err != nil {
		return nil, err
	}
	// TensorFlow takes a model whose variables it does not find for one without any.
	if _, err := os.Stat(filepath.Join(folder, graphFile)); err != nil {
		return nil, errors.Join(fmt.Errorf("somebody has removed a folder that is in use: %w", err), session.Close())
	}
	return session, nil
}

func loadFrom(dir string, o Options) (*tfgo.Session, error) {
	dir, done, err := alias(dir)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	defer done()
	return tfgo.LoadSavedModel(dir, tfgo.Options{Threads: o.Threads, Precision: o.Precision, Target: o.Target})
}

func (i *Info) hasOthers(signatures []string) bool {
	return slices.ContainsFunc(i.SignatureNames(), func(name string) bool { return !slices.Contains(signatures, name) })
}

// pruned is the graph without the functions that only other signatures call. It
// shares its parts with the graph.
func (i *Info) pruned(signatures []string) *pb.MetaGraphDef {
	graph := i.graph.GetGraphDef()
	nodes := without(graph.GetNode(), i.callers(signatures), i.callers(i.SignatureNames()))
	table := maps.Clone(i.graph.GetSignatureDef())
	maps.DeleteFunc(table, func(name string, _ *pb.SignatureDef) bool {
		_, known := i.signatures[name]
		return known && !slices.Contains(signatures, name)
	})
	return &pb.MetaGraphDef{
		MetaInfoDef: i.graph.GetMetaInfoDef(), SaverDef: i.graph.GetSaverDef(), CollectionDef: i.graph.GetCollectionDef(),
		SignatureDef: table, AssetFileDef: i.graph.GetAssetFileDef(),
		GraphDef: &graph_go_proto.GraphDef{Node: nodes, Versions: graph.GetVersions(), Library: called(nodes, graph.GetLibrary())},
	}
}

// callers are the nodes that call the functions of signatures, by name.
func (i *Info) callers(signatures []string) map[string]bool {
	nodes := map[string]bool{}
	for _, name := range signatures {
		for _, output := range i.signatures[name].outputs {
			node, _, _ := strings.Cut(output, ":")
			nodes[node] = true
		}
	}
	return nodes
}

// without leaves out the callers of functions that are not wanted, but for those
// whose results others read.
func without(nodes []*node_def_go_proto.NodeDef, wanted, all map[string]bool) []*node_def_go_proto.NodeDef {
	for {
		kept := slices.DeleteFunc(slices.Clone(nodes), func(n *node_def_go_proto.NodeDef) bool {
			return all[n.GetName()] && !wanted[n.GetName()]
		})
		rescued := false
		for _, n := range kept {
			for _, input := range n.GetInput() {
				name, _, _ := strings.Cut(strings.TrimPrefix(input, "^"), ":")
				if all[name] && !wanted[name] {
					wanted[name], rescued = true, true
				}
			}
		}
		if !rescued {
			return kept
		}
	}
}

// called is the library less what neither nodes nor functions that they call
// need.
func called(nodes []*node_def_go_proto.NodeDef, library *function_go_proto.FunctionDefLibrary) *function_go_proto.FunctionDefLibrary {
	functions, gradients := map[string]*function_go_proto.FunctionDef{}, map[string]string{}
	for _, f := range library.GetFunction() {
		functions[f.GetSignature().GetName()] = f
	}
	for _, g := range library.GetGradient() {
		gradients[g.GetFunctionName()] = g.GetGradientFunc()
	}
	reached := map[string]bool{}
	var reach func(names ...string)
	reach = func(names ...string) {
		for _, name := range names {
			f, ok := functions[name]
			if !ok || reached[name] {
				continue
			}
			reached[name] = true
			reach(gradients[name])
			for _, n := range f.GetNodeDef() {
				reach(functionsOf(n)...)
			}
		}
	}
	for _, n := range nodes {
		reach(functionsOf(n)...)
	}
	return &function_go_proto.FunctionDefLibrary{
		Function: slices.DeleteFunc(slices.Clone(library.GetFunction()), func(f *function_go_proto.FunctionDef) bool {
			return !reached[f.GetSignature().GetName()]
		}),
		Gradient: slices.DeleteFunc(slices.Clone(library.GetGradient()), func(g *function_go_proto.GradientDef) bool {
			return !reached[g.GetFunctionName()]
		}),
	}
}

// functionsOf are the names of the functions that a node may call: it can be one
// itself.
func functionsOf(n *node_def_go_proto.NodeDef) []string {
	names := []string{n.GetOp()}
	var add func(with map[string]*attrs.AttrValue)
	add = func(with map[string]*attrs.AttrValue) {
		for _, value := range with {
			for _, f := range append(value.GetList().GetFunc(), value.GetFunc()) {
				names = append(names, f.GetName())
				add(f.GetAttr())
			}
		}
	}
	add(n.GetAttr())
	return names
}

// withGraph makes a temporary directory with another graph and links to all
// else, until remove is called.
func (i *Info) withGraph(graph *pb.MetaGraphDef) (folder string, remove func(), err error) {
	data, err := proto.Marshal(&pb.SavedModel{SavedModelSchemaVersion: 1, MetaGraphs: []*pb.MetaGraphDef{graph}})
	if err != nil {
		return "", nil, err
	}
	dir, err := filepath.Abs(i.Dir)
	if err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", nil, err
	}
	if folder, remove, err = disk.Temporary("graph"); err != nil {
		return "", nil, err
	}
	for _, entry := range entries {
		if name := entry.Name(); err == nil && name != graphFile {
			err = os.Symlink(filepath.Join(dir, name), filepath.Join(folder, name))
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, graphFile), data, 0o600)
	}
	if err != nil {
		remove()
		return "", nil, err
	}
	return folder, remove, nil
}
