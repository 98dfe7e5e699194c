package plot

import "strings"

// Format is the kind of file that a picture is written as.
type Format string

// The formats of curves. SVG names its font, Liberation Sans, and others of the
// same widths for machines that lack it.
const (
	PNG Format = "png"
	SVG Format = "svg"
)

// Formats are all of them.
var Formats = []Format{PNG, SVG}

// Beside returns the path of the picture in this format that belongs to a PNG.
func (f Format) Beside(png string) string {
	if f == PNG {
		return png
	}
	return strings.TrimSuffix(png, ".png") + "." + string(f)
}
