package plot

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"

	xfont "golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
)

// page is a white picture to be drawn on in pixels from the top left corner.
type page struct {
	*image.RGBA
	faces map[float64]xfont.Face // by size
}

func newPage(width, height int) *page {
	p := &page{RGBA: image.NewRGBA(image.Rect(0, 0, width, height)), faces: map[float64]xfont.Face{}}
	p.fill(p.Bounds(), paper)
	return p
}

func (p *page) fill(r image.Rectangle, c color.Color) {
	draw.Draw(p.RGBA, r, image.NewUniform(c), image.Point{}, draw.Src)
}

// frame draws the outermost pixels of r.
func (p *page) frame(r image.Rectangle, c color.Color) {
	p.fill(image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+1), c)
	p.fill(image.Rect(r.Min.X, r.Max.Y-1, r.Max.X, r.Max.Y), c)
	p.fill(image.Rect(r.Min.X, r.Min.Y, r.Min.X+1, r.Max.Y), c)
	p.fill(image.Rect(r.Max.X-1, r.Min.Y, r.Max.X, r.Max.Y), c)
}

func (p *page) write(w io.Writer) error {
	if err := png.Encode(w, p.RGBA); err != nil {
		return fmt.Errorf("write picture: %w", err)
	}
	return nil
}

// align says which part of a text lies on the point where it is drawn.
type align float64

const (
	left   align = 0
	centre align = 0.5
	right  align = 1
)

// label is a line of text. Its middle, from top to bottom, lies on the point
// where it is drawn.
type label struct {
	text  string
	size  float64 // of the letters, in pixels
	align align
	color color.Color // ink if nil
}

func (p *page) text(x, y int, l label) {
	face := p.face(l.size)
	width := xfont.MeasureString(face, l.text)
	start := fixed.I(x) - fixed.Int26_6(float64(width)*float64(l.align))
	if l.color == nil {
		l.color = ink
	}
	d := xfont.Drawer{Dst: p.RGBA, Src: image.NewUniform(l.color), Face: face,
		// Capitals are about 0.72 of a size high.
		Dot: fixed.Point26_6{X: start, Y: fixed.I(y) + fixed.Int26_6(l.size*0.36*64)}}
	d.DrawString(l.text)
}

// turned draws a text that reads from bottom to top.
func (p *page) turned(x, y int, l label) {
	width, height := p.width(l.text, l.size)+4, int(2*l.size)
	flat := newPage(width, height)
	flat.faces = p.faces
	flat.text(2, height/2, label{text: l.text, size: l.size, color: l.color})
	top := y - width + int(float64(width)*float64(l.align))
	for i := range width {
		for j := range height {
			if c := flat.RGBAAt(i, j); c != paper {
				p.Set(x-height/2+j, top+width-1-i, c)
			}
		}
	}
}

// width returns how many pixels a text takes.
func (p *page) width(text string, size float64) int {
	return xfont.MeasureString(p.face(size), text).Ceil()
}

// widest returns the width of the widest of texts, but at most limit.
func (p *page) widest(texts []string, size float64, limit int) int {
	widest := 0
	for _, text := range texts {
		widest = max(widest, p.width(text, size))
	}
	return min(widest, limit)
}

// shorten returns as much of text as fits into width.
func (p *page) shorten(text string, size float64, width int) string {
	runes := []rune(text)
	if len(runes) > width { // no letter is narrower than a pixel
		runes = runes[:width]
		text = string(runes) + "…"
	}
	for n := len(runes); n > 0 && p.width(text, size) > width; n-- {
		text = string(runes[:n-1]) + "…"
	}
	return text
}

// squeeze returns as much of text as fits into width, with its begin and its end:
// the names of runs differ in either.
func (p *page) squeeze(text string, size float64, width int) string {
	runes := []rune(text)
	for keep := min(len(runes), width); p.width(text, size) > width && keep > 0; keep-- {
		text = string(runes[:keep/2]) + "…" + string(runes[len(runes)-(keep-keep/2):])
	}
	return text
}

func (p *page) face(size float64) xfont.Face {
	if p.faces[size] == nil {
		found := font.DefaultCache.Lookup(sans, font.Length(size))
		p.faces[size] = found.FontFace(72) // at 72 dots an inch a point is a pixel
	}
	return p.faces[size]
}

// sans is among the fonts that Gonum's package plot puts into the cache.
var sans = font.Font{Typeface: plot.DefaultFont.Typeface, Variant: "Sans"}

// sized returns the font for Gonum's canvas, its letters size pixels high.
func sized(size int) font.Font { return font.From(sans, pixels(size)) }
