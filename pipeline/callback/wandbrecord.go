package callback

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// A record of a wandbLog is a Record message
// (wandb/proto/wandb_internal.proto), of which these fields are written:
//
//	Record   num=1, and one of history=2 summary=3 files=6 metric=12 run=17 exit=18 header=21
//	header   version_info=1 {producer=1 min_consumer=2}
//	run      run_id=1 project=3 config=4 display_name=8 host=13 starting_step=14
//	         start_time=17 {seconds=1 nanos=2} resumed=18 resume=24
//	metric   name=1 glob_name=2 step_metric=4 options=6 {step_sync=1 defined=3}
//	files    files=1 {path=1 policy=2 (1: at the end) type=3 (1: W&B's own, 2: media)}
//	history  item=1 step=2 {num=1}
//	exit     exit_code=1 runtime=2 (seconds)
//	config, summary  update=1
//	item, update     key=1 value_json=16
const (
	recordHistory protowire.Number = 2
	recordSummary protowire.Number = 3
	recordFiles   protowire.Number = 6
	recordMetric  protowire.Number = 12
	recordRun     protowire.Number = 17
	recordExit    protowire.Number = 18
	recordHeader  protowire.Number = 21
)

// The two are versions of W&B's Python package: the one whose format this is,
// and the oldest that may read it (wandb/sdk/internal/datastore.py).
const wandbProducer, wandbMinConsumer = "0.31.0", "0.70.0"

func wandbHeader() []byte {
	return appendMessage(nil, 1, appendString(appendString(nil, 1, wandbProducer), 2, wandbMinConsumer))
}

// wandbRun is what a run record says.
type wandbRun struct {
	id, project, name, host string
	config                  map[string]any
	began                   time.Time
	firstStep               int // of history
	resumed                 bool
}

func (r wandbRun) record() ([]byte, error) {
	config, err := wandbItems(r.config)
	if err != nil {
		return nil, fmt.Errorf("write W&B config: %w", err)
	}
	b := appendString(nil, 1, r.id)
	b = appendString(b, 3, r.project)
	b = appendMessage(b, 4, config)
	b = appendString(b, 8, r.name)
	b = appendString(b, 13, r.host)
	b = appendNumber(b, 14, r.firstStep)
	start := appendNumber(nil, 1, int(r.began.Unix()))
	b = appendMessage(b, 17, appendNumber(start, 2, r.began.Nanosecond()))
	if r.resumed {
		b = appendNumber(appendNumber(b, 18, 1), 24, 1)
	}
	return b, nil
}

// axis defines a metric that others are drawn over.
func axis(name string) []byte {
	return appendMessage(appendString(nil, 1, name), 6, appendNumber(nil, 3, 1))
}

// over defines the metrics whose names match glob, drawn over an axis.
func over(axis, glob string) []byte {
	b := appendString(appendString(nil, 2, glob), 4, axis)
	return appendMessage(b, 6, appendNumber(appendNumber(nil, 1, 1), 3, 1))
}

const filePlain, fileMedia = 1, 2 // a file's type

func wandbFile(path string, kind int) []byte {
	const atTheEnd = 1
	b := appendNumber(appendString(nil, 1, path), 2, atTheEnd)
	return appendMessage(nil, 1, appendNumber(b, 3, kind))
}

func wandbHistory(step int, values map[string]any) ([]byte, error) {
	items, err := wandbItems(values)
	return appendMessage(items, 2, appendNumber(nil, 1, step)), err
}

func wandbExit(code int, runtime time.Duration) []byte {
	return appendNumber(appendNumber(nil, 1, code), 2, int(runtime.Seconds()))
}

// wandbItems encodes values in their names' order, as field 1: so all messages
// of keys and values have them.
func wandbItems(values map[string]any) ([]byte, error) {
	var b []byte
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value, err := json.Marshal(jsonNumber(values[key]))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", key, err)
		}
		b = appendMessage(b, 1, appendMessage(appendString(nil, 1, key), 16, value))
	}
	return b, nil
}

// jsonNumber spells what JSON has no number for as W&B does.
func jsonNumber(value any) any {
	x, ok := value.(float64)
	switch {
	case !ok:
		return value
	case math.IsNaN(x):
		return "NaN"
	case math.IsInf(x, 1):
		return "Infinity"
	case math.IsInf(x, -1):
		return "-Infinity"
	}
	return value
}

func appendNumber(b []byte, field protowire.Number, n int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(n))
}
