package serving

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
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
	for _, one := range s.table.statuses("") {
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

// oipRequest is an inference request.
type oipRequest struct {
	ID         string        `json:"id"`
	Parameters oipParameters `json:"parameters"`
	Inputs     []oipInput    `json:"inputs"`
	Outputs    []oipOutput   `json:"outputs"`
}

type oipInput struct {
	oipTensor
	Parameters oipParameters   `json:"parameters"`
	Data       json.RawMessage `json:"data"`
}

type oipOutput struct {
	Name       string        `json:"name"`
	Parameters oipParameters `json:"parameters"`
}

// oipParameters are those that are understood, of all that may have some. Others
// are overlooked, as the protocol says.
type oipParameters struct {
	BinaryDataSize   *int    `json:"binary_data_size"`
	BinaryData       *bool   `json:"binary_data"`
	BinaryDataOutput bool    `json:"binary_data_output"`
	Classification   int     `json:"classification"`
	Timeout          int64   `json:"timeout"` // microseconds that the request may take
	SharedMemory     *string `json:"shared_memory_region"`
}

func (s *Server) oipInfer(x *exchange, r *http.Request, t target) error {
	body, err := s.body(x, r)
	if err != nil {
		return err
	}
	request, err := readOIP(body, r.Header.Get(headerLength))
	if err != nil {
		return err
	}
	ctx := r.Context()
	if timeout := request.Parameters.Timeout; timeout > 0 && timeout < int64(time.Hour/time.Microsecond) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(timeout)*time.Microsecond)
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

// oipCall is a request with its tensors read.
type oipCall struct {
	oipRequest
	tensors tensors
}

// readOIP reads a body of JSON, with tensors behind it if a length says where.
func readOIP(body []byte, length string) (*oipCall, error) {
	text, data := body, []byte(nil)
	if length != "" {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(body) {
			return nil, errorf(ErrInput, "%s is %q, and the body has %d bytes", headerLength, length, len(body))
		}
		text, data = body[:n], body[n:]
	}
	// encoding/json has no limit on depth that suits, and reads keys in any case.
	if _, err := tensorjson.ReadObject(text); err != nil {
		return nil, ofJSON(err)
	}
	call := &oipCall{tensors: tensors{}}
	if err := json.Unmarshal(text, &call.oipRequest); err != nil {
		return nil, ofJSON(err)
	}
	for _, input := range call.Inputs {
		if _, twice := call.tensors[input.Name]; twice {
			return nil, errorf(ErrInput, "input %q is there twice", input.Name)
		}
		var err error
		if call.tensors[input.Name], data, err = input.read(data); err != nil {
			return nil, errorf(ErrInput, "input %q: %w", input.Name, err)
		}
	}
	if len(data) > 0 {
		return nil, errorf(ErrInput, "%d bytes are left behind the tensors", len(data))
	}
	return call, nil
}

// read makes the tensor, of JSON or of the beginning of data, and returns what is
// left of data.
func (i oipInput) read(data []byte) (tensor.Tensor, []byte, error) {
	dtype := tensor.Invalid
	for d, name := range oipTypes {
		if name == i.Datatype {
			dtype = d
		}
	}
	switch size := i.Parameters.BinaryDataSize; {
	case dtype == tensor.Invalid:
		return tensor.Tensor{}, nil, fmt.Errorf("datatype %q is not served", i.Datatype)
	case i.Parameters.SharedMemory != nil:
		return tensor.Tensor{}, nil, fmt.Errorf("shared memory is not served")
	case size != nil && (*size < 0 || *size > len(data)):
		return tensor.Tensor{}, nil, fmt.Errorf("binary_data_size is %d, and %d bytes are left", *size, len(data))
	case size != nil && i.Data != nil:
		return tensor.Tensor{}, nil, fmt.Errorf("there is both data and binary_data_size")
	case size != nil:
		t, err := tensor.FromBytes(dtype, data[:*size:*size], i.Shape...)
		return t, data[*size:], err
	case i.Data == nil:
		return tensor.Tensor{}, nil, fmt.Errorf("there is neither data nor binary_data_size")
	}
	t, err := tensorjson.Read(i.Data, dtype)
	if err == nil { // the elements may be nested or flat
		t, err = tensor.FromBytes(dtype, t.Bytes(), i.Shape...)
	}
	return t, data, err
}

// oipResult describes an output in an answer.
type oipResult struct {
	oipTensor
	Parameters map[string]int `json:"parameters,omitempty"`
	data       []byte         // JSON text; nil if it is behind all JSON
}

// append appends the result as JSON. encoding/json does not write NaN, which data
// may have.
func (r oipResult) append(text []byte) ([]byte, error) {
	described, err := json.Marshal(r)
	if err != nil || r.data == nil {
		return append(text, described...), err
	}
	text = append(text, described[:len(described)-1]...)
	text = append(text, `,"data":`...)
	return append(append(text, r.data...), '}'), nil
}

// writeOIP writes the outputs that were asked for, or all: JSON, and what stands
// behind it, nil if nothing does.
func writeOIP(v *version, request *oipCall, outputs tensors) (header, data []byte, err error) {
	wanted := request.Outputs
	if len(wanted) == 0 {
		for _, name := range sortedNames(outputs) {
			wanted = append(wanted, oipOutput{Name: name})
		}
	}
	results := make([]oipResult, len(wanted))
	for i, want := range wanted {
		output, ok := outputs[want.Name]
		if !ok {
			return nil, nil, errorf(ErrInput, "there is no output %q, only %q", want.Name, sortedNames(outputs))
		}
		var raw []byte
		if results[i], raw, err = want.result(v, output); err != nil {
			return nil, nil, errorf(ErrInput, "output %q: %w", want.Name, err)
		}
		inBinary := request.Parameters.BinaryDataOutput
		if own := want.Parameters.BinaryData; own != nil {
			inBinary = *own
		}
		switch {
		case inBinary:
			results[i].Parameters = map[string]int{"binary_data_size": len(raw)}
			results[i].data = nil
			data = append(data, raw...)
		case results[i].data == nil:
			return nil, nil, errorf(ErrInput, "output %q: %s has no form in JSON: ask for it with binary_data", want.Name, results[i].Datatype)
		}
	}
	header, err = oipAnswer(v, request.ID, results)
	if err == nil && data == nil && slices.ContainsFunc(results, func(r oipResult) bool { return r.data == nil }) {
		data = []byte{} // of outputs without elements
	}
	return header, data, err
}

// oipAnswer is the JSON of an answer.
func oipAnswer(v *version, id string, results []oipResult) ([]byte, error) {
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
		var err error
		if text, err = r.append(text); err != nil {
			return nil, err
		}
	}
	return append(text, "]}"...), nil
}

// result describes an output, and gives its bytes.
func (o oipOutput) result(v *version, output tensor.Tensor) (oipResult, []byte, error) {
	if k := o.Parameters.Classification; k != 0 {
		return o.classification(v, output, k)
	}
	r := oipResult{oipTensor: oipTensor{o.Name, oipTypes[output.DType()], slices.Concat([]int{}, output.Shape())}}
	if tensorjson.Writes(output.DType()) {
		r.data = tensorjson.AppendFlat(nil, output)
	}
	return r, output.Bytes(), nil
}

// classification is Triton's extension: the k best of each row as strings
// "probability:label:class".
func (o oipOutput) classification(v *version, output tensor.Tensor, k int) (oipResult, []byte, error) {
	if v.images == nil || o.Name != pipeline.ProbabilitiesOutput {
		return oipResult{}, nil, fmt.Errorf("it is not one of probabilities: there is no classification")
	}
	probabilities, err := pipeline.Probabilities(tensors{o.Name: output}, output.Shape()[0])
	if err != nil {
		return oipResult{}, nil, err
	}
	var texts []string
	var raw []byte
	best := 0
	for _, row := range probabilities {
		top, err := pipeline.Top(row, v.Classes, k)
		if err != nil {
			return oipResult{}, nil, err
		}
		best = len(top)
		for _, guess := range top {
			label := slices.Index(v.Classes, guess.Class)
			text := fmt.Sprintf("%f:%d:%s", guess.Probability, label, guess.Class)
			texts = append(texts, text)
			raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(text))), text...)
		}
	}
	data, err := json.Marshal(texts)
	return oipResult{oipTensor: oipTensor{o.Name, "BYTES", []int{len(probabilities), best}}, data: data}, raw, err
}
