package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// textsOf returns the texts of an SVG file and the styles that they have.
func textsOf(t *testing.T, data []byte) (texts, styles []string) {
	t.Helper()
	for decoder := xml.NewDecoder(bytes.NewReader(data)); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return texts, styles
		}
		if err != nil {
			t.Fatalf("it is not XML: %v", err)
		}
		element, ok := token.(xml.StartElement)
		if !ok || element.Name.Local != "text" {
			continue
		}
		var text string
		if err := decoder.DecodeElement(&text, &element); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
		for _, a := range element.Attr {
			if a.Name.Local == "style" {
				styles = append(styles, a.Value)
			}
		}
	}
}

func TestSVGHasItsTextsAsText(t *testing.T) {
	var data bytes.Buffer
	run := course(2000, 3, true)
	run.Title = `a <b> & "c" 日本語`
	if err := Curves(&data, run, SVG); err != nil {
		t.Fatal(err)
	}
	texts, styles := textsOf(t, data.Bytes())
	for _, want := range []string{run.Title, "loss", "accuracy", "step", "1,500", "80 %", "train, smoothed", "test, after each epoch"} {
		if !slices.Contains(texts, want) {
			t.Errorf("%q is not among %q", want, texts)
		}
	}
	for i, style := range styles {
		if !strings.Contains(style, "Liberation Sans,Arial,Helvetica,sans-serif;") {
			t.Errorf("%q has no font to fall back to: %s", texts[i], style)
		}
	}
	if len(styles) != len(texts) {
		t.Errorf("%d of %d texts have a style", len(styles), len(texts))
	}
}

func TestSVGIsXMLWhateverTheNames(t *testing.T) {
	for _, name := range []string{"", "\x00\x1b[31m", "\xff\xfe", "\ufffe\uffff", "</svg>", `style="font-family:Liberation Sans;`, "a\nb\tc", "\u0085"} {
		var data bytes.Buffer
		if err := Compare(&data, named(name, "other"), SVG); err != nil {
			t.Fatal(err)
		}
		texts, _ := textsOf(t, data.Bytes())
		want := printable(name)
		if !utf8.ValidString(want) || !slices.Contains(texts, want) {
			t.Errorf("of %q there is no %q among %q", name, want, texts)
		}
	}
}

// The time that a run's picture takes, and the room, do not grow with the run.
func TestSVGOfALongRunIsSmall(t *testing.T) {
	var data bytes.Buffer
	if err := Curves(&data, course(200_000, 20_000, true), SVG); err != nil {
		t.Fatal(err)
	}
	if data.Len() > 300_000 {
		t.Errorf("it has %d bytes", data.Len())
	}
}

func TestSqueezeKeepsBothEnds(t *testing.T) {
	p := newPage(1, 1)
	for _, text := range []string{"", "cat", strings.Repeat("word ", 200), "日本語日本語日本語"} {
		for _, width := range []int{0, 30, 60, 1000} {
			got := p.squeeze(text, 16, width)
			if width >= 30 && p.width(got, 16) > width {
				t.Errorf("squeeze(%q, %d) = %q, %d pixels wide", text, width, got, p.width(got, 16))
			}
			if p.width(text, 16) <= width && got != text {
				t.Errorf("squeeze(%q, %d) = %q", text, width, got)
			}
		}
	}
	if got := p.squeeze("a"+strings.Repeat("b", 500)+"c", 16, 200); !strings.HasPrefix(got, "ab") || !strings.HasSuffix(got, "bc") {
		t.Errorf("it keeps %q", got)
	}
}
