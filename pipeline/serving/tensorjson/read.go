package tensorjson

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/residual-go/residual/tfgo/tensor"
)

// Read makes a tensor of nested lists of numbers or booleans: [[1, 2], [3, 4]] has
// shape [2,2], a number alone has shape [].
func Read(text []byte, dtype tensor.DType) (tensor.Tensor, error) {
	convert, ok := converters[dtype]
	if !ok {
		return tensor.Tensor{}, fmt.Errorf("JSON values are not converted to %s", dtype)
	}
	r := &reader{scanner: scanner{text: text}, dtype: dtype, convert: convert, rank: -1}
	err := r.value(0)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return tensor.Tensor{}, err
	}
	return tensor.FromBytes(dtype, r.data, r.shape...)
}

// reader collects the elements of one tensor.
type reader struct {
	scanner
	dtype   tensor.DType
	convert func(data, word []byte) ([]byte, bool)
	data    []byte
	rank    int   // -1 until the first element has been seen
	shape   []int // of what has been closed; -1 where no list has been
}

func (r *reader) value(level int) error {
	if r.next() == '[' {
		return r.list(level)
	}
	if r.rank < 0 {
		r.setRank(level)
	}
	begin := r.at
	switch c := r.next(); {
	case c == 0 && r.at >= len(r.text):
		return r.errorf("%v", errEnd)
	case c == '{' || c == '"':
		text, err := r.skip(level)
		if err != nil {
			return err
		}
		return r.typeError(text)
	case level != r.rank:
		return fmt.Errorf("JSON Value: %s found at incorrect level: %d in the JSON DOM. Expected at level: %d", shorten(r.word()), level+1, r.rank)
	}
	word := r.word()
	data, ok := r.convert(r.data, word)
	if !ok {
		if kindOf(word) == "" {
			r.at = begin
			return r.errorf("invalid value")
		}
		return r.typeError(word)
	}
	r.data = data
	return nil
}

func (r *reader) list(level int) error {
	if r.rank >= 0 && level >= r.rank {
		return fmt.Errorf("encountered list at unexpected level: %d, expected < %d", level, r.rank)
	}
	for len(r.shape) <= level {
		r.shape = append(r.shape, -1)
	}
	n := 0
	err := r.members(level, func(string) error {
		n++
		return r.value(level + 1)
	})
	if err != nil {
		return err
	}
	if r.rank < 0 { // the first list without elements
		r.setRank(level + 1)
	}
	if want := r.shape[level]; want >= 0 && want != n {
		return fmt.Errorf("encountered list of unexpected size: %d at level: %d, expected size: %d", n, level, want)
	}
	r.shape[level] = n
	return nil
}

func (r *reader) setRank(rank int) {
	r.rank = rank
	r.shape = r.shape[:rank]
}

func (r *reader) typeError(text []byte) error {
	return fmt.Errorf("JSON Value: %s Type: %s is not of expected type: %s", shorten(text), kindOf(text), r.dtype)
}

// shorten keeps errors readable.
func shorten(text []byte) string {
	const most = 60
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

// kindOf names what a text is, as TensorFlow Serving does; "" if it is no JSON.
func kindOf(text []byte) string {
	switch word := string(text); {
	case word == "":
		return ""
	case word[0] == '{':
		return "Object"
	case word[0] == '[':
		return "Array"
	case word[0] == '"':
		return "String"
	case word == "null":
		return "Null"
	case word == "true":
		return "True"
	case word == "false":
		return "False"
	case isNumber(text):
		return "Number"
	}
	return ""
}

// isNumber holds text against the grammar of JSON's numbers (RFC 8259, 6), and the
// names of those that JSON has not.
func isNumber(text []byte) bool {
	if _, special := specials[string(text)]; special {
		return true
	}
	rest, _ := cutSign(text)
	digits := countDigits(rest)
	if digits == 0 || digits > 1 && rest[0] == '0' {
		return false
	}
	rest = rest[digits:]
	if len(rest) > 0 && rest[0] == '.' {
		digits = countDigits(rest[1:])
		if digits == 0 {
			return false
		}
		rest = rest[1+digits:]
	}
	if len(rest) > 0 && (rest[0] == 'e' || rest[0] == 'E') {
		rest = rest[1:]
		if len(rest) > 0 && (rest[0] == '+' || rest[0] == '-') {
			rest = rest[1:]
		}
		digits = countDigits(rest)
		if digits == 0 {
			return false
		}
		rest = rest[digits:]
	}
	return len(rest) == 0
}

func cutSign(text []byte) (rest []byte, negative bool) {
	if len(text) > 0 && text[0] == '-' {
		return text[1:], true
	}
	return text, false
}

func countDigits(text []byte) int {
	n := slices.IndexFunc(text, func(c byte) bool { return c < '0' || c > '9' })
	if n < 0 {
		return len(text)
	}
	return n
}

var specials = map[string]float64{
	"NaN": math.NaN(), "Infinity": math.Inf(1), "-Infinity": math.Inf(-1), "Inf": math.Inf(1), "-Inf": math.Inf(-1),
}

// converters append one element, if the word is one of their type's.
var converters = map[tensor.DType]func(data, word []byte) ([]byte, bool){
	tensor.Uint8: func(data, word []byte) ([]byte, bool) {
		n, ok := integer(word)
		return append(data, byte(n)), ok && 0 <= n && n <= math.MaxUint8
	},
	tensor.Int32: func(data, word []byte) ([]byte, bool) {
		n, ok := integer(word)
		return binary.NativeEndian.AppendUint32(data, uint32(n)), ok && math.MinInt32 <= n && n <= math.MaxInt32
	},
	tensor.Int64: func(data, word []byte) ([]byte, bool) {
		n, ok := integer(word)
		return binary.NativeEndian.AppendUint64(data, uint64(n)), ok
	},
	tensor.Float32: func(data, word []byte) ([]byte, bool) {
		x, ok := float(word, 32, 1<<24)
		return binary.NativeEndian.AppendUint32(data, math.Float32bits(float32(x))), ok
	},
	tensor.Float64: func(data, word []byte) ([]byte, bool) {
		x, ok := float(word, 64, 1<<53)
		return binary.NativeEndian.AppendUint64(data, math.Float64bits(x)), ok
	},
	tensor.Bool: func(data, word []byte) ([]byte, bool) {
		switch string(word) {
		case "true":
			return append(data, 1), true
		case "false":
			return append(data, 0), true
		}
		return data, false
	},
}

// integer reads -?(0|[1-9][0-9]*) within int64.
func integer(word []byte) (int64, bool) {
	digits, negative := cutSign(word)
	if len(digits) == 0 || len(digits) > 1 && digits[0] == '0' {
		return 0, false
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' || n > (math.MaxUint64-9)/10 {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	if negative {
		return -int64(n), n <= 1<<63
	}
	return int64(n), n <= math.MaxInt64
}

// float reads a number that fits the bits; of whole ones only those below exact,
// up to which all can be told apart.
func float(word []byte, bits int, exact int64) (float64, bool) {
	if x, ok := specials[string(word)]; ok {
		return x, true
	}
	if n, ok := integer(word); ok && n != 0 { // -0 is a float only
		return float64(n), -exact < n && n < exact
	}
	if !isNumber(word) {
		return 0, false
	}
	x, err := strconv.ParseFloat(string(word), bits)
	return x, err == nil
}
