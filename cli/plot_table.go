package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
)

// figures reads columns of a table that callback.CSV wrote. Columns are found by
// their names: later versions may have more.
type figures struct {
	key      string   // the column of whole numbers, which rise
	columns  []string // of numbers
	optional []string // of numbers; NaN where nothing stands, or no such column is

	names []string // of the table's columns
	last  int      // the row's key before
}

// maxRow is longer than any row, so that what is no table takes no memory.
const maxRow = 64 << 10

// read reads a file.
func (f *figures) read(ctx context.Context, path string, each func(key int, row []float64)) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() { // a pipe would wait for a writer
		err = fmt.Errorf("%s is not a file", path)
	}
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if line, err := f.parse(ctx, file, each); err != nil {
		return fmt.Errorf("%s, line %d: %w", path, line, err)
	}
	return nil
}

// parse calls each for every whole row. A last line without its end is still
// being written, or was when the program was killed. It returns the number of
// the line that an error is in.
func (f *figures) parse(ctx context.Context, from io.Reader, each func(key int, row []float64)) (number int, err error) {
	lines := bufio.NewReaderSize(from, maxRow)
	for number = 1; ; number++ {
		if err := ctx.Err(); err != nil {
			return number, err
		}
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return number, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return number, fmt.Errorf("it has more than %s", formatBytes(maxRow))
		case err != nil:
			return number, err
		}
		fields := strings.Split(strings.TrimRight(string(line), "\r\n"), ",")
		if number == 1 {
			err = f.head(fields)
		} else {
			err = f.row(fields, each)
		}
		if err != nil {
			return number, err
		}
	}
}

// head reads the names of the columns.
func (f *figures) head(names []string) error {
	for _, name := range slices.Concat([]string{f.key}, f.columns) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no column %q, only %s", name, abbreviate(strconv.Quote(strings.Join(names, ",")), 80))
		}
	}
	f.names = names
	return nil
}

func (f *figures) row(fields []string, each func(key int, row []float64)) error {
	if len(fields) != len(f.names) {
		return fmt.Errorf("it has %s, line 1 has %d", formatNumber(len(fields), "field"), len(f.names))
	}
	field := func(name string) string {
		if at := slices.Index(f.names, name); at >= 0 {
			return fields[at]
		}
		return ""
	}
	key, err := strconv.Atoi(field(f.key))
	if err != nil || key <= f.last {
		return fmt.Errorf("%s must be a whole number above %d, not %s", f.key, f.last, shortQuote(field(f.key)))
	}
	f.last = key
	var row []float64
	for _, name := range f.columns {
		value, err := strconv.ParseFloat(field(name), 64)
		if err != nil {
			return fmt.Errorf("%s must be a number, not %s", name, shortQuote(field(name)))
		}
		row = append(row, value)
	}
	for _, name := range f.optional {
		value, err := strconv.ParseFloat(field(name), 64)
		if field(name) == "" {
			value, err = math.NaN(), nil
		}
		if err != nil {
			return fmt.Errorf("%s must be a number or nothing, not %s", name, shortQuote(field(name)))
		}
		row = append(row, value)
	}
	each(key, row)
	return nil
}

func shortQuote(field string) string { return abbreviate(strconv.Quote(field), 40) }
