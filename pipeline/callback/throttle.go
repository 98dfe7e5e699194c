package callback

import "time"

// throttle keeps drawing to a tenth of the time. The zero value has drawn
// nothing yet.
type throttle struct {
	rested  time.Time     // when the last drawing was done
	drawing time.Duration // what it took
}

func (t *throttle) due() bool { return time.Since(t.rested) >= 9*t.drawing }

// drew notes a drawing that is done.
func (t *throttle) drew(begun time.Time) { t.rested, t.drawing = time.Now(), time.Since(begun) }
