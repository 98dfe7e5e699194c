// Package tensorjson turns the JSON of inference protocols into tensors.
//
// # Basics
//
// ReadObject takes a request apart, Read makes a tensor of nested lists, Append
// writes one:
//
//	fields, err := tensorjson.ReadObject(body)
//	images, err := tensorjson.Read(fields["instances"], tensor.Uint8)
//	body = tensorjson.Append(body, probabilities)
//
// The rules are those of TensorFlow Serving
// (https://www.tensorflow.org/tfx/serving/api_rest#json_mapping): NaN, Infinity and
// -Infinity are numbers, integers do not become of 1.0, and no number is rounded
// to an integer type or beyond what a float holds.
//
// # Caveats
//
// Lists may be nested MaxDepth deep. String tensors are neither read nor written.
package tensorjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/residual-go/residual/tfgo/tensor"
)

// MaxDepth is how deep lists and objects may be nested. Tensors have four
// dimensions, and the objects around them add two.
const MaxDepth = 16

var errEnd = errors.New("the text ends too early")

// syntaxError says where JSON text is wrong.
type syntaxError struct {
	at   int
	what string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("JSON Parse error: %s at offset: %d", e.what, e.at)
}

// scanner walks over JSON text.
type scanner struct {
	text []byte
	at   int
}

func (s *scanner) errorf(format string, values ...any) error {
	return &syntaxError{s.at, fmt.Sprintf(format, values...)}
}

// next skips white space and returns the byte behind it, 0 at the end.
func (s *scanner) next() byte {
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
		default:
			return s.text[s.at]
		}
	}
	return 0
}

// take skips white space and this byte, and tells whether it was there.
func (s *scanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

// end returns an error if there is more than white space.
func (s *scanner) end() error {
	if s.next() != 0 || s.at < len(s.text) {
		return s.errorf("the document root must not be followed by other values")
	}
	return nil
}

// members calls each for each value of an object, or of a list whose keys are
// empty then. each must read the value.
func (s *scanner) members(depth int, each func(key string) error) error {
	opening := s.next()
	s.at++
	closing := opening + 2 // of both, in ASCII
	if depth >= MaxDepth {
		return s.errorf("lists and objects are nested more than %d deep", MaxDepth)
	}
	if s.take(closing) {
		return nil
	}
	for {
		key := ""
		if opening == '{' {
			var err error
			if key, err = s.key(); err != nil {
				return err
			}
		}
		if err := each(key); err != nil {
			return err
		}
		switch {
		case s.take(','):
		case s.take(closing):
			return nil
		default:
			return s.errorf("missing a comma or %c after a value", closing)
		}
	}
}

func (s *scanner) key() (string, error) {
	if s.next() != '"' {
		return "", s.errorf("missing a name for an object member")
	}
	raw, err := s.str()
	if err != nil {
		return "", err
	}
	key, ok := unquote(raw)
	if !ok {
		return "", s.errorf("an object member's name is not a string")
	}
	if !s.take(':') {
		return "", s.errorf("missing a colon after a name of an object member")
	}
	return key, nil
}

// str returns a string with its quotes and escapes.
func (s *scanner) str() ([]byte, error) {
	begin := s.at
	for s.at++; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case '\\':
			s.at++
		case '"':
			s.at++
			return s.text[begin:s.at], nil
		}
	}
	s.at = len(s.text)
	return nil, s.errorf("missing a closing quotation mark in string")
}

// unquote returns what a string with its quotes stands for.
func unquote(raw []byte) (string, bool) {
	plain := raw[1 : len(raw)-1]
	if !slices.ContainsFunc(plain, func(c byte) bool { return c == '\\' || c < ' ' || c >= utf8.RuneSelf }) {
		return string(plain), true
	}
	var text string
	err := json.Unmarshal(raw, &text)
	return text, err == nil
}

// word returns what stands up to the next delimiter: a number, a name.
func (s *scanner) word() []byte {
	begin := s.at
	for ; s.at < len(s.text); s.at++ {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r', ',', ']', '}', '[', '{', ':', '"':
			return s.text[begin:s.at]
		}
	}
	return s.text[begin:]
}

// skip walks over a value and returns its text.
func (s *scanner) skip(depth int) ([]byte, error) {
	c := s.next()
	begin := s.at
	switch c {
	case 0:
		return nil, s.errorf("%v", errEnd)
	case '[', '{':
		err := s.members(depth, func(string) error {
			_, err := s.skip(depth + 1)
			return err
		})
		return s.text[begin:s.at], err
	case '"':
		raw, err := s.str()
		if err != nil {
			return nil, err
		}
		if _, ok := unquote(raw); !ok {
			return nil, s.errorf("invalid string")
		}
		return raw, nil
	}
	word := s.word()
	if kind := kindOf(word); kind == "" {
		s.at = begin
		return nil, s.errorf("invalid value")
	}
	return word, nil
}

// maxMembers is how many members an object may have: requests have fewer than ten.
const maxMembers = 1000

// ReadObject returns the text of each of an object's values, by key. The first of
// equal keys counts. The texts share the memory of text.
func ReadObject(text []byte) (map[string][]byte, error) {
	s := &scanner{text: text}
	switch c := s.next(); {
	case c == 0:
		return nil, s.errorf("the document is empty")
	case c != '{':
		if _, err := s.skip(0); err != nil {
			return nil, err
		}
		return nil, errors.New("JSON Value: Is not object")
	}
	fields := map[string][]byte{}
	err := s.members(0, func(key string) error {
		value, err := s.skip(1)
		if _, known := fields[key]; !known {
			fields[key] = value
		}
		if err == nil && len(fields) > maxMembers {
			err = s.errorf("an object has more than %d members", maxMembers)
		}
		return err
	})
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, err
	}
	return fields, nil
}

// Elements returns the texts of a list's values, of at most so many.
func Elements(text []byte, most int) ([][]byte, error) {
	s := &scanner{text: text}
	if s.next() != '[' {
		return nil, errors.New("JSON Value: Is not a list")
	}
	var elements [][]byte
	err := s.members(0, func(string) error {
		element, err := s.skip(1)
		elements = append(elements, element)
		if err == nil && len(elements) > most {
			err = s.errorf("a list has more than %d values", most)
		}
		return err
	})
	if err == nil {
		err = s.end()
	}
	return elements, err
}

// Text returns what the text of a string stands for; false if it is none.
func Text(text []byte) (string, bool) {
	s := &scanner{text: text}
	if s.next() != '"' {
		return "", false
	}
	raw, err := s.str()
	if err != nil || s.end() != nil {
		return "", false
	}
	return unquote(raw)
}

// IsObject tells whether a text is an object's, by its first character.
func IsObject(text []byte) bool { return (&scanner{text: text}).next() == '{' }

// IsListOfObjects tells so of a list and its first value.
func IsListOfObjects(text []byte) bool {
	s := &scanner{text: text}
	return s.take('[') && s.next() == '{'
}

// Stack joins tensors of one type and shape to one with a dimension more.
func Stack(items []tensor.Tensor) (tensor.Tensor, error) {
	if len(items) == 0 {
		return tensor.Tensor{}, errors.New("there is nothing to join")
	}
	first := items[0]
	data := make([]byte, 0, len(items)*len(first.Bytes()))
	for _, item := range items {
		if !slices.Equal(item.Shape(), first.Shape()) {
			return tensor.Tensor{}, fmt.Errorf("expecting shape %s but got %s", tensor.FormatShape(first.Shape()), tensor.FormatShape(item.Shape()))
		}
		data = append(data, item.Bytes()...)
	}
	return tensor.FromBytes(first.DType(), data, append([]int{len(items)}, first.Shape()...)...)
}
