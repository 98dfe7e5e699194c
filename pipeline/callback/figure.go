package callback

import (
	"fmt"
	"math"
	"time"
)

// figure writes a loss or an accuracy for people.
func figure(x float64) string {
	if size := math.Abs(x); size >= 1e4 || size > 0 && size < 5e-4 {
		return fmt.Sprintf("%.2e", x)
	}
	return fmt.Sprintf("%.4f", x)
}

// speed writes a number of images a second for people.
func speed(x float64) string {
	if x < 99.95 {
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.0f", x)
}

// clock writes a duration with its two largest units: 45s, 1m23s, 2h05m, 3d04h.
func clock(d time.Duration) string {
	seconds := int(math.Round(d.Seconds()))
	minutes, hours, days := seconds/60, seconds/3600, seconds/86400
	switch {
	case minutes == 0:
		return fmt.Sprintf("%ds", seconds)
	case hours == 0:
		return fmt.Sprintf("%dm%02ds", minutes, seconds%60)
	case days == 0:
		return fmt.Sprintf("%dh%02dm", hours, minutes%60)
	}
	return fmt.Sprintf("%dd%02dh", days, hours%24)
}
