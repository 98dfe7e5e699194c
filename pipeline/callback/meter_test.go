package callback

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func megabytes(n int64) string { return fmt.Sprintf("%.2f MB", float64(n)/(1<<20)) }

// fetch plays a download of so many megabytes, two a second.
func fetch(m *Meter, clock *clockwork, total int64, seconds int) {
	for i := range int64(seconds) + 1 {
		m.Show(Work{Doing: "download cifar-10-binary.tar.gz", Done: 2 * i << 20, Total: total << 20, Amount: megabytes})
		clock.at = clock.at.Add(time.Second)
	}
}

func TestMeterShowsLessInLessSpace(t *testing.T) {
	for _, tt := range []struct {
		columns int
		want    string
	}{
		{120, "download cifar-10-binary.tar.gz [=========>                            ]  24 % of 162.00 MB  2.00 MB/s     1m01s left"},
		{100, "download cifar-10-binary.tar.gz [====>             ]  24 % of 162.00 MB  2.00 MB/s     1m01s left"},
		{80, "download cifar-10-binary.tar.gz [==>         ]  24 % of 162.00 MB  1m01s left"},
		{60, "download cifar-10-binary.tar.gz [=>   ]  24 %  1m01s left"},
		{40, "download [=>      ]  24 %  1m01s left"},
		{25, "download [=>   ]  24 %"},
		{20, "download 24 %"},
		{10, "24 %"},
		{4, "2"},
	} {
		v, clock := &terminal{columns: tt.columns}, &clockwork{at: time.Unix(1e9, 0)}
		m := &Meter{now: clock.now, screen: &screen{out: v, columns: func() int { return v.columns }}}
		fetch(m, clock, 162, 20)
		if diff := cmp.Diff(tt.want+"\n", v.String()); diff != "" {
			t.Errorf("on %d columns (-want +got):\n%s", tt.columns, diff)
		}
		if v.widest > max(1, tt.columns-3) {
			t.Errorf("on %d columns, %d were used", tt.columns, v.widest)
		}
		m.Close()
		if got := v.String(); got != "\n" || v.col != 0 {
			t.Errorf("on %d columns, Close leaves %q", tt.columns, got)
		}
	}
}

func TestMeterOfAnUnknownTotal(t *testing.T) {
	for columns, want := range map[int]string{
		80: "download cifar-10-binary.tar.gz: 40.00 MB  2.00 MB/s",
		50: "download cifar-10-binary.tar.gz: 40.00 MB",
		30: "download: 40.00 MB",
		10: "downloa",
	} {
		v, clock := &terminal{columns: columns}, &clockwork{at: time.Unix(1e9, 0)}
		fetch(&Meter{now: clock.now, screen: &screen{out: v, columns: func() int { return v.columns }}}, clock, 0, 20)
		if got := v.String(); got != want+"\n" {
			t.Errorf("on %d columns, screen shows %q, want %q", columns, got, want)
		}
	}
}

func TestMeterWritesPlainLines(t *testing.T) {
	var out bytes.Buffer
	clock := &clockwork{at: time.Unix(1e9, 0)}
	m := &Meter{Out: &out, now: clock.now}
	fetch(m, clock, 162, 25)
	m.Close()
	want := "download cifar-10-binary.tar.gz: 1 % of 162.00 MB\n" +
		"download cifar-10-binary.tar.gz: 13 % of 162.00 MB\n" +
		"download cifar-10-binary.tar.gz: 25 % of 162.00 MB\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMeterSaysNothingOfQuickWork(t *testing.T) {
	for _, columns := range []int{0, 80} {
		var out bytes.Buffer
		clock := &clockwork{at: time.Unix(1e9, 0)}
		m := &Meter{now: clock.now, screen: &screen{out: &out, columns: func() int { return columns }}, next: clock.at.Add(meterQuiet)}
		for i := range int64(9) {
			m.Show(Work{Doing: "read", Done: i, Total: 9, Amount: megabytes})
			clock.at = clock.at.Add(100 * time.Millisecond)
		}
		m.Close()
		if out.Len() > 0 {
			t.Errorf("on %d columns it wrote %q", columns, out.String())
		}
	}
	(&Meter{}).Close() // of nothing at all
}

// A download that goes on where it was broken off begins at a high number, and
// one that begins anew at a lower one: neither is the speed of anything.
func TestMeterDoesNotTakeABeginForSpeed(t *testing.T) {
	v, clock := &terminal{columns: 100}, &clockwork{at: time.Unix(1e9, 0)}
	m := &Meter{now: clock.now, screen: &screen{out: v, columns: func() int { return v.columns }}}
	for _, done := range []int64{150, 152, 20, 22} {
		m.Show(Work{Doing: "download a", Done: done << 20, Total: 162 << 20, Amount: megabytes})
		clock.at = clock.at.Add(time.Second)
	}
	if got := v.String(); !strings.Contains(got, "2.00 MB/s") || !strings.Contains(got, "1m10s left") {
		t.Errorf("screen shows %q", got)
	}
}
