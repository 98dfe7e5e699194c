package savedmodel

import (
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
)

// place returns a directory that TensorFlow loads the model from, until done is
// called: its own, or one whose graph has only the signatures that are wanted.
// Opening a model takes TensorFlow a third of a second for each megabyte of its
// functions.
func (i *Info) place(signatures []string) (dir string, done func(), err error) {
	if signatures == nil || !i.hasOthers(signatures) {
		return alias(i.Dir)
	}
	folder, err := i.withGraph(i.pruned(signatures))
	if err != nil { // there is nowhere to write to: it only takes longer
		return alias(i.Dir)
	}
	dir, unalias, err := alias(folder)
	if err != nil {
		os.RemoveAll(folder)
		return "", nil, err
	}
	return dir, func() { unalias(); os.RemoveAll(folder) }, nil
}

func (i *Info) hasOthers(signatures []string) bool {
	return slices.ContainsFunc(i.SignatureNames(), func(name string) bool { return !slices.Contains(signatures, name) })
}

// pruned is the graph without the functions that only other signatures call. It
// shares its parts with the graph.
func (i *Info) pruned(signatures []string) *pb.MetaGraphDef {
	wanted, all := i.callers(signatures), i.callers(i.SignatureNames())
	graph := i.graph.GetGraphDef()
	nodes := slices.DeleteFunc(slices.Clone(graph.GetNode()), func(n *node_def_go_proto.NodeDef) bool {
		return all[n.GetName()] && !wanted[n.GetName()]
	})
	library := &function_go_proto.FunctionDefLibrary{
		Function: called(nodes, graph.GetLibrary().GetFunction()), Gradient: graph.GetLibrary().GetGradient(),
	}
	table := maps.Clone(i.graph.GetSignatureDef())
	maps.DeleteFunc(table, func(name string, _ *pb.SignatureDef) bool {
		_, known := i.signatures[name]
		return known && !slices.Contains(signatures, name)
	})
	return &pb.MetaGraphDef{
		MetaInfoDef: i.graph.GetMetaInfoDef(), SaverDef: i.graph.GetSaverDef(), CollectionDef: i.graph.GetCollectionDef(),
		SignatureDef: table, AssetFileDef: i.graph.GetAssetFileDef(),
		GraphDef: &graph_go_proto.GraphDef{Node: nodes, Versions: graph.GetVersions(), Library: library},
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

// called are the functions that nodes call, and those that these call.
func called(nodes []*node_def_go_proto.NodeDef, library []*function_go_proto.FunctionDef) []*function_go_proto.FunctionDef {
	byName := map[string]*function_go_proto.FunctionDef{}
	for _, f := range library {
		byName[f.GetSignature().GetName()] = f
	}
	reached := map[string]bool{}
	var visit func(nodes []*node_def_go_proto.NodeDef)
	visit = func(nodes []*node_def_go_proto.NodeDef) {
		for _, n := range nodes {
			names := []string{n.GetOp()} // a function can be an operation
			for _, value := range n.GetAttr() {
				names = append(names, functionsOf(value)...)
			}
			for _, name := range names {
				if f, ok := byName[name]; ok && !reached[name] {
					reached[name] = true
					visit(f.GetNodeDef())
				}
			}
		}
	}
	visit(nodes)
	return slices.DeleteFunc(slices.Clone(library), func(f *function_go_proto.FunctionDef) bool {
		return !reached[f.GetSignature().GetName()]
	})
}

func functionsOf(value *attrs.AttrValue) []string {
	names := []string{value.GetFunc().GetName()}
	for _, f := range value.GetList().GetFunc() {
		names = append(names, f.GetName())
	}
	return names
}

// withGraph makes a temporary directory with another graph and links to all
// else.
func (i *Info) withGraph(graph *pb.MetaGraphDef) (folder string, err error) {
	data, err := proto.Marshal(&pb.SavedModel{SavedModelSchemaVersion: 1, MetaGraphs: []*pb.MetaGraphDef{graph}})
	if err != nil {
		return "", err
	}
	dir, err := filepath.Abs(i.Dir)
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	if folder, err = os.MkdirTemp("", "residual-graph-"); err != nil {
		return "", err
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
		os.RemoveAll(folder)
		return "", fmt.Errorf("write graph: %w", err)
	}
	return folder, nil
}
