package plot

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"gonum.org/v1/plot/vg/vgimg"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// picture decodes what write writes.
func picture(t *testing.T, write func(io.Writer) error) *image.RGBA {
	t.Helper()
	var data bytes.Buffer
	if err := write(&data); err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(&data)
	if err != nil {
		t.Fatal(err)
	}
	rgba := image.NewRGBA(img.Bounds())
	draw.Draw(rgba, img.Bounds(), img, image.Point{}, draw.Src)
	return rgba
}

// curvesHeader is the height of a title and a legend of one row.
var curvesHeader = headerHeight(splitLegend())

// drawn is the picture of a run's curves.
func drawn(t *testing.T, run Run) *image.RGBA {
	t.Helper()
	return imageOf(t)(run.draw(PNG))
}

// imageOf returns what is on a sheet: encoding it takes longer than all else.
func imageOf(t *testing.T) func(*sheet, error) *image.RGBA {
	return func(s *sheet, err error) *image.RGBA {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s.Canvas.Canvas.(*vgimg.Canvas).Image().(*image.RGBA)
	}
}

// darkness is 0 for white, 1 for black.
func darkness(img *image.RGBA, x, y int) float64 {
	gray := color.Gray16Model.Convert(img.At(x, y)).(color.Gray16)
	return 1 - float64(gray.Y)/0xffff
}

// count returns how many pixels of r have the color.
func count(img *image.RGBA, r image.Rectangle, c color.RGBA) int {
	n := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			if img.RGBAAt(x, y) == c {
				n++
			}
		}
	}
	return n
}

// course makes up a run whose loss falls from 2.3 to 0.4.
func course(steps, epochs int, test bool) Run {
	rng := rand.New(rand.NewPCG(1, 2))
	r := Run{Title: "resnet50"}
	for i := 1; i <= steps; i++ {
		fade := math.Exp(-4 * float64(i) / float64(steps))
		r.Steps = append(r.Steps, Step{Number: i, Loss: 0.4 + 1.9*fade + 0.05*rng.NormFloat64(), Accuracy: 0.9 - 0.8*fade})
		if epochs > 0 && i%(steps/epochs) == 0 {
			epoch := Epoch{Step: i, Train: Score{Loss: 0.6 + 1.9*fade, Accuracy: 0.8 - 0.7*fade}}
			if test {
				epoch.Test = &Score{Loss: 0.7 + 1.9*fade, Accuracy: 0.75 - 0.7*fade}
			}
			r.Epochs = append(r.Epochs, epoch)
		}
	}
	return r
}

func TestCurvesDrawsRunsOfEveryLength(t *testing.T) {
	for name, run := range map[string]Run{
		"one step":               course(1, 0, false),
		"two steps":              course(2, 0, false),
		"a short epoch":          course(10, 1, true),
		"no test":                course(50, 2, false),
		"an epoch cut off":       course(25, 0, false),
		"a hundred thousand":     course(100_000, 10, true),
		"many epochs":            course(1000, 500, true),
		"equal losses":           {Steps: []Step{{1, 2.5, 0.5}, {2, 2.5, 0.5}}},
		"losses of zero":         {Steps: []Step{{1, 0, 1}, {2, 0, 1}}},
		"negative losses":        {Steps: []Step{{1, -3, 1}, {2, -5, 1}}},
		"tiny losses":            {Steps: []Step{{1, 1e-12, 1}, {2, 2e-12, 1}}},
		"huge losses":            {Steps: []Step{{1, 1e30, 1}, {2, 3e38, 1}}},
		"losses hardly apart":    {Steps: []Step{{1, 1e30, 1}, {2, math.Nextafter(1e30, 2e30), 1}}},
		"numbers far from 1":     {Steps: []Step{{1_000_000_000, 1, 1}, {1_000_000_001, 1.5, 1}}},
		"a long title":           {Title: strings.Repeat("long ", 100), Steps: []Step{{1, 2, 0.5}}},
		"a title in other hands": {Title: "日本語 é ß", Steps: []Step{{1, 2, 0.5}}},
	} {
		t.Run(name, func(t *testing.T) {
			img := drawn(t, run)
			if size := img.Bounds().Size(); size != image.Pt(1400, 620) {
				t.Errorf("size is %v", size)
			}
			for _, half := range []image.Rectangle{image.Rect(0, curvesHeader, 700, 620), image.Rect(700, curvesHeader, 1400, 620)} {
				if n := count(img, half, blue); n < 10 {
					t.Errorf("%v has %d blue pixels", half, n)
				}
			}
		})
	}
}

func TestCurvesWritesAPicture(t *testing.T) {
	run := course(10, 1, true)
	img := picture(t, func(w io.Writer) error { return Curves(w, run, PNG) })
	if !bytes.Equal(img.Pix, drawn(t, run).Pix) {
		t.Error("it is not what was drawn")
	}
}

func TestCurvesLeavesOutWhatIsNotFinite(t *testing.T) {
	run := course(10, 2, true)
	run.Epochs[1].Test.Loss = math.Inf(1)
	run.Epochs[0].Test.Loss = math.NaN()
	img := drawn(t, run)
	if n := count(img, image.Rect(0, curvesHeader, 700, 620), vermilion); n > 0 {
		t.Errorf("%d pixels of a test loss that is not finite", n)
	}
	if n := count(img, image.Rect(700, curvesHeader, 1400, 620), vermilion); n == 0 {
		t.Error("no test accuracy")
	}
	drawn(t, Run{Steps: []Step{{1, math.NaN(), math.Inf(1)}}})
}

func TestCurvesShowsTestOnlyIfThereIsOne(t *testing.T) {
	for _, test := range []bool{true, false} {
		img := drawn(t, course(20, 2, test))
		header := image.Rect(0, 0, 1400, curvesHeader)
		if got := count(img, header, vermilion) > 0; got != test {
			t.Errorf("with test %v the legend names it: %v", test, got)
		}
		if got := count(img, image.Rect(0, curvesHeader, 1400, 620), vermilion) > 0; got != test {
			t.Errorf("with test %v it is drawn: %v", test, got)
		}
	}
}

// A falling loss stands high on the left, a rising accuracy on the right.
func TestCurvesGoTheRightWay(t *testing.T) {
	img := drawn(t, course(1000, 0, false))
	height := func(r image.Rectangle) float64 { // mean row of the thick line, from the top
		sum, n := 0, 0
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				if img.RGBAAt(x, y) == blue {
					sum, n = sum+y, n+1
				}
			}
		}
		return float64(sum) / float64(n)
	}
	if first, last := height(image.Rect(60, 100, 160, 560)), height(image.Rect(560, 100, 660, 560)); first > last-100 {
		t.Errorf("the loss begins at row %.0f and ends at row %.0f", first, last)
	}
	if first, last := height(image.Rect(780, 100, 880, 560)), height(image.Rect(1260, 100, 1360, 560)); first < last+100 {
		t.Errorf("the accuracy begins at row %.0f and ends at row %.0f", first, last)
	}
}

func TestConfusionDrawsEverySize(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 20, 21, 100, 250} {
		matrix, classes := make([][]int, n), make([]string, n)
		for i := range matrix {
			matrix[i] = make([]int, n)
			matrix[i][i] = 50
			matrix[i][(i+1)%n]++
			classes[i] = "class"
		}
		c := layConfusion(matrix, classes)
		img := c.draw()
		if img.Bounds().Dx() > 3000 {
			t.Errorf("%d classes: size %v", n, img.Bounds().Size())
		}
		for i := range min(n-1, 50) {
			// Not the middle: a count may stand there.
			corner := c.at(i, i).Min.Add(image.Pt(1, 1))
			beside := c.at(i, i+1).Min.Add(image.Pt(1, 1))
			if same, other := darkness(img.RGBA, corner.X, corner.Y), darkness(img.RGBA, beside.X, beside.Y); same < other+0.3 {
				t.Errorf("%d classes: cell %d,%d is %.2f dark, that beside it %.2f", n, i, i, same, other)
			}
		}
	}
}

func TestConfusionCountsUpTo20Classes(t *testing.T) {
	for _, n := range []int{20, 21} {
		matrix, classes := make([][]int, n), make([]string, n)
		for i := range matrix {
			matrix[i] = make([]int, n)
		}
		matrix[0][0], matrix[0][1] = 1, 0
		img := layConfusion(matrix, classes).draw().RGBA
		cell := layConfusion(matrix, classes).at(0, 0)
		full := shade(1)
		if got, want := count(img, cell, full) < cell.Dx()*cell.Dy(), n <= countLimit; got != want {
			t.Errorf("%d classes: counts are printed: %v", n, got)
		}
	}
}

func TestConfusionOfAClassWithoutExamplesIsWhite(t *testing.T) {
	matrix := [][]int{{0, 0}, {3, 4}}
	classes := []string{"cat", "dog"}
	img := picture(t, func(w io.Writer) error { return Confusion(w, matrix, classes) })
	corner := layConfusion(matrix, classes).at(0, 0).Min
	if d := darkness(img, corner.X+1, corner.Y+1); d != 0 {
		t.Errorf("it is %.2f dark", d)
	}
}

func TestConfusionFitsLongNames(t *testing.T) {
	long := strings.Repeat("very long name ", 30)
	img := picture(t, func(w io.Writer) error {
		return Confusion(w, [][]int{{1, 0}, {0, 1}}, []string{long, long})
	})
	if size := img.Bounds().Size(); size.X > 700 || size.Y > 700 {
		t.Errorf("size is %v", size)
	}
	for y := range img.Bounds().Dy() {
		if darkness(img, 0, y) > 0 || darkness(img, img.Bounds().Dx()-1, y) > 0 {
			t.Fatalf("row %d is drawn on up to the edge", y)
		}
	}
}

func TestConfusionRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		matrix  [][]int
		classes []string
		want    string
	}{
		"nothing":           {nil, nil, "no classes"},
		"too few rows":      {[][]int{{1, 2}}, []string{"a", "b"}, "1 rows for 2 classes"},
		"a short row":       {[][]int{{1, 2}, {1}}, []string{"a", "b"}, "row 1 has 1 columns for 2 classes"},
		"too few classes":   {[][]int{{1, 2}, {1, 2}}, []string{"a"}, "2 rows for 1 classes"},
		"a count below 0":   {[][]int{{1, 2}, {1, -2}}, []string{"a", "b"}, "row 1 counts -2 examples in column 1"},
		"names of no class": {[][]int{}, []string{"a"}, "0 rows for 1 classes"},
	} {
		if err := Confusion(io.Discard, tt.matrix, tt.classes); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Confusion = %v, want %q", name, err, tt.want)
		}
	}
}

// checkers has two colors, so that each pixel can be found again.
func checkers(width, height int) image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.NRGBA{0, 0x40, 0x80, 0xff}
			if (x+y)%2 == 0 {
				c = color.NRGBA{0xf0, 0x80, 0, 0xff}
			}
			img.Set(x, y, c)
		}
	}
	return img
}

func TestPreviewShowsTheArticlesGrid(t *testing.T) {
	row := func(title string) Row {
		r := Row{Title: title}
		for range 4 {
			r.Tiles = append(r.Tiles, Tile{Title: "frog", Image: checkers(32, 32)})
		}
		return r
	}
	img := picture(t, func(w io.Writer) error { return Preview(w, []Row{row("train"), row("test")}) })
	if size := img.Bounds().Size(); size != image.Pt(772, 448) {
		t.Errorf("size is %v", size)
	}
	// Each pixel of the image is a square of five; no color comes between.
	first, second := color.RGBA{0xf0, 0x80, 0, 0xff}, color.RGBA{0, 0x40, 0x80, 0xff}
	if a, b := count(img, img.Bounds(), first), count(img, img.Bounds(), second); a != 8*160*160/2 || b != a {
		t.Errorf("%d and %d pixels of the two colors, want %d", a, b, 8*160*160/2)
	}
	origin := image.Pt(margin+2*titleSize, margin+2*tileTitle)
	for _, offset := range []image.Point{{0, 0}, {4, 4}, {159, 159}} {
		if got := img.RGBAAt(origin.X+offset.X, origin.Y+offset.Y); got != first {
			t.Errorf("pixel %v is %v", offset, got)
		}
	}
	if got := img.RGBAAt(origin.X+5, origin.Y); got != second {
		t.Errorf("the second pixel is %v", got)
	}
}

func TestPreviewTakesFewerImages(t *testing.T) {
	tile := Tile{Title: "cat", Image: checkers(32, 32)}
	for name, tt := range map[string]struct {
		rows []Row
		size image.Point
	}{
		"one image":    {[]Row{{"train", []Tile{tile}}}, image.Pt(244, 240)},
		"uneven rows":  {[]Row{{"train", []Tile{tile, tile}}, {"test", []Tile{tile}}}, image.Pt(420, 448)},
		"an empty row": {[]Row{{"train", []Tile{tile}}, {"test", nil}}, image.Pt(244, 448)},
	} {
		img := picture(t, func(w io.Writer) error { return Preview(w, tt.rows) })
		if size := img.Bounds().Size(); size != tt.size {
			t.Errorf("%s: size is %v, want %v", name, size, tt.size)
		}
	}
}

func TestPreviewKeepsTheImagesShape(t *testing.T) {
	for _, size := range []image.Point{{32, 16}, {16, 32}, {640, 320}, {1, 1}, {2000, 1}, {1, 2000}, {33, 33}} {
		img := picture(t, func(w io.Writer) error {
			return Preview(w, []Row{{"", []Tile{{"", checkers(size.X, size.Y)}}}})
		})
		drawn := img.Bounds().Dx()*img.Bounds().Dy() - count(img, img.Bounds(), paper)
		longer := max(size.X, size.Y)
		if want := max(1, 160*size.X/longer) * max(1, 160*size.Y/longer); drawn != want {
			t.Errorf("an image of %v has %d pixels, want %d", size, drawn, want)
		}
	}
}

func TestPreviewTakesPartOfAnImage(t *testing.T) {
	part := checkers(64, 64).(*image.NRGBA).SubImage(image.Rect(17, 17, 49, 49))
	img := picture(t, func(w io.Writer) error { return Preview(w, []Row{{"", []Tile{{"", part}}}}) })
	if got := img.RGBAAt(margin+2*titleSize, margin+2*tileTitle); got != (color.RGBA{0xf0, 0x80, 0, 0xff}) {
		t.Errorf("the first pixel is %v", got)
	}
}

func TestPreviewFitsLongNames(t *testing.T) {
	long := strings.Repeat("W", 500)
	img := picture(t, func(w io.Writer) error {
		return Preview(w, []Row{{long, []Tile{{long, checkers(32, 32)}, {"", checkers(32, 32)}}}})
	})
	second := image.Rect(margin+2*titleSize+tileSize+tileGap/2, 0, img.Bounds().Max.X, margin+2*tileTitle)
	if n := second.Dx()*second.Dy() - count(img, second, paper); n > 0 {
		t.Errorf("%d pixels of the first title are above the second image", n)
	}
}

func TestPreviewRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		rows []Row
		want string
	}{
		"nothing":        {nil, "there are no images"},
		"empty rows":     {[]Row{{Title: "train"}}, "there are no images"},
		"no image":       {[]Row{{"test", []Tile{{"cat", nil}}}}, `image 1 of row "test" is empty`},
		"an empty image": {[]Row{{"test", []Tile{{"cat", image.NewGray(image.Rect(0, 0, 0, 5))}}}}, `image 1 of row "test" is empty`},
	} {
		if err := Preview(io.Discard, tt.rows); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Preview = %v, want %q", name, err, tt.want)
		}
	}
}

var errFull = errors.New("disk full")

// fullWriter takes so many bytes.
type fullWriter int

func (w *fullWriter) Write(p []byte) (int, error) {
	if *w -= fullWriter(len(p)); *w < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestPicturesSayWhenTheyCannotBeWritten(t *testing.T) {
	for name, write := range map[string]func(io.Writer) error{
		"curves":    func(w io.Writer) error { return Curves(w, course(10, 1, true), PNG) },
		"confusion": func(w io.Writer) error { return Confusion(w, [][]int{{1}}, []string{"cat"}) },
		"preview": func(w io.Writer) error {
			return Preview(w, []Row{{"train", []Tile{{"cat", checkers(32, 32)}}}})
		},
	} {
		for _, room := range []fullWriter{0, 500} {
			w := room
			if err := write(&w); !errors.Is(err, errFull) || !strings.HasPrefix(err.Error(), "write picture: ") {
				t.Errorf("%s: with room for %d bytes: %v", name, room, err)
			}
		}
	}
	if err := Curves(io.Discard, Run{}, PNG); err == nil || !strings.Contains(err.Error(), "no steps") {
		t.Errorf("Curves without steps = %v", err)
	}
}

func TestPicturesMayBeDrawnAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			if err := Confusion(io.Discard, [][]int{{1, 0}, {0, 1}}, []string{"cat", "dog"}); err != nil {
				t.Error(err)
			}
			if err := Curves(io.Discard, course(3, 1, true), PNG); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
