// Package plot draws what a person looks at: pictures of runs and images.
//
// # Basics
//
// There are four pictures, each written to an io.Writer: Curves draws the
// course of a training run, Compare several runs over each other, Confusion
// which classes a model takes for which, Preview a few images with their names:
//
//	err := plot.Confusion(w, evaluation.Confusion, classes)
//
// Curves and Compare write PNG or SVG, the others PNG.
//
// # Caveats
//
// Names are drawn in Liberation Sans, which has the Latin, Greek and Cyrillic
// alphabets: in a PNG other scripts come out as boxes. Names that are too long for
// their place end in an ellipsis.
//
// The pictures may look different in the next version: compare what they
// show, not their bytes.
package plot

import "image/color"

// The colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/),
// which people with every kind of colour vision can tell apart.
var (
	ink   = color.RGBA{0x22, 0x22, 0x22, 0xff}
	faint = color.RGBA{0x66, 0x66, 0x66, 0xff}
	rule  = color.RGBA{0xe4, 0xe4, 0xe4, 0xff}
	paper = color.RGBA{0xff, 0xff, 0xff, 0xff}

	blue      = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	paleBlue  = color.RGBA{0xa6, 0xcc, 0xe3, 0xff}
	darkBlue  = color.RGBA{0x00, 0x3f, 0x6b, 0xff}
	vermilion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	green     = color.RGBA{0x00, 0x9e, 0x73, 0xff}
	purple    = color.RGBA{0xcc, 0x79, 0xa7, 0xff}
	sky       = color.RGBA{0x56, 0xb4, 0xe9, 0xff}
	orange    = color.RGBA{0xe6, 0x9f, 0x00, 0xff}
)
