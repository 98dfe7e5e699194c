// Package plot draws what a person looks at: PNG pictures of runs and images.
//
// # Basics
//
// There are three pictures, each written to an io.Writer: Curves draws the
// course of a training run, Confusion which classes a model takes for which,
// Preview a few images with their names:
//
//	err := plot.Confusion(w, evaluation.Confusion, classes)
//
// # Caveats
//
// Names are drawn in Liberation Sans, which has the Latin, Greek and Cyrillic
// alphabets: other scripts come out as boxes. Names that are too long for
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
)
