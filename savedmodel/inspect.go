package savedmodel

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	pb "github.com/wamuir/graft/tensorflow/core/protobuf/for_core_protos_go_proto"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/savedmodel/bundle"
	"github.com/residual-go/residual/tfgo/tensor"
)

// Info is what the files of a SavedModel say.
type Info struct {
	Dir        string     // of the SavedModel itself
	TensorFlow string     // the version that wrote it
	Tags       []string   // of its graph
	Size       int64      // of all files, bytes
	Variables  []Variable // sorted by name
	Metadata   Metadata
	// RawMetadata is residual.json as it is, with what Metadata leaves out; nil if
	// the model has none.
	RawMetadata json.RawMessage
	// Fingerprint tells this model from any other, wherever it is: the SHA-256
	// of its files' names and bytes, in hexadecimal. For the variables' data it
	// goes by the checksums in their index.
	Fingerprint string

	files      snapshot
	graph      *pb.MetaGraphDef
	signatures map[string]signature
	saver      saver
}

// Variable is a tensor that the model keeps between calls.
type Variable struct {
	Name  string // such as "weights/dense/kernel"
	DType tensor.DType
	Shape []int
	Size  int64 // bytes
}

// saver names the operations that write and read a model's variables
// (MetaGraphDef.saver_def).
type saver struct {
	filename string // the tensor that is fed with the files' prefix
	save     string // the tensor that is fetched
	restore  string // the operation that is run
}

// SignatureNames lists the functions of the model, sorted.
func (i *Info) SignatureNames() []string {
	return slices.Sorted(maps.Keys(i.signatures))
}

// Signature describes a function; false if the model has none of that name.
func (i *Info) Signature(name string) (tensor.Signature, bool) {
	s, ok := i.signatures[name]
	return s.public, ok
}

// Inspect reads the files of the model in dir, which may be all that Resolve
// takes, and checks that they are whole: that the variables' files are there
// and not cut.
func Inspect(dir string) (*Info, error) {
	dir, err := Resolve(dir)
	if err != nil {
		return nil, err
	}
	files, err := readSnapshot(dir)
	if err != nil {
		return nil, err
	}
	version, graph, err := readGraph(files, filepath.Join(dir, graphFile))
	if err != nil {
		return nil, err
	}
	info := &Info{
		Dir:        dir,
		TensorFlow: version,
		Tags:       graph.GetMetaInfoDef().GetTags(),
		files:      files,
		graph:      graph,
		signatures: signaturesOf(graph),
		saver: saver{
			filename: graph.GetSaverDef().GetFilenameTensorName(),
			save:     graph.GetSaverDef().GetSaveTensorName(),
			restore:  graph.GetSaverDef().GetRestoreOpName(),
		},
	}
	if info.Variables, err = readVariables(dir, graph); err != nil {
		return nil, err
	}
	if info.Metadata, info.RawMetadata, err = readMetadata(files, dir, info.signatures); err != nil {
		return nil, err
	}
	if info.Fingerprint, err = files.fingerprint(dir); err != nil {
		return nil, err
	}
	info.Size, err = sizeOf(dir)
	return info, err
}

// readGraph returns the graph tagged "serve" and the version of TensorFlow that
// wrote it. path is what errors call it.
func readGraph(files snapshot, path string) (string, *pb.MetaGraphDef, error) {
	data, ok := files[graphFile]
	if !ok {
		return "", nil, fmt.Errorf("read model: %s: %w", path, fs.ErrNotExist)
	}
	var model pb.SavedModel
	if err := proto.Unmarshal(data, &model); err != nil {
		return "", nil, fmt.Errorf("read model: %s is no SavedModel, or it was cut: %w", path, err)
	}
	// TensorFlow loads the graph whose only tag is that one. What is looked at must be
	// what is loaded.
	var found []*pb.MetaGraphDef
	for _, graph := range model.GetMetaGraphs() {
		if slices.Equal(graph.GetMetaInfoDef().GetTags(), []string{"serve"}) {
			found = append(found, graph)
		}
	}
	switch len(found) {
	case 0:
		return "", nil, fmt.Errorf("read model: %s has no graph tagged \"serve\" alone", path)
	case 1:
	default:
		return "", nil, fmt.Errorf("read model: %s has %d graphs tagged \"serve\"", path, len(found))
	}
	return found[0].GetMetaInfoDef().GetTensorflowVersion(), found[0], nil
}

// readVariables lists the variables' checkpoint. TensorFlow opens a model whose
// checkpoint is missing without a word, and fails at the first call.
func readVariables(dir string, graph *pb.MetaGraphDef) ([]Variable, error) {
	entries, err := bundle.Read(filepath.Join(dir, "variables", "variables"))
	if errors.Is(err, fs.ErrNotExist) && !hasVariables(graph) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	// TensorFlow hangs this on the name of each object that is a variable; what
	// has no such ending is its own book-keeping.
	const ending = "/.ATTRIBUTES/VARIABLE_VALUE"
	unescape := strings.NewReplacer("..", ".", ".S", "/") // as in TensorFlow's trackable_utils.py
	var variables []Variable
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Key, ending); ok {
			variables = append(variables, Variable{Name: unescape.Replace(name), DType: e.DType, Shape: e.Shape, Size: e.Size})
		}
	}
	return variables, nil
}

func hasVariables(graph *pb.MetaGraphDef) bool {
	for _, node := range graph.GetGraphDef().GetNode() {
		if node.GetOp() == "VarHandleOp" || node.GetOp() == "VariableV2" {
			return true
		}
	}
	return false
}

// sizeOf adds up the files of a directory, following links.
func sizeOf(dir string) (int64, error) {
	var size int64
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := os.Stat(filepath.Join(dir, name))
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("measure model: %w", err)
	}
	return size, nil
}

func signaturesOf(graph *pb.MetaGraphDef) map[string]signature {
	signatures := map[string]signature{}
	for name, def := range graph.GetSignatureDef() {
		if strings.HasPrefix(name, "__") { // __saved_model_init_op and its like
			continue
		}
		var s signature
		s.public.Inputs, s.inputs = specsOf(def.GetInputs())
		s.public.Outputs, s.outputs = specsOf(def.GetOutputs())
		signatures[name] = s
	}
	return signatures
}

func specsOf(infos map[string]*pb.TensorInfo) ([]tensor.Spec, map[string]string) {
	specs := make([]tensor.Spec, 0, len(infos))
	names := make(map[string]string, len(infos))
	for _, name := range slices.Sorted(maps.Keys(infos)) {
		info := infos[name]
		spec := tensor.Spec{Name: name, DType: tensor.DType(info.GetDtype())}
		spec.Shape, spec.AnyRank = shapeOf(info.GetTensorShape())
		specs = append(specs, spec)
		names[name] = info.GetName()
	}
	return specs, names
}

func shapeOf(shape *tensor_shape_go_proto.TensorShapeProto) (dims []int, anyRank bool) {
	if shape == nil || shape.GetUnknownRank() {
		return nil, true
	}
	dims = make([]int, len(shape.GetDim()))
	for i, dim := range shape.GetDim() {
		dims[i] = int(dim.GetSize()) // -1, AnySize, where it is free
	}
	return dims, false
}
