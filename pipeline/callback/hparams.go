package callback

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	summarypb "github.com/wamuir/graft/tensorflow/core/framework/summary_go_proto"
	tensorpb "github.com/wamuir/graft/tensorflow/core/framework/tensor_go_proto"
	shapepb "github.com/wamuir/graft/tensorflow/core/framework/tensor_shape_go_proto"
	"github.com/wamuir/graft/tensorflow/core/framework/types_go_proto"
)

// What TensorBoard's HPARAMS tab shows is in three summaries whose metadata
// hold an HParamsPluginData message (tensorboard/plugins/hparams,
// metadata.py and plugin_data.proto). graft does not have it; the fields that
// are written:
//
//	HParamsPluginData  experiment=2 session_start_info=3 session_end_info=4
//	Experiment         hparam_infos=4 metric_infos=5 time_created_secs=3
//	HParamInfo         name=1 type=4 (1 string, 2 bool, 3 float64)
//	MetricInfo         name=1 {group=1 tag=2}
//	SessionStartInfo   hparams=1 {key=1 value=2} start_time_secs=5
//	SessionEndInfo     status=1 (1 success, 2 failure) end_time_secs=2
//	google.protobuf.Value  number_value=2 string_value=3 bool_value=4
const (
	hparamsPlugin = "hparams"

	experimentTag   = "_hparams_/experiment"
	sessionStartTag = "_hparams_/session_start_info"
	sessionEndTag   = "_hparams_/session_end_info"

	typeString, typeBool, typeFloat = 1, 2, 3
	statusSuccess, statusFailure    = 1, 2
)

// metricName is the tag of a scalar and the folder below the run that has it.
type metricName struct{ folder, tag string }

func experiment(hparams map[string]any, metrics []metricName, now time.Time) *summarypb.Summary_Value {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(hparams)) {
		_, kind := hparam(hparams[name])
		info := appendString(nil, 1, name)
		info = protowire.AppendTag(info, 4, protowire.VarintType)
		info = protowire.AppendVarint(info, kind)
		b = appendMessage(b, 4, info)
	}
	for _, metric := range metrics {
		name := appendString(appendString(nil, 1, metric.folder), 2, metric.tag)
		b = appendMessage(b, 5, appendMessage(nil, 1, name))
	}
	return hparamsValue(experimentTag, 2, appendDouble(b, 3, unixSeconds(now)))
}

// sessionStart tells of a run. It has no group_name, so that runs of the same
// parameters are not averaged.
func sessionStart(hparams map[string]any, now time.Time) *summarypb.Summary_Value {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(hparams)) {
		value, _ := hparam(hparams[name])
		b = appendMessage(b, 1, appendMessage(appendString(nil, 1, name), 2, value))
	}
	return hparamsValue(sessionStartTag, 3, appendDouble(b, 5, unixSeconds(now)))
}

func sessionEnd(runErr error, now time.Time) *summarypb.Summary_Value {
	status := uint64(statusSuccess)
	if runErr != nil {
		status = statusFailure
	}
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, status)
	return hparamsValue(sessionEndTag, 4, appendDouble(b, 2, unixSeconds(now)))
}

// hparamsValue wraps one field of an HParamsPluginData as the metadata of an
// empty tensor.
func hparamsValue(tag string, field protowire.Number, message []byte) *summarypb.Summary_Value {
	return &summarypb.Summary_Value{
		Tag: tag,
		Metadata: &summarypb.SummaryMetadata{PluginData: &summarypb.SummaryMetadata_PluginData{
			PluginName: hparamsPlugin, Content: appendMessage(nil, field, message),
		}},
		Value: &summarypb.Summary_Value_Tensor{Tensor: &tensorpb.TensorProto{
			Dtype:       types_go_proto.DataType_DT_FLOAT,
			TensorShape: &shapepb.TensorShapeProto{Dim: []*shapepb.TensorShapeProto_Dim{{Size: 0}}},
		}},
	}
}

// hparam encodes a parameter as a google.protobuf.Value, and says its type.
// What is neither a number nor a truth is text.
func hparam(x any) (value []byte, kind uint64) {
	switch x := x.(type) {
	case bool:
		value = protowire.AppendTag(nil, 4, protowire.VarintType)
		return protowire.AppendVarint(value, protowire.EncodeBool(x)), typeBool
	case int:
		return appendDouble(nil, 2, float64(x)), typeFloat
	case int64:
		return appendDouble(nil, 2, float64(x)), typeFloat
	case float64:
		return appendDouble(nil, 2, x), typeFloat
	default:
		return appendString(nil, 3, fmt.Sprint(x)), typeString
	}
}

func appendMessage(b []byte, field protowire.Number, message []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), message)
}

func appendString(b []byte, field protowire.Number, text string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

func appendDouble(b []byte, field protowire.Number, x float64) []byte {
	return protowire.AppendFixed64(protowire.AppendTag(b, field, protowire.Fixed64Type), math.Float64bits(x))
}
