package tensorjson_test

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/residual-go/residual/pipeline/serving/tensorjson"
	"github.com/residual-go/residual/tfgo/tensor"
)

func read(t *testing.T, text string, dtype tensor.DType) tensor.Tensor {
	t.Helper()
	got, err := tensorjson.Read([]byte(text), dtype)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return got
}

func TestReadShapes(t *testing.T) {
	for text, want := range map[string][]int{
		"7": nil, "[1,2,3]": {3}, " [ [1 , 2],\n[3,4] ] ": {2, 2}, "[]": {0}, "[[],[]]": {2, 0}, "[[[1]],[[2]]]": {2, 1, 1},
		"[[[[1,2,3]]]]": {1, 1, 1, 3},
	} {
		if got := read(t, text, tensor.Uint8); !slices.Equal(got.Shape(), want) {
			t.Errorf("%s has shape %v, want %v", text, got.Shape(), want)
		}
	}
}

func values[T tensor.Element](t *testing.T, text string) []T {
	t.Helper()
	var zero T
	made := tensor.Scalar(zero)
	got, err := tensor.Values[T](read(t, text, made.DType()))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReadValues(t *testing.T) {
	if got := values[uint8](t, "[0, 255, 7]"); !slices.Equal(got, []uint8{0, 255, 7}) {
		t.Error(got)
	}
	if got := values[int32](t, "[-2147483648, 2147483647]"); !slices.Equal(got, []int32{math.MinInt32, math.MaxInt32}) {
		t.Error(got)
	}
	if got := values[int64](t, "[-9223372036854775808, 9223372036854775807, 0]"); !slices.Equal(got, []int64{math.MinInt64, math.MaxInt64, 0}) {
		t.Error(got)
	}
	if got := values[bool](t, "[true, false]"); !slices.Equal(got, []bool{true, false}) {
		t.Error(got)
	}
	want := []float32{1.5, -2, 1e-3, 16777215, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.Inf(1))}
	if got := values[float32](t, "[1.5, -2, 1E-3, 16777215, Infinity, -Infinity, Inf]"); !slices.Equal(got, want) {
		t.Error(got)
	}
	if got := values[float32](t, "[NaN, -0]"); got[0] == got[0] || !math.Signbit(float64(got[1])) {
		t.Error(got)
	}
	if got := values[float64](t, "[0.1, 9007199254740991]"); !slices.Equal(got, []float64{0.1, 1<<53 - 1}) {
		t.Error(got)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, c := range []struct {
		text  string
		dtype tensor.DType
		error string
	}{
		{"", tensor.Uint8, "too early"},
		{"[1,", tensor.Uint8, "too early"},
		{"[1", tensor.Uint8, "missing a comma"},
		{"[1 2]", tensor.Uint8, "missing a comma"},
		{"[1,]", tensor.Uint8, "invalid value"},
		{"[,1]", tensor.Uint8, "invalid value"},
		{"[1]]", tensor.Uint8, "must not be followed"},
		{"[1] 2", tensor.Uint8, "must not be followed"},
		{"[1]\x00", tensor.Uint8, "must not be followed"},
		{"[01]", tensor.Uint8, "invalid value"},
		{"[+1]", tensor.Uint8, "invalid value"},
		{"[0x10]", tensor.Float32, "invalid value"},
		{"[1_0]", tensor.Float32, "invalid value"},
		{"[.5]", tensor.Float32, "invalid value"},
		{"[1.]", tensor.Float32, "invalid value"},
		{"[1e]", tensor.Float32, "invalid value"},
		{"[nan]", tensor.Float32, "invalid value"},
		{"[infinity]", tensor.Float32, "invalid value"},
		{"[256]", tensor.Uint8, "256 Type: Number is not of expected type: uint8"},
		{"[-1]", tensor.Uint8, "-1 Type: Number"},
		{"[1.0]", tensor.Uint8, "1.0 Type: Number"},
		{"[2147483648]", tensor.Int32, "Type: Number"},
		{"[9223372036854775808]", tensor.Int64, "Type: Number"},
		{"[-9223372036854775809]", tensor.Int64, "Type: Number"},
		{"[99999999999999999999999]", tensor.Int64, "Type: Number"},
		{"[16777216]", tensor.Float32, "Type: Number"},
		{"[1e39]", tensor.Float32, "Type: Number"},
		{"[null]", tensor.Float32, "Type: Null"},
		{"[true]", tensor.Float32, "Type: True"},
		{"[1]", tensor.Bool, "Type: Number"},
		{`["1"]`, tensor.Uint8, `"1" Type: String`},
		{`["1]`, tensor.Uint8, "closing quotation mark"},
		{`[{"b64": "aGk="}]`, tensor.Uint8, `Type: Object`},
		{`[{"b64": "aGk="]`, tensor.Uint8, "missing a comma or }"},
		{`[{b64: 1}]`, tensor.Uint8, "missing a name"},
		{`[{"b64" 1}]`, tensor.Uint8, "missing a colon"},
		{"[[1,2],[3]]", tensor.Uint8, "unexpected size: 1 at level: 1, expected size: 2"},
		{"[[1],[2,3]]", tensor.Uint8, "unexpected size: 2"},
		{"[[1],2]", tensor.Uint8, "incorrect level"},
		{"[1,[2]]", tensor.Uint8, "unexpected level: 1"},
		{"[[],[[]]]", tensor.Uint8, "unexpected level"},
		{strings.Repeat("[", 100), tensor.Uint8, "nested more than 16 deep"},
		{strings.Repeat("[", 1_000_000), tensor.Uint8, "nested more than 16 deep"},
		{"[1]", tensor.String, "not converted to string"},
		{"[1]", tensor.BFloat16, "not converted to bfloat16"},
	} {
		if _, err := tensorjson.Read([]byte(c.text), c.dtype); err == nil || !strings.Contains(err.Error(), c.error) {
			t.Errorf("%.40s as %s: %v, want %q", c.text, c.dtype, err, c.error)
		}
	}
	_, err := tensorjson.Read([]byte(`["`+strings.Repeat("x", 1000)+`"]`), tensor.Uint8)
	if len(err.Error()) > 200 {
		t.Errorf("an error of %d characters", len(err.Error()))
	}
}

func TestReadObject(t *testing.T) {
	fields, err := tensorjson.ReadObject([]byte(`{"a": [1, {"b": "]}"}], "\u0062" : NaN , "a": 2, "c\"": {}, "d": "\\"}`))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for key, value := range fields {
		got[key] = string(value)
	}
	want := map[string]string{"a": `[1, {"b": "]}"}]`, "b": "NaN", `c"`: "{}", "d": `"\\"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for text, want := range map[string]string{
		"": "is empty", " \n": "is empty", "[1]": "Is not object", "7": "Is not object", "[1": "missing a comma", `{"a": 1`: "missing a comma",
		`{"a": 1} {}`: "must not be followed", `{"a"}`: "missing a colon", `{"a": }`: "invalid value", `{"a": tru}`: "invalid value", `{"a": "\x"}`: "invalid string",
		`{"\x": 1}`: "not a string", `{"a": "`: "closing quotation", `{1: 2}`: "missing a name", strings.Repeat(`{"a":`, 1e5): "nested more than 16",
	} {
		if _, err := tensorjson.ReadObject([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func TestElements(t *testing.T) {
	elements, err := tensorjson.Elements([]byte(` [ {"a": 1}, [2] ,3 ]`), 3)
	if err != nil || fmt.Sprintf("%s", elements) != `[{"a": 1} [2] 3]` {
		t.Errorf("%s, %v", elements, err)
	}
	if !tensorjson.IsObject(elements[0]) || tensorjson.IsObject(elements[1]) {
		t.Error("an object is not known as one")
	}
	for _, text := range []string{"{}", "[1", "[1]x", "", "[1,2,3,4]"} {
		if _, err := tensorjson.Elements([]byte(text), 3); err == nil {
			t.Errorf("%q is taken for a list", text)
		}
	}
}

func TestText(t *testing.T) {
	for text, want := range map[string]string{`"a"`: "a", ` "\u00fc\n" `: "ü\n", `""`: ""} {
		if got, ok := tensorjson.Text([]byte(text)); !ok || got != want {
			t.Errorf("%s is %q, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "7", `"a`, `"a" 7`, `"\x"`, "{}"} {
		if got, ok := tensorjson.Text([]byte(text)); ok {
			t.Errorf("%s is taken for the string %q", text, got)
		}
	}
}

func TestStack(t *testing.T) {
	got, err := tensorjson.Stack([]tensor.Tensor{read(t, "[1,2]", tensor.Int64), read(t, "[3,4]", tensor.Int64)})
	if err != nil || string(tensorjson.Append(nil, got)) != "[[1, 2], [3, 4]]" {
		t.Errorf("%s, %v", tensorjson.Append(nil, got), err)
	}
	if _, err := tensorjson.Stack([]tensor.Tensor{read(t, "[1,2]", tensor.Int64), read(t, "[3]", tensor.Int64)}); err == nil || !strings.Contains(err.Error(), "expecting shape [2] but got [1]") {
		t.Error(err)
	}
	if _, err := tensorjson.Stack(nil); err == nil {
		t.Error("nothing is stacked")
	}
}

// The examples are those of TensorFlow Serving's documentation and tests: floats
// are told from integers, and have no noise digits.
func TestAppend(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	floats, err := tensor.Of([]float32{0.2, 9000000, 3, -1.5, 1e-9, nan, inf, -inf}, 2, 4)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(tensorjson.Append(nil, floats)); got != "[[0.2, 9e+06, 3.0, -1.5], [1e-09, NaN, Infinity, -Infinity]]" {
		t.Error(got)
	}
	if got := string(tensorjson.AppendFlat([]byte("x"), floats)); got != "x[0.2, 9e+06, 3.0, -1.5, 1e-09, NaN, Infinity, -Infinity]" {
		t.Error(got)
	}
	for want, value := range map[string]tensor.Tensor{
		"255": tensor.Scalar(uint8(255)), "-7": tensor.Scalar(int32(-7)), "-8": tensor.Scalar(int64(-8)), "true": tensor.Scalar(true), "0.1": tensor.Scalar(0.1),
	} {
		if got := string(tensorjson.Append(nil, value)); got != want || !tensorjson.Writes(value.DType()) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if tensorjson.Writes(tensor.BFloat16) || tensorjson.Writes(tensor.String) {
		t.Error("types without a JSON form are said to have one")
	}
}

// What is read is what Go's own reader reads, and what is written is read back.
func FuzzRead(f *testing.F) {
	for _, text := range []string{"[[1,2],[3,4]]", "[]", "1.5e3", "[true]", `{"a": [1]}`, "[-0, 1E5]", "[[[", `["x"]`, "[1,\u00a0]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		valid := json.Valid(text)
		for _, dtype := range []tensor.DType{tensor.Uint8, tensor.Int64, tensor.Float32, tensor.Float64, tensor.Bool} {
			got, err := tensorjson.Read(text, dtype)
			if err != nil {
				continue
			}
			if !valid && !strings.Contains(string(text), "N") && !strings.Contains(string(text), "Inf") {
				t.Fatalf("%q is no JSON and is read as %v %v", text, got.DType(), got.Shape())
			}
			again, err := tensorjson.Read(tensorjson.Append(nil, got), dtype)
			if err != nil && !slices.Contains(got.Shape(), 0) || err == nil && string(again.Bytes()) != string(got.Bytes()) && !strings.Contains(string(text), "N") {
				t.Fatalf("%q is written as %s: %v", text, tensorjson.Append(nil, got), err)
			}
		}
		fields, err := tensorjson.ReadObject(text)
		var want map[string]json.RawMessage
		if goErr := json.Unmarshal(text, &want); err == nil && goErr == nil && want != nil && len(fields) != len(want) {
			t.Fatalf("%q has %d fields, Go says %d", text, len(fields), len(want))
		}
	})
}

func BenchmarkReadImage(b *testing.B) {
	text := []byte("[" + strings.Repeat("["+strings.TrimSuffix(strings.Repeat("[12,255,7],", 32), ",")+"],", 31) + "[" + strings.TrimSuffix(strings.Repeat("[12,255,7],", 32), ",") + "]]")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := tensorjson.Read(text, tensor.Uint8); err != nil {
			b.Fatal(err)
		}
	}
}
