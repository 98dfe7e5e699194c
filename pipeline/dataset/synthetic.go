package dataset

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/residual-go/residual/pipeline/imagefile"
)

// The sizes of the drawn splits, before Options.Limit.
const (
	syntheticTrain = 5000
	syntheticTest  = 1000
)

// synthetic draws images of as many classes as the model has, whatever their
// names. A class is a pattern in a colour; position, size, brightness and
// background differ from image to image, and noise lies over all. The colours
// of neighbouring classes overlap and backgrounds are coloured too, so that
// the mean colour alone does not give the class away.
type synthetic struct{}

func (synthetic) missing() string { return "synthetic data always has one" }

func (synthetic) list(_ context.Context, split string, o Options) (*listing, error) {
	if len(o.Classes) < 2 {
		return nil, fmt.Errorf("synthetic data needs a model of at least 2 classes, this one has %d", len(o.Classes))
	}
	n, stream := syntheticTrain, uint64(1)
	if split == "test" {
		n, stream = syntheticTest, 2
	}
	if n < len(o.Classes) {
		n = len(o.Classes)
	}
	all := &listing{where: split}
	for i := range n {
		label := i % len(o.Classes)
		all.examples = append(all.examples, example{
			name:  fmt.Sprintf("synthetic/%s#%d", split, i),
			label: label,
			image: drawing{label, stream, uint64(i)},
		})
	}
	return all, nil
}

// drawing is one image: the class and the seed of everything else. Train and
// test use different streams, so that no test image was trained on.
type drawing struct {
	class         int
	stream, index uint64
}

func (drawing) check() error { return nil }

func (d drawing) identity() string {
	return fmt.Sprintf("drawing 1 %d %d %d", d.class, d.stream, d.index)
}

func (d drawing) read(shape imagefile.Shape, pixels []byte) error {
	random := rand.New(rand.NewPCG(d.stream, d.index))
	pattern := patterns[d.class%len(patterns)]
	sketch := newSketch(d.class, random)
	for y := range shape.Height {
		for x := range shape.Width {
			u, v := sketch.place(x, y, shape)
			color := sketch.back
			if pattern(u, v) {
				color = sketch.fore
			}
			dot := pixels[3*(y*shape.Width+x):]
			noise := random.Uint64()
			for c := range 3 {
				grain := int(noise>>(8*c)&63) - 32
				dot[c] = byte(max(0, min(color[c]+grain, 255)))
			}
		}
	}
	return nil
}

// sketch is what one image has of its own.
type sketch struct {
	fore, back     [3]int
	shiftX, shiftY float64
	scaleX, scaleY float64
}

func newSketch(class int, random *rand.Rand) sketch {
	between := func(low, high float64) float64 { return low + (high-low)*random.Float64() }
	// The golden ratio spreads any number of hues over the circle.
	hue := float64(class)*0.618034 + between(-0.09, 0.09)
	scale := between(0.85, 1.15)
	return sketch{
		fore:   rgb(hue, between(0.6, 1), between(0.6, 1)),
		back:   rgb(random.Float64(), between(0, 0.6), between(0.1, 0.6)),
		shiftX: between(-0.15, 0.15),
		shiftY: between(-0.15, 0.15),
		scaleX: scale,
		scaleY: scale,
	}
}

// place maps a pixel to the pattern's plane, where the image is [-1,1]x[-1,1].
func (s sketch) place(x, y int, shape imagefile.Shape) (u, v float64) {
	u = (2*float64(x)+1)/float64(shape.Width) - 1
	v = (2*float64(y)+1)/float64(shape.Height) - 1
	return (u + s.shiftX) * s.scaleX, (v + s.shiftY) * s.scaleY
}

// patterns say whether a place is foreground.
var patterns = []func(u, v float64) bool{
	func(u, v float64) bool { return odd(3 * v) },                                         // stripes across
	func(u, v float64) bool { return odd(3 * u) },                                         // stripes down
	func(u, v float64) bool { return u*u+v*v < 0.4 },                                      // disc
	func(u, v float64) bool { return odd(2*u) != odd(2*v) },                               // checkers
	func(u, v float64) bool { return math.Abs(math.Hypot(u, v)-0.65) < 0.18 },             // ring
	func(u, v float64) bool { return math.Abs(u) < 0.22 || math.Abs(v) < 0.22 },           // cross
	func(u, v float64) bool { return odd(2.2 * (u + v)) },                                 // diagonal stripes
	func(u, v float64) bool { return v > math.Abs(2*u)-0.7 && v < 0.7 },                   // triangle
	func(u, v float64) bool { return math.Abs(max(math.Abs(u), math.Abs(v))-0.6) < 0.15 }, // frame
	func(u, v float64) bool { return math.Abs(u-v) < 0.25 || math.Abs(u+v) < 0.25 },       // saltire
}

func odd(x float64) bool { return int(math.Floor(x))&1 == 1 }

// rgb converts a colour from hue (any number, one turn is 1), saturation and
// value in [0,1].
func rgb(hue, saturation, value float64) [3]int {
	var color [3]int
	for c := range color {
		_, turn := math.Modf(hue + 2 + float64(3-c)/3)
		part := max(0, min(math.Abs(6*turn-3)-1, 1))
		color[c] = int(255 * value * (1 - saturation*(1-part)))
	}
	return color
}
