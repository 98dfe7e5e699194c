package benchmark

import (
	"fmt"
	"testing"
)

func TestHighWaterMark(t *testing.T) {
	for status, want := range map[string]int64{
		"Name:\tresidual\nVmPeak:\t  200 kB\nVmHWM:\t    12 kB\nVmRSS:\t 8 kB\n": 12 * 1024,
		"VmHWM: 12 kB":                    12 * 1024,
		"VmHWM: 12 MB\n":                  0,
		"VmHWM: twelve kB\n":              0,
		"VmHWM: -12 kB\n":                 0,
		"VmHWM: 9999999999999999999 kB\n": 0,
		"VmRSS: 12 kB\n":                  0,
		"":                                0,
	} {
		if got := highWaterMark([]byte(status)); got != want {
			t.Errorf("highWaterMark(%q) = %d, want %d", status, got, want)
		}
	}
}

func FuzzHighWaterMark(f *testing.F) {
	f.Add(int64(12), "Name:\tx\n")
	f.Add(int64(0), "VmHWM:\n")
	f.Fuzz(func(t *testing.T, kB int64, before string) {
		if got := highWaterMark([]byte(before)); got < 0 {
			t.Errorf("%d bytes", got)
		}
		if kB <= 0 || kB >= 1<<50 {
			return
		}
		if got := highWaterMark(fmt.Appendf(nil, "VmHWM:\t%d kB\n%s", kB, before)); got != kB*1024 {
			t.Errorf("%d kB are %d bytes", kB, got)
		}
	})
}

// What one measurement took is forgotten when the next begins.
func TestMemoryIsOfOneMeasurement(t *testing.T) {
	const large = 256 << 20
	first := watchMemory()
	touch(large)
	first.stop()
	if first.Bytes == 0 {
		t.Skip("this system does not tell")
	}
	if first.Bytes < large {
		t.Errorf("%d bytes were held, of which the test took %d", first.Bytes, large)
	}
	second := watchMemory()
	second.stop()
	if second.SinceStart {
		t.Skip("this system does not let it be measured anew")
	}
	if second.Bytes > first.Bytes-large/2 {
		t.Errorf("then %d bytes were held, after %d", second.Bytes, first.Bytes)
	}
}

var kept []byte

// touch holds so many bytes for a moment.
func touch(n int) {
	kept = make([]byte, n)
	for i := 0; i < n; i += 4096 {
		kept[i] = 1
	}
	kept = nil
}
