package plot

import (
	"bytes"
	"fmt"
	"image/png"
	"io"
	"strings"
	"unicode"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

const dotsPerInch = 144

// pixels says a number of pixels in the unit of Gonum's canvas.
func pixels(n int) vg.Length { return vg.Length(n) * vg.Inch / dotsPerInch }

// sheet is a white picture for curves, of dots or of lines. Places on it are
// pixels from the top left corner, as on a page.
type sheet struct {
	draw.Canvas
	height int
	ruler  *page // measures texts
	encode func(io.Writer) error
}

func newSheet(format Format, width, height int) (*sheet, error) {
	s := &sheet{height: height, ruler: newPage(1, 1)}
	size := vg.Point{X: pixels(width), Y: pixels(height)}
	switch format {
	case PNG:
		canvas := vgimg.NewWith(vgimg.UseWH(size.X, size.Y), vgimg.UseDPI(dotsPerInch), vgimg.UseBackgroundColor(paper))
		s.Canvas = draw.New(canvas)
		s.encode = func(w io.Writer) error { return png.Encode(w, canvas.Image()) }
	case SVG:
		canvas := vgsvg.New(size.X, size.Y)
		s.Canvas = draw.New(canvas)
		s.encode = func(w io.Writer) error { return encodeSVG(w, canvas) }
		s.FillPolygon(paper, []vg.Point{{}, {X: size.X}, size, {Y: size.Y}}) // viewers may be dark
	default:
		return nil, fmt.Errorf("draw curves: there is no format %q, only %v", format, Formats)
	}
	return s, nil
}

// encodeSVG gives the texts fonts to fall back to. Vgsvg names Liberation Sans
// only, in whose place Windows and macOS would take a serif; Arial has its
// widths.
func encodeSVG(w io.Writer, canvas *vgsvg.Canvas) error {
	const alone = `style="font-family:Liberation Sans;` // in a text the quote would be escaped
	var file bytes.Buffer
	if _, err := canvas.WriteTo(&file); err != nil {
		return err
	}
	_, err := w.Write(bytes.ReplaceAll(file.Bytes(), []byte(alone),
		[]byte(`style="font-family:Liberation Sans,Arial,Helvetica,sans-serif;`)))
	return err
}

func (s *sheet) write(w io.Writer) error {
	if err := s.encode(w); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	return nil
}

// at returns a place in the canvas's measure, which begins at the bottom.
func (s *sheet) at(x, y int) vg.Point { return vg.Point{X: pixels(x), Y: pixels(s.height - y)} }

func (s *sheet) text(x, y int, l label) {
	face := font.DefaultCache.Lookup(sans, pixels(1)*vg.Length(l.size))
	at := s.at(x, y)
	at.X -= face.Width(l.text) * vg.Length(l.align)
	at.Y -= 0.36 * face.Font.Size // capitals are about 0.72 of a size high
	if l.color == nil {
		l.color = ink
	}
	s.SetColor(l.color)
	s.FillString(face, at, l.text)
}

// printable replaces what no font draws and XML does not allow.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0xfffe || r == 0xffff {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, string(unicode.ReplacementChar)))
}
