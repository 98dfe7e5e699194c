package serving

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	serving "github.com/wamuir/graft/tensorflow/serving/apis_go_proto"

	"github.com/residual-go/residual/pipeline"
	"github.com/residual-go/residual/pipeline/serving/tensorjson"
	"github.com/residual-go/residual/tfgo/tensor"
)

// The paths of the Open Inference Protocol, version 2
// (https://github.com/kserve/open-inference-protocol), and of Triton's extension
// for model repositories.
var oipPath = regexp.MustCompile(`^/v2/models/([^/]+)(?:/versions/(\d+)|/versions/())?(?:/(ready|infer))?$`)

// oipExtensions are those of Triton's that are understood
// (https://github.com/triton-inference-server/server/tree/main/docs/protocol).
var oipExtensions = []string{"binary_tensor_data", "classification", "model_repository"}

// headerLength says how much of a body is JSON; behind it are tensors.
const headerLength = "Inference-Header-Content-Length"

// oip answers what the Open Inference Protocol has.
func (s *Server) oip(x *exchange, r *http.Request) error {
	x.route = "oip"
	path := r.URL.EscapedPath()
	switch {
	case path == "/v2" || path == "/v2/":
		if r.Method != http.MethodGet {
			return errMethod
		}
		writeJSON(x, http.StatusOK, map[string]any{"name": "residual", "version": s.options.Version, "extensions": oipExtensions})
		return nil
	case path == "/v2/repository/index":
		return s.oipIndex(x, r)
	}
	t, ok, err := readTarget(oipPath, path)
	if err != nil {
		return err
	}
	if !ok {
		return errorf(ErrNotFound, "there is nothing at %s", r.URL.Path)
	}
	want := http.MethodGet
	if t.verb == "infer" {
		want = http.MethodPost
	}
	if r.Method != want {
		return errMethod
	}
	switch t.verb {
	case "ready":
		x.route = "health"
		return s.oipReady(x, t)
	case "infer":
		x.route = "oip_infer"
		return s.oipInfer(x, r, t)
	}
	x.route = "oip_metadata"
	return s.oipMetadata(x, t)
}

func (s *Server) oipReady(x *exchange, t target) error {
	err := s.use(x, t, func(*version) error { return nil })
	if err == nil {
		x.WriteHeader(http.StatusOK)
	}
	return err
}

// oipIndex lists the models, as Triton's extension for model repositories does.
func (s *Server) oipIndex(x *exchange, r *http.Request) error {
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		return errMethod
	}
	type item struct {
		Name    string   `json:"name"`
		Version string   `json:"version"`
		State   string   `json:"state"`
		Reason  string   `json:"reason"`
		Labels  []string `json:"labels,omitempty"` // not Triton's
	}
	index := []item{}
	for _, one := range s.table.allStatuses() {
		i := item{Name: one.name, Version: one.version(), State: "UNAVAILABLE", Labels: one.labels}
		switch {
		case one.available():
			i.State = "READY"
		case one.err != nil:
			i.Reason = one.err.Error()
		case one.state == serving.ModelVersionStatus_LOADING:
			i.State = "LOADING"
		case one.state == serving.ModelVersionStatus_UNLOADING:
			i.State = "UNLOADING"
		default:
			i.Reason = "unloaded"
		}
		index = append(index, i)
	}
	writeJSON(x, http.StatusOK, index)
	return nil
}

// oipTensor describes a tensor in metadata.
type oipTensor struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"`
}

func (s *Server) oipMetadata(x *exchange, t target) error {
	var versions []string
	for _, one := range s.table.statuses(t.model) {
		if one.available() {
			versions = append(versions, one.version())
		}
	}
	slices.Reverse(versions)
	var answer any
	err := s.use(x, t, func(v *version) error {
		b, err := v.batcher("")
		if err == nil {
			answer = map[string]any{
				"name": v.Name, "versions": versions, "platform": "tensorflow_savedmodel",
				"inputs": oipTensors(b.signature.Inputs), "outputs": oipTensors(b.signature.Outputs),
			}
		}
		return err
	})
	if err == nil {
		writeJSON(x, http.StatusOK, answer)
	}
	return err
}

func oipTensors(specs []tensor.Spec) []oipTensor {
	tensors := make([]oipTensor, len(specs))
	for i, s := range specs {
		tensors[i] = oipTensor{s.Name, oipTypes[s.DType], slices.Concat([]int{}, s.Shape)}
	}
	return tensors
}

// oipTypes are the protocol's names of element types.
var oipTypes = map[tensor.DType]string{
	tensor.Bool: "BOOL", tensor.Uint8: "UINT8", tensor.Int32: "INT32", tensor.Int64: "INT64", tensor.Float16: "FP16",
	tensor.Float32: "FP32", tensor.Float64: "FP64", tensor.BFloat16: "BF16",
}

// oipDTypes is oipTypes the other way round.
var oipDTypes = func() map[string]tensor.DType {
	dtypes := map[string]tensor.DType{}
	for dtype, name := range oipTypes {
		dtypes[name] = dtype
	}
	return dtypes
}()

// oipRequest is an inference request. What is not understood in it is overlooked, as
// the protocol says.
type oipRequest struct {
	id      string
	timeout time.Duration // that the request may take; 0 if it does not say
	binary  bool          // outputs stand behind the JSON unless they say otherwise
	outputs []oipOutput   // that are wanted; nil for all
	tensors tensors
}

// oipOutput is an output that is wanted.
type oipOutput struct {
	name           string
	binary         bool // it stands behind the JSON
	classification int  // so many of the best classes instead; 0 for the output itself
}

func (s *Server) oipInfer(x *exchange, r *http.Request, t target) error {
	body, err := s.bodyFor(x, r, t)
	if err != nil {
		return err
	}
	request, err := readOIP(body, r.Header.Get(headerLength))
	if err != nil {
		return err
	}
	ctx := r.Context()
	if request.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, request.timeout)
		defer cancel()
	}
	var header, data []byte
	err = s.use(x, t, func(v *version) error {
		b, err := v.batcher("")
		if err != nil {
			return err
		}
		outputs, err := s.call(ctx, b, request.tensors)
		if err == nil {
			header, data, err = writeOIP(v, request, outputs)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case data == nil:
		write(x, http.StatusOK, "application/json", header)
	default:
		x.Header().Set(headerLength, strconv.Itoa(len(header)))
		write(x, http.StatusOK, "application/octet-stream", append(header, data...))
	}
	return nil
}

// oipResult describes an output in an answer.
type oipResult struct {
	oipTensor
	data   []byte // JSON text; nil if the elements stand behind all JSON
	behind int    // bytes, if they do
}

// append appends the result as JSON. encoding/json does not write NaN, which data
// may have.
func (r oipResult) append(text []byte) []byte {
	text = appendString(append(text, `{"name":`...), r.Name)
	text = appendString(append(text, `,"datatype":`...), r.Datatype)
	text = append(text, `,"shape":[`...)
	for i, side := range r.Shape {
		if i > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(side), 10)
	}
	if r.data == nil {
		return fmt.Appendf(text, `],"parameters":{"binary_data_size":%d}}`, r.behind)
	}
	text = append(append(text, `],"data":`...), r.data...)
	return append(text, '}')
}

// writeOIP writes the outputs that were asked for, or all: JSON, and what stands
// behind it, nil if nothing does.
func writeOIP(v *version, request *oipRequest, outputs tensors) (header, data []byte, err error) {
	wanted := request.outputs
	if len(wanted) == 0 {
		for _, name := range slices.Sorted(maps.Keys(outputs)) {
			wanted = append(wanted, oipOutput{name: name, binary: request.binary})
		}
	}
	results := make([]oipResult, len(wanted))
	for i, want := range wanted {
		output, ok := outputs[want.name]
		if !ok {
			return nil, nil, errorf(ErrInput, "there is no output %q, only %q", want.name, slices.Sorted(maps.Keys(outputs)))
		}
		var raw []byte
		if results[i], raw, err = want.result(v, output); err != nil {
			return nil, nil, errorf(ErrInput, "output %q: %w", want.name, err)
		}
		switch {
		case want.binary:
			results[i].data, results[i].behind = nil, len(raw)
			data = append(data, raw...)
		case results[i].data == nil:
			return nil, nil, errorf(ErrInput, "output %q: %s has no form in JSON: ask for it with binary_data", want.name, results[i].Datatype)
		}
	}
	if data == nil && slices.ContainsFunc(results, func(r oipResult) bool { return r.data == nil }) {
		data = []byte{} // of outputs without elements
	}
	return oipAnswer(v, request.id, results), data, nil
}

// oipAnswer is the JSON of an answer.
func oipAnswer(v *version, id string, results []oipResult) []byte {
	text := append([]byte(`{"model_name":`), appendString(nil, v.Name)...)
	text = fmt.Appendf(text, `,"model_version":"%d"`, v.Number)
	if id != "" {
		text = append(append(text, `,"id":`...), appendString(nil, id)...)
	}
	text = append(text, `,"outputs":[`...)
	for i, r := range results {
		if i > 0 {
			text = append(text, ',')
		}
		text = r.append(text)
	}
	return append(text, "]}"...)
}

// result describes an output, and gives its bytes.
func (o oipOutput) result(v *version, output tensor.Tensor) (oipResult, []byte, error) {
	if k := o.classification; k > 0 {
		return o.classes(v, output, k)
	}
	r := oipResult{oipTensor: oipTensor{o.name, oipTypes[output.DType()], output.Shape()}}
	if !o.binary && tensorjson.Writes(output.DType()) {
		r.data = tensorjson.AppendFlat(nil, output)
	}
	return r, output.Bytes(), nil
}

// classes is Triton's extension classification: the k best of each row as strings
// "probability:label:class".
func (o oipOutput) classes(v *version, output tensor.Tensor, k int) (oipResult, []byte, error) {
	if v.images == nil || o.name != pipeline.ProbabilitiesOutput {
		return oipResult{}, nil, fmt.Errorf("it is not one of probabilities: there is no classification")
	}
	probabilities, err := pipeline.Probabilities(tensors{o.name: output}, output.Shape()[0])
	if err != nil {
		return oipResult{}, nil, err
	}
	var texts []string
	var raw []byte
	best := 0
	for _, row := range probabilities {
		labels := pipeline.TopLabels(row, k)
		best = len(labels)
		for _, label := range labels {
			text := fmt.Sprintf("%f:%d:%s", row[label], label, v.Classes[label])
			texts = append(texts, text)
			raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(text))), text...)
		}
	}
	data, err := json.Marshal(texts)
	return oipResult{oipTensor: oipTensor{o.name, "BYTES", []int{len(probabilities), best}}, data: data}, raw, err
}
