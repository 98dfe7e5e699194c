package savedmodel

import (
	"bufio"
	_ "embed" // the operations
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/wamuir/graft/tensorflow/core/framework/function_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/node_def_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
)

// A SavedModel is a program: TensorFlow's operations read and write files, open
// connections and call Python. Scan compares those of a model with what a
// classifier needs.

//go:embed ops.txt
var opsText string

// role is why a part of a graph runs.
type role string

const (
	runs     role = "" // when a signature is called, or the model is loaded
	restores role = "restore"
	saves    role = "save"
)

// harmless lists the operations of each role.
var harmless = sync.OnceValue(func() map[role]map[string]bool {
	ops := map[role]map[string]bool{runs: {}, restores: {}, saves: {}}
	for lines := bufio.NewScanner(strings.NewReader(opsText)); lines.Scan(); {
		line, why := lines.Text(), runs
		if strings.HasPrefix(line, "#") {
			continue
		}
		if before, rest, ok := strings.Cut(line, ":"); ok {
			line, why = rest, role(before)
		}
		for _, op := range strings.Fields(line) {
			ops[why][op] = true
		}
	}
	return ops
})

// Operation is a kind of operation in a model.
type Operation struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
	// Where is the first one, in the order of the file: a node of the graph, or a
	// function and a node of it.
	Where string `json:"where"`
}

// Scan returns the operations of what is loaded for signatures (nil stands for
// all), sorted by name, and those of them that a classifier does not need. What
// restores and saves the variables may do that, but nothing else with files.
func (i *Info) Scan(signatures []string) (all, refused []Operation) {
	graph := i.graph
	if signatures != nil && i.hasOthers(signatures) {
		graph = i.pruned(signatures)
	}
	s := &scan{functions: map[string]*function_go_proto.FunctionDef{}, nodes: map[string]*node_def_go_proto.NodeDef{}, all: map[string]*Operation{}, refused: map[string]*Operation{}}
	for _, f := range graph.GetGraphDef().GetLibrary().GetFunction() {
		s.functions[f.GetSignature().GetName()] = f
	}
	for _, n := range graph.GetGraphDef().GetNode() {
		s.nodes[n.GetName()] = n
	}
	s.walk(graph, i.saver)
	return s.sorted(s.all), s.sorted(s.refused)
}

type scan struct {
	functions    map[string]*function_go_proto.FunctionDef
	nodes        map[string]*node_def_go_proto.NodeDef
	all, refused map[string]*Operation
}

// walk looks at all nodes and functions: those that only the saver reaches with its
// allowances, all others without.
func (s *scan) walk(graph *pb.MetaGraphDef, saver saver) {
	reached := map[role]*reach{}
	for why, entry := range map[role]string{restores: saver.restore, saves: saver.save} {
		reached[why] = &reach{scan: s, nodes: map[string]bool{}, functions: map[string]bool{}}
		reached[why].node(entry)
	}
	others := &reach{scan: s, nodes: map[string]bool{}, functions: map[string]bool{}}
	// What is called or runs at the beginning, also where the saver says that it needs it.
	for _, def := range graph.GetSignatureDef() {
		for _, infos := range []map[string]*pb.TensorInfo{def.GetInputs(), def.GetOutputs()} {
			for _, info := range infos {
				others.node(info.GetName())
			}
		}
	}
	for _, n := range graph.GetGraphDef().GetNode() {
		if !reached[restores].nodes[n.GetName()] && !reached[saves].nodes[n.GetName()] {
			others.node(n.GetName())
		}
	}
	for _, f := range graph.GetGraphDef().GetLibrary().GetFunction() {
		if name := f.GetSignature().GetName(); !reached[restores].functions[name] && !reached[saves].functions[name] {
			others.function(name)
		}
	}
	reached[runs] = others
	counted := map[string]bool{}
	for _, why := range []role{runs, restores, saves} {
		s.check(graph, reached[why], why, counted)
	}
}

// check counts what is reached, each once, and refuses what its role does not need.
func (s *scan) check(graph *pb.MetaGraphDef, r *reach, why role, counted map[string]bool) {
	for _, n := range graph.GetGraphDef().GetNode() {
		if r.nodes[n.GetName()] {
			s.operation(n, n.GetName(), why, counted)
		}
	}
	for _, f := range graph.GetGraphDef().GetLibrary().GetFunction() {
		if name := f.GetSignature().GetName(); r.functions[name] {
			for _, n := range f.GetNodeDef() {
				s.operation(n, name+", "+n.GetName(), why, counted)
			}
		}
	}
}

func (s *scan) operation(n *node_def_go_proto.NodeDef, where string, why role, counted map[string]bool) {
	op := n.GetOp()
	if _, calls := s.functions[op]; calls {
		return
	}
	fresh := !counted[where]
	counted[where] = true
	count(s.all, op, where, fresh)
	if !harmless()[runs][op] && !harmless()[why][op] {
		count(s.refused, op, where, fresh || s.refused[op] == nil)
	}
}

func count(of map[string]*Operation, op, where string, fresh bool) {
	if of[op] == nil {
		of[op] = &Operation{Name: op, Where: where}
	}
	if fresh {
		of[op].Count++
	}
}

func (s *scan) sorted(of map[string]*Operation) []Operation {
	var operations []Operation
	for _, op := range slices.Sorted(maps.Keys(of)) {
		operations = append(operations, *of[op])
	}
	return operations
}

// reach is what a role's parts lead to.
type reach struct {
	*scan
	nodes, functions map[string]bool
}

// node adds a node of the graph, by the name of it or of one of its outputs.
func (r *reach) node(name string) {
	name, _, _ = strings.Cut(strings.TrimPrefix(name, "^"), ":")
	n, ok := r.scan.nodes[name]
	if !ok || r.nodes[name] {
		return
	}
	r.nodes[name] = true
	for _, input := range n.GetInput() {
		r.node(input)
	}
	for _, f := range functionsOf(n) {
		r.function(f)
	}
}

func (r *reach) function(name string) {
	f, ok := r.scan.functions[name]
	if !ok || r.functions[name] {
		return
	}
	r.functions[name] = true
	for _, n := range f.GetNodeDef() {
		for _, called := range functionsOf(n) {
			r.function(called)
		}
	}
}

// CheckOperations returns an error that names the operations of what is loaded for
// signatures that a classifier does not need, see Scan.
func (i *Info) CheckOperations(signatures []string) error {
	_, refused := i.Scan(signatures)
	if len(refused) == 0 {
		return nil
	}
	var names []string
	for _, op := range refused {
		names = append(names, fmt.Sprintf("%s (in %s)", op.Name, op.Where))
	}
	const most = 5
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", more))
	}
	return fmt.Errorf("check operations: %s: a classifier needs none of: %s", i.Dir, strings.Join(names, ", "))
}
