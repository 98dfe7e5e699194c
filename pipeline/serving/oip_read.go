package serving

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/residual-go/residual/pipeline/serving/tensorjson"
	"github.com/residual-go/residual/tfgo/tensor"
)

// readOIP reads a body of JSON, with tensors behind it if a length says where.
func readOIP(body []byte, length string) (*oipRequest, error) {
	text, data := body, []byte(nil)
	if length != "" {
		n, err := strconv.Atoi(length)
		if err != nil || n < 0 || n > len(body) {
			return nil, errorf(ErrInput, "%s is %q, and the body has %d bytes", headerLength, length, len(body))
		}
		text, data = body[:n], body[n:]
	}
	fields, err := tensorjson.ReadObject(text)
	if err != nil {
		return nil, ofKind(ErrInput, err)
	}
	r := &oipRequest{tensors: tensors{}}
	if err := r.readFields(fields); err != nil {
		return nil, err
	}
	inputs, err := objects(fields, "inputs")
	if err != nil {
		return nil, err
	}
	for _, fields := range inputs {
		input := oipFields{fields: fields}
		name := input.text("name")
		if _, twice := r.tensors[name]; twice {
			return nil, errorf(ErrInput, "input %q is there twice", name)
		}
		if r.tensors[name], data, err = input.tensor(data); err != nil {
			return nil, errorf(ErrInput, "input %q: %w", name, err)
		}
	}
	if len(data) > 0 {
		return nil, errorf(ErrInput, "%d bytes are left behind the tensors", len(data))
	}
	return r, nil
}

// readFields reads all but the inputs.
func (r *oipRequest) readFields(fields map[string][]byte) error {
	all := oipFields{fields: fields}
	r.id = all.optionalText("id")
	own := all.parameters()
	r.binary = own.flag("binary_data_output", false)
	// Beyond an hour is as good as never.
	if microseconds := own.number("timeout"); 0 < microseconds && microseconds < int(time.Hour/time.Microsecond) {
		r.timeout = time.Duration(microseconds) * time.Microsecond
	}
	outputs, err := objects(fields, "outputs")
	if err = errors.Join(err, all.err, own.err); err != nil {
		return ofKind(ErrInput, err)
	}
	for _, fields := range outputs {
		output := oipFields{fields: fields}
		name := output.text("name")
		if slices.ContainsFunc(r.outputs, func(o oipOutput) bool { return o.name == name }) {
			return errorf(ErrInput, "output %q is there twice", name)
		}
		own := output.parameters()
		r.outputs = append(r.outputs, oipOutput{name, own.flag("binary_data", r.binary), own.number("classification")})
		if err := errors.Join(output.err, own.err); err != nil {
			return errorf(ErrInput, "output %q: %w", name, err)
		}
	}
	return nil
}

// mostTensors is more than a function has inputs or outputs.
const mostTensors = 64

// objects reads a field that is a list of objects, or is not there.
func objects(fields map[string][]byte, key string) ([]map[string][]byte, error) {
	text, ok := fields[key]
	if !ok || string(text) == "null" {
		return nil, nil
	}
	items, err := tensorjson.Elements(text, mostTensors)
	if err != nil {
		return nil, errorf(ErrInput, "%s: %w", key, err)
	}
	found := make([]map[string][]byte, len(items))
	for i, item := range items {
		if found[i], err = tensorjson.ReadObject(item); err != nil {
			return nil, errorf(ErrInput, "%s, number %d: %w", key, i, err)
		}
	}
	return found, nil
}

// oipFields reads the fields of an object. It keeps the first error.
type oipFields struct {
	fields map[string][]byte
	err    error
}

func (f *oipFields) fail(key, want string) {
	if f.err == nil {
		f.err = errors.New(strconv.Quote(key) + " must be " + want)
	}
}

func (f *oipFields) text(key string) string {
	text, ok := tensorjson.Text(f.fields[key])
	if !ok {
		f.fail(key, "a string")
	}
	return text
}

func (f *oipFields) optionalText(key string) string {
	if _, ok := f.fields[key]; !ok {
		return ""
	}
	return f.text(key)
}

func (f *oipFields) flag(key string, otherwise bool) bool {
	switch string(f.fields[key]) {
	case "":
		return otherwise
	case "true":
		return true
	case "false":
		return false
	}
	f.fail(key, "true or false")
	return otherwise
}

// number returns 0 for what is not there.
func (f *oipFields) number(key string) int {
	text, ok := f.fields[key]
	if !ok {
		return 0
	}
	n, err := strconv.Atoi(string(text))
	if err != nil {
		f.fail(key, "a whole number")
	}
	return n
}

func (f *oipFields) parameters() *oipFields {
	text, ok := f.fields["parameters"]
	if !ok || string(text) == "null" {
		return &oipFields{}
	}
	fields, err := tensorjson.ReadObject(text)
	if err != nil {
		f.fail("parameters", "an object")
	}
	return &oipFields{fields: fields}
}

// tensor makes the tensor of an input, of JSON or of the beginning of data, and
// returns what is left of data.
func (f *oipFields) tensor(data []byte) (tensor.Tensor, []byte, error) {
	datatype, shape := f.text("datatype"), f.shape()
	own := f.parameters()
	size := own.number("binary_data_size")
	if err := errors.Join(f.err, own.err); err != nil {
		return tensor.Tensor{}, nil, err
	}
	dtype, ok := oipDTypes[datatype]
	text, inJSON := f.fields["data"]
	_, behind := own.fields["binary_data_size"]
	_, shared := own.fields["shared_memory_region"]
	switch {
	case !ok:
		return tensor.Tensor{}, nil, errors.New("datatype " + strconv.Quote(datatype) + " is not served")
	case shared:
		return tensor.Tensor{}, nil, errors.New("shared memory is not served")
	case behind && inJSON:
		return tensor.Tensor{}, nil, errors.New("there is both data and binary_data_size")
	case behind && (size < 0 || size > len(data)):
		return tensor.Tensor{}, nil, errors.New("binary_data_size is " + strconv.Itoa(size) + ", and " + strconv.Itoa(len(data)) + " bytes are left")
	case behind:
		t, err := tensor.FromBytes(dtype, data[:size:size], shape...)
		return t, data[size:], err
	case !inJSON:
		return tensor.Tensor{}, nil, errors.New("there is neither data nor binary_data_size")
	}
	t, err := tensorjson.Read(text, dtype)
	if err == nil { // the elements may be nested or flat
		t, err = tensor.FromBytes(dtype, t.Bytes(), shape...)
	}
	return t, data, err
}

func (f *oipFields) shape() []int {
	var shape []int
	if err := json.Unmarshal(f.fields["shape"], &shape); err != nil {
		f.fail("shape", "a list of whole numbers")
	}
	return shape
}
