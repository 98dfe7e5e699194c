package cli

import (
	"strings"
	"testing"
)

func FuzzFigures(f *testing.F) {
	f.Add("step,loss,test\n1,2.5,\n2,NaN,1\n3,1")
	f.Add("loss,x,step,test\r\n1e3,,1,0\r\n")
	f.Add("step,loss,test\n1,2\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, table string) {
		figures := figures{key: "step", columns: []string{"loss"}, optional: []string{"test"}}
		rows, last := 0, 0
		line, err := figures.parse(t.Context(), strings.NewReader(table), func(step int, row []float64) {
			if step <= last || len(row) != 2 {
				t.Errorf("after step %d there is step %d with %v", last, step, row)
			}
			rows, last = rows+1, step
		})
		lines := strings.Count(table, "\n")
		if err == nil && rows != max(0, lines-1) {
			t.Errorf("%d rows of %d lines", rows, lines)
		}
		if line < 1 || line > lines+1 {
			t.Errorf("line %d of %d: %v", line, lines, err)
		}
	})
}
