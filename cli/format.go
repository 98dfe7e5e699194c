package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/residual-go/residual/pipeline"
)

// formatCount writes 26,215,818.
func formatCount(n int) string {
	digits := strconv.Itoa(n)
	var groups []string
	for len(digits) > 3 {
		groups = append([]string{digits[len(digits)-3:]}, groups...)
		digits = digits[:len(digits)-3]
	}
	return strings.Join(append([]string{digits}, groups...), ",")
}

// formatNumber counts things: 1 file, 2 files.
func formatNumber(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return formatCount(n) + " " + thing + "s"
}

// formatBytes writes a size as Keras does: 100.01 MB, a MB being 1024*1024.
func formatBytes(n int64) string {
	size, units := float64(n), []string{"B", "KB", "MB", "GB", "TB"}
	for size >= 1024 && len(units) > 1 {
		size, units = size/1024, units[1:]
	}
	if units[0] == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.2f %s", size, units[0])
}

// formatPercent writes a share of 1.
func formatPercent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }

// table writes rows in columns as wide as their longest cell. A column that
// holds only numbers, but for the first row's name of it, goes to the right.
func table(rows [][]string) string {
	var columns []column
	for i, row := range rows {
		for j, cell := range row {
			if j == len(columns) {
				columns = append(columns, column{numbers: len(rows) > 1})
			}
			columns[j].add(cell, i == 0)
		}
	}
	var text strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for j, cell := range row {
			line.WriteString(pad(cell, columns[j].width, columns[j].numbers) + "  ")
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return text.String()
}

// column is what table knows of a column.
type column struct {
	width   int
	numbers bool
}

func (c *column) add(cell string, head bool) {
	c.width = max(c.width, len([]rune(cell)))
	if !head && !isNumber(cell) {
		c.numbers = false
	}
}

func pad(text string, width int, right bool) string {
	space := strings.Repeat(" ", max(0, width-len([]rune(text))))
	if right {
		return space + text
	}
	return text + space
}

// words are parted by spaces, but `a command` is one.
var words = regexp.MustCompile("(`[^`]*`|\\S)+")

// wrap breaks a text into lines of at most width, between words. A word that is
// longer has a line of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range words.FindAllString(text, -1) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// abbreviate cuts a text to width, ending it with a sign that something is
// missing.
func abbreviate(text string, width int) string {
	letters := []rune(text)
	if len(letters) <= width {
		return text
	}
	return string(letters[:width-1]) + "…"
}

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789.,-%e+ ") == ""
}

func trimEnd(text string) string { return strings.TrimRight(text, "\n") }

// networkLine is how the article's PyTorch system ends; "" for other recipes.
func networkLine(recipe string, test pipeline.Metrics) string {
	if recipe != "pytorch" {
		return ""
	}
	return fmt.Sprintf("Accuracy of the network on the %d test images: %.2f %%\n", test.Examples, 100*test.Accuracy)
}

// scoreText writes what an epoch or a test came to.
func scoreText(m pipeline.Metrics) string {
	loss := strconv.FormatFloat(m.Loss, 'f', 4, 64)
	if m.Loss >= 1e6 { // a run that is about to diverge
		loss = strconv.FormatFloat(m.Loss, 'g', 5, 64)
	}
	return fmt.Sprintf("accuracy %s (%s of %s images), loss %s",
		formatPercent(m.Accuracy), formatCount(m.Correct), formatCount(m.Examples), loss)
}
