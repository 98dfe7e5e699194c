package callback

import (
	"bytes"
	"time"

	"github.com/residual-go/residual/pipeline/plot"
)

// sketch draws the newest confusion matrix as a PNG. Where epochs are short
// some are passed over, so that drawing takes a tenth of the time at most.
type sketch struct {
	classes []string

	epoch    int // of matrix
	matrix   [][]int
	throttle throttle
}

// take remembers an epoch's matrix, which may be nil, and draws it unless it
// is too soon. It returns nil where it did not draw.
func (s *sketch) take(epoch int, matrix [][]int) ([]byte, error) {
	s.epoch, s.matrix = epoch, matrix
	if !s.throttle.due() {
		return nil, nil
	}
	return s.draw()
}

// draw draws the matrix that was taken last, if that was not done yet.
func (s *sketch) draw() ([]byte, error) {
	if s.matrix == nil {
		return nil, nil
	}
	begun := time.Now()
	var picture bytes.Buffer
	if err := plot.Confusion(&picture, s.matrix, s.classes); err != nil {
		return nil, err
	}
	s.matrix = nil
	s.throttle.drew(begun)
	return picture.Bytes(), nil
}
