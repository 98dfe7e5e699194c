package plot

import (
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
	"strconv"
)

// Confusion draws a confusion matrix, matrix[label][prediction], as a heat
// map: each row is a true class, coloured by the share of its examples that
// each prediction got. Rare mistakes are darker than in proportion, so that
// they show. Up to 20 classes have their counts printed in the cells. The
// matrix must be as wide and as high as there are classes.
func Confusion(w io.Writer, matrix [][]int, classes []string) error {
	if err := checkMatrix(matrix, len(classes)); err != nil {
		return err
	}
	return layConfusion(matrix, classes).draw().write(w)
}

func checkMatrix(matrix [][]int, classes int) error {
	if classes == 0 {
		return fmt.Errorf("draw confusion matrix: there are no classes")
	}
	if len(matrix) != classes {
		return fmt.Errorf("draw confusion matrix: %d rows for %d classes", len(matrix), classes)
	}
	for label, row := range matrix {
		if len(row) != classes {
			return fmt.Errorf("draw confusion matrix: row %d has %d columns for %d classes", label, len(row), classes)
		}
		for prediction, n := range row {
			if n < 0 {
				return fmt.Errorf("draw confusion matrix: row %d counts %d examples in column %d", label, n, prediction)
			}
		}
	}
	return nil
}

const (
	margin     = 24  // around everything
	titleSize  = 18  // of the letters
	nameLimit  = 170 // the most that a class name takes
	countLimit = 20  // the most classes whose cells have counts
)

// confusion is a heat map being drawn.
type confusion struct {
	*page
	matrix   [][]int
	classes  []string
	cell     int // pixels of a side
	nameSize float64
	every    int             // only each so manieth class is named
	upright  bool            // names below the columns read from bottom to top
	grid     image.Rectangle // of all cells
}

func layConfusion(matrix [][]int, classes []string) *confusion {
	n := len(classes)
	c := &confusion{page: newPage(1, 1), matrix: matrix, classes: classes}
	c.cell = max(1, min(120, max(12, 600/n), 2400/n))
	c.nameSize = min(16, max(10, 0.7*float64(c.cell)))
	c.every = (int(c.nameSize) + c.cell) / c.cell
	widest := c.widest(classes, c.nameSize, nameLimit)
	c.upright = widest > c.cell-6
	below := int(1.5 * c.nameSize)
	if c.upright {
		below = widest
	}
	origin := image.Pt(margin+2*titleSize+widest+8, margin+2*titleSize)
	c.grid = image.Rectangle{Min: origin, Max: origin.Add(image.Pt(n*c.cell, n*c.cell))}
	// The title needs room also above two small cells.
	width := max(c.grid.Max.X+margin, origin.X+c.width(c.heading(), titleSize)+margin)
	faces := c.faces
	c.page = newPage(width, c.grid.Max.Y+8+below+2*titleSize+margin)
	c.page.faces = faces
	return c
}

func (c *confusion) draw() *page {
	c.cells()
	c.names()
	c.titles()
	return c.page
}

func (c *confusion) cells() {
	for label, row := range c.matrix {
		total := sum(row)
		for prediction, n := range row {
			share := 0.0
			if total > 0 {
				share = float64(n) / float64(total)
			}
			at := c.at(label, prediction)
			depth := math.Pow(share, 0.6)
			c.fill(at, shade(depth))
			if len(c.classes) <= countLimit {
				c.count(at, n, depth)
			}
		}
	}
	c.frame(c.grid.Inset(-1), faint)
}

// at returns the place of a cell. A gap shows the cells apart while they are
// big enough.
func (c *confusion) at(label, prediction int) image.Rectangle {
	corner := c.grid.Min.Add(image.Pt(prediction*c.cell, label*c.cell))
	r := image.Rectangle{Min: corner, Max: corner.Add(image.Pt(c.cell, c.cell))}
	if c.cell >= 12 {
		r.Max = r.Max.Sub(image.Pt(1, 1))
	}
	return r
}

func (c *confusion) count(at image.Rectangle, n int, depth float64) {
	text := strconv.Itoa(n)
	size := min(20, 0.36*float64(c.cell))
	for size > 6 && c.width(text, size) > at.Dx()-4 {
		size--
	}
	l := label{text: text, size: size, align: centre}
	switch {
	case n == 0:
		l.color = color.RGBA{0xb0, 0xb0, 0xb0, 0xff}
	case depth > 0.4:
		l.color = paper
	}
	c.text(at.Min.X+at.Dx()/2, at.Min.Y+at.Dy()/2, l)
}

func (c *confusion) names() {
	for i := 0; i < len(c.classes); i += c.every {
		name := c.shorten(c.classes[i], c.nameSize, nameLimit)
		middle := i*c.cell + c.cell/2
		c.text(c.grid.Min.X-8, c.grid.Min.Y+middle, label{text: name, size: c.nameSize, align: right})
		if c.upright {
			c.turned(c.grid.Min.X+middle, c.grid.Max.Y+8, label{text: name, size: c.nameSize, align: right})
			continue
		}
		c.text(c.grid.Min.X+middle, c.grid.Max.Y+8+int(c.nameSize)/2, label{text: name, size: c.nameSize, align: centre})
	}
}

func (c *confusion) titles() {
	middle := c.grid.Min.Add(c.grid.Max).Div(2)
	c.text(c.grid.Min.X, margin+titleSize/2, label{text: c.heading(), size: titleSize})
	c.turned(margin+titleSize/2, middle.Y, label{text: "true", size: titleSize, align: centre, color: faint})
	c.text(middle.X, c.Bounds().Max.Y-margin-titleSize/2, label{text: "predicted", size: titleSize, align: centre, color: faint})
}

func (c *confusion) heading() string {
	total, correct := 0, 0
	for label, row := range c.matrix {
		total += sum(row)
		correct += row[label]
	}
	if total == 0 {
		return "no examples"
	}
	return fmt.Sprintf("%s of %s correct (%.2f %%)", group(correct), group(total), 100*float64(correct)/float64(total))
}

// shade goes from white over blue to a dark blue, so that it is also ordered
// in black and white.
func shade(depth float64) color.RGBA {
	if depth < 0.6 {
		return mix(paper, blue, depth/0.6)
	}
	return mix(blue, darkBlue, (depth-0.6)/0.4)
}

func mix(a, b color.RGBA, part float64) color.RGBA {
	between := func(a, b uint8) uint8 { return uint8(float64(a) + (float64(b)-float64(a))*part + 0.5) }
	return color.RGBA{between(a.R, b.R), between(a.G, b.G), between(a.B, b.B), 0xff}
}

// group writes a count with a comma after each three digits.
func group(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func sum(row []int) int {
	total := 0
	for _, n := range row {
		total += n
	}
	return total
}
