package serving

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	serving "github.com/wamuir/graft/tensorflow/serving/apis_go_proto"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/residual-go/residual/pipeline/serving/tensorjson"
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
