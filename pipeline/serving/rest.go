package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	serving "github.com/wamuir/graft/tensorflow/serving/apis_go_proto"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/pipeline/serving/tensorjson"
	"github.com/residual-go/residual/tfgo/tensor"
)

// The paths of TensorFlow Serving's REST API
// (https://www.tensorflow.org/tfx/serving/api_rest).
var (
	postPath = regexp.MustCompile(`^(?i:/v1/models)/([^/:]+)(?:(?i:/versions)/(\d+)|(?i:/labels)/([^/:]+))?:(?i:(classify|regress|predict))$`)
	getPath  = regexp.MustCompile(`^(?i:/v1/models)/([^/:]+)(?:(?i:/versions)/(\d+)|(?i:/labels)/([^/:]+))?(/metadata)?$`)
)

// target is what a path asks for.
type target struct {
	model string
	which which
	verb  string // what stands behind
}

// readTarget reads a path that has parts for the model, a version and a label.
func readTarget(pattern *regexp.Regexp, path string) (target, bool, error) {
	parts := pattern.FindStringSubmatch(path)
	if parts == nil {
		return target{}, false, nil
	}
	t := target{verb: strings.ToLower(parts[4])}
	var err error
	if t.model, err = url.PathUnescape(parts[1]); err == nil {
		t.which.label, err = url.PathUnescape(parts[3])
	}
	if err != nil {
		return target{}, false, ofKind(ErrInput, err)
	}
	if parts[2] != "" {
		t.which, err = readNumber(parts[2])
	}
	return t, true, err
}

// rest answers what TensorFlow Serving does.
func (s *Server) rest(x *exchange, r *http.Request) error {
	x.route = "rest"
	pattern := getPath
	if r.Method == http.MethodPost {
		pattern = postPath
	}
	t, ok, err := readTarget(pattern, r.URL.EscapedPath())
	switch {
	case err != nil:
		return err
	case !ok || r.Method != http.MethodPost && r.Method != http.MethodGet:
		return errorf(ErrInput, "Malformed request: %s %s", r.Method, r.URL.Path)
	case r.Method == http.MethodGet && t.verb == "":
		x.route = "rest_status"
		return s.restStatus(x, t)
	case r.Method == http.MethodGet:
		x.route = "rest_metadata"
		return s.restMetadata(x, t)
	case t.verb == "classify":
		x.route = "classify"
		return s.classify(x, r, t)
	case t.verb == "regress":
		return errorf(ErrNotImplemented, ":regress wants tf.Examples, which this server does not read; there is :predict")
	}
	x.route = "rest_predict"
	body, err := s.bodyFor(x, r, t)
	if err != nil {
		return err
	}
	var answer []byte
	err = s.use(x, t, func(v *version) error {
		answer, err = s.restPredict(r.Context(), v, body)
		return err
	})
	if err == nil {
		write(x, http.StatusOK, "application/json", answer)
	}
	return err
}

// bodyFor takes a place among the requests at once, and reads the body; not if the
// request would be refused for what waits already, which costs as little as can be.
func (s *Server) bodyFor(x *exchange, r *http.Request, t target) ([]byte, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	x.entered = true
	err := s.use(x, t, func(v *version) error {
		if len(v.batchers) > 1 { // the body says which
			return nil
		}
		return v.batchers[v.signature].full()
	})
	if err != nil {
		s.metrics.countRejected(err)
		return nil, err
	}
	return s.body(x, r)
}

// use lets do have the version that is asked for, which is not unloaded meanwhile.
// The answer is written afterwards: a client may take long to read it.
func (s *Server) use(x *exchange, t target, do func(*version) error) error {
	v, err := s.table.acquire(t.model, t.which)
	if err != nil {
		return err
	}
	defer v.uses.Done()
	x.model = v.Name
	return do(v)
}

// restPredict answers a :predict request in the form, of rows or columns, that it
// has.
func (s *Server) restPredict(ctx context.Context, v *version, body []byte) ([]byte, error) {
	fields, err := tensorjson.ReadObject(body)
	if err != nil {
		return nil, ofKind(ErrInput, err)
	}
	name := ""
	if text, ok := fields["signature_name"]; ok && json.Unmarshal(text, &name) != nil {
		return nil, errorf(ErrInput, "'signature_name' key must be a string value")
	}
	b, err := v.batcher(name)
	if err != nil {
		return nil, err
	}
	instances, byRow := fields["instances"]
	columns, byColumn := fields["inputs"]
	var inputs tensors
	switch {
	case byRow && byColumn:
		return nil, errorf(ErrInput, "expecting only one of 'inputs' or 'instances' keys to exist")
	case byRow:
		inputs, err = readRows(instances, b.signature.Inputs, s.options.Limits.Images)
	case byColumn:
		inputs, err = readColumns(columns, b.signature.Inputs)
	default:
		return nil, errorf(ErrInput, "Missing 'inputs' or 'instances' key")
	}
	if err != nil {
		return nil, ofKind(ErrInput, err)
	}
	outputs, err := s.call(ctx, b, inputs)
	if err != nil {
		return nil, err
	}
	if byRow {
		return writeRows(outputs)
	}
	return writeColumns(outputs)
}

// batcher finds a function; "" is the one that a request without a name means.
func (v *version) batcher(name string) (*Batcher, error) {
	if name == "" {
		name = v.signature
	}
	b, ok := v.batchers[name]
	if !ok {
		return nil, errorf(ErrInput, "Serving signature name: %q not found in signature def", name)
	}
	return b, nil
}

// call calls a function with no more images than a request may have.
func (s *Server) call(ctx context.Context, b *Batcher, inputs tensors) (tensors, error) {
	for name, input := range inputs {
		if shape := input.Shape(); b.joins && len(shape) > 0 && shape[0] > s.options.Limits.Images {
			s.metrics.reject("images")
			return nil, errorf(ErrInput, "%q has %d images, at most %d may be in a request", name, shape[0], s.options.Limits.Images)
		}
	}
	outputs, err := b.Call(ctx, inputs)
	s.metrics.countRejected(err)
	return outputs, err
}

// readRows reads 'instances': a list of values for the only input, or of objects
// with a value for each, at most so many of these.
func readRows(text []byte, specs []tensor.Spec, most int) (tensors, error) {
	if !tensorjson.IsListOfObjects(text) {
		if len(specs) > 1 {
			return nil, fmt.Errorf("instances is a plain list, but expecting list of objects as multiple input tensors are required: %s", strings.Join(tensor.Names(specs), ", "))
		}
		one, err := tensorjson.Read(text, specs[0].DType)
		switch shape := one.Shape(); {
		case err != nil:
			return nil, err
		case len(shape) == 0:
			return nil, fmt.Errorf("expecting 'instances' to be an list/array")
		case shape[0] == 0:
			return nil, fmt.Errorf("no values in 'instances' array")
		}
		return tensors{specs[0].Name: one}, nil
	}
	items, err := tensorjson.Elements(text, most)
	if err != nil {
		return nil, fmt.Errorf("'instances' list: %w", err)
	}
	columns := map[string][]tensor.Tensor{}
	for i, item := range items {
		fields, err := tensorjson.ReadObject(item)
		if err == nil {
			err = appendRow(columns, fields, specs)
		}
		if err != nil {
			return nil, fmt.Errorf("failed to process element: %d of 'instances' list: %w", i, err)
		}
	}
	inputs := tensors{}
	for name, column := range columns {
		if inputs[name], err = tensorjson.Stack(column); err != nil {
			return nil, fmt.Errorf("'instances' list, key %q: %w", name, err)
		}
	}
	return inputs, nil
}

func appendRow(columns map[string][]tensor.Tensor, fields map[string][]byte, specs []tensor.Spec) error {
	for _, s := range specs {
		text, ok := fields[s.Name]
		if !ok || len(fields) != len(specs) {
			return fmt.Errorf("keys must be equal to: %s", strings.Join(tensor.Names(specs), ","))
		}
		one, err := tensorjson.Read(text, s.DType)
		if err != nil {
			return fmt.Errorf("key %s: %w", s.Name, err)
		}
		columns[s.Name] = append(columns[s.Name], one)
	}
	return nil
}

// readColumns reads 'inputs': the value of the only input, or an object with one
// for each.
func readColumns(text []byte, specs []tensor.Spec) (tensors, error) {
	if !tensorjson.IsObject(text) {
		if len(specs) > 1 {
			return nil, fmt.Errorf("inputs is a plain value/list, but expecting an object as multiple input tensors are required: %s", strings.Join(tensor.Names(specs), ", "))
		}
		one, err := tensorjson.Read(text, specs[0].DType)
		return tensors{specs[0].Name: one}, err
	}
	fields, err := tensorjson.ReadObject(text)
	if err != nil {
		return nil, err
	}
	inputs := tensors{}
	for _, s := range specs {
		column, ok := fields[s.Name]
		if !ok {
			return nil, fmt.Errorf("missing named input: %s in 'inputs' object", s.Name)
		}
		if inputs[s.Name], err = tensorjson.Read(column, s.DType); err != nil {
			return nil, fmt.Errorf("input %s: %w", s.Name, err)
		}
	}
	return inputs, nil
}

// writeRows writes 'predictions': a value for each row, or an object if there are
// several outputs.
func writeRows(outputs tensors) ([]byte, error) {
	names := slices.Sorted(maps.Keys(outputs))
	n, err := writableRows(outputs, names)
	if err != nil {
		return nil, err
	}
	text := []byte("{\n    \"predictions\": [")
	for i := range n {
		if i > 0 {
			text = append(text, ',')
		}
		row, err := rows(outputs, i, 1)
		if err != nil {
			return nil, err
		}
		text = append(text, "\n        "...)
		if len(names) > 1 {
			text = append(text, '{')
		}
		for j, name := range names {
			if j > 0 {
				text = append(text, ", "...)
			}
			if len(names) > 1 {
				text = append(appendString(text, name), ": "...)
			}
			value, err := tensor.FromBytes(row[name].DType(), row[name].Bytes(), row[name].Shape()[1:]...)
			if err != nil {
				return nil, err
			}
			text = tensorjson.Append(text, value)
		}
		if len(names) > 1 {
			text = append(text, '}')
		}
	}
	return append(text, "\n    ]\n}"...), nil
}

// writableRows returns how many rows the outputs have, which must be as many in
// all of them.
func writableRows(outputs tensors, names []string) (int, error) {
	n := 0
	for i, name := range names {
		output := outputs[name]
		switch shape := output.Shape(); {
		case !tensorjson.Writes(output.DType()):
			return 0, errorf(ErrInput, "output %q: %v has no form in JSON", name, output.DType())
		case len(shape) == 0:
			return 0, errorf(ErrInput, "Tensor name: %s has no shape information: ask in columns, by 'inputs'", name)
		case i > 0 && shape[0] != n:
			return 0, errorf(ErrInput, "Tensor name: %s has inconsistent batch size: %d expecting: %d: ask in columns, by 'inputs'", name, shape[0], n)
		default:
			n = shape[0]
		}
	}
	return n, nil
}

// writeColumns writes 'outputs': the value of the only one, or an object.
func writeColumns(outputs tensors) ([]byte, error) {
	names := slices.Sorted(maps.Keys(outputs))
	text := []byte("{\n    \"outputs\": ")
	if len(names) > 1 {
		text = append(text, '{')
	}
	for i, name := range names {
		if !tensorjson.Writes(outputs[name].DType()) {
			return nil, errorf(ErrInput, "output %q: %v has no form in JSON", name, outputs[name].DType())
		}
		if i > 0 {
			text = append(text, ',')
		}
		if len(names) > 1 {
			text = append(text, "\n        "...)
			text = append(appendString(text, name), ": "...)
		}
		text = tensorjson.Append(text, outputs[name])
	}
	if len(names) > 1 {
		text = append(text, "\n    }"...)
	}
	return append(text, "\n}"...), nil
}

func appendString(text []byte, value string) []byte {
	quoted, _ := json.Marshal(value) // a string always can be
	return append(text, quoted...)
}

// restStatus answers which versions there are.
func (s *Server) restStatus(x *exchange, t target) error {
	status, err := s.modelStatus(t.model, t.which)
	if err != nil {
		return err
	}
	x.model = t.model
	return writeProto(x, status)
}

// restMetadata answers what functions a version has.
func (s *Server) restMetadata(x *exchange, t target) error {
	var answer any
	err := s.use(x, t, func(v *version) error {
		signatures, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(v.signatureDefs())
		answer = map[string]any{
			"model_spec": map[string]string{"name": v.Name, "signature_name": "", "version": fmt.Sprint(v.Number)},
			"metadata":   map[string]json.RawMessage{"signature_def": signatures},
		}
		return err
	})
	if err == nil {
		writeJSON(x, http.StatusOK, answer)
	}
	return err
}

// writeProto answers with a message of TensorFlow Serving's.
func writeProto(x *exchange, message proto.Message) error {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true, Multiline: true, Indent: " "}.Marshal(message)
	if err != nil {
		return fmt.Errorf("write status: %w", err)
	}
	write(x, http.StatusOK, "application/json", text)
	return nil
}

// modelStatus answers for a version, or all that there are.
func (s *Server) modelStatus(name string, w which) (*serving.GetModelStatusResponse, error) {
	if name == "" {
		return nil, errorf(ErrInput, "Missing model name in request")
	}
	if w.label != "" {
		v, err := s.table.acquire(name, w)
		if err != nil {
			return nil, err
		}
		w = which{number: &v.Number}
		v.uses.Done()
	}
	response := &serving.GetModelStatusResponse{}
	for _, one := range s.table.statuses(name) {
		if w.number == nil || *w.number == one.number {
			response.ModelVersionStatus = append(response.ModelVersionStatus, one.message())
		}
	}
	switch {
	case len(response.ModelVersionStatus) > 0:
		return response, nil
	case w.number != nil:
		return nil, errorf(ErrNotFound, "Could not find version %d of model %s", *w.number, name)
	}
	return nil, errorf(ErrNotFound, "Could not find any versions of model %s", name)
}
