package format

import (
	"strings"
	"unicode/utf8"
)

// column is one column of a table that is printed in a terminal.
type column struct {
	head  string
	cells []string
	// The field `from` is the width, in characters, of the narrowest terminal in which the column
	// is printed.
	from int
}

// leastNews is the least width, in characters, of the last cell of a row, the news. If a line has
// less room for the news, grid prints the news on lines of its own, below the row.
const leastNews = 30

// grid prints rows whose first two cells are coloured. The last cell of a row is the news. If the
// terminal's width is unknown, grid does not wrap the news.
func (t Table) grid(b *strings.Builder, columns []column, colours, news []string) {
	var shown []column
	for _, c := range columns {
		if t.Width == 0 || c.from <= t.Width {
			shown = append(shown, c)
		}
	}
	widths, used := make([]int, len(shown)), 0
	for i, c := range shown {
		widths[i] = utf8.RuneCountInString(c.head)
		for _, cell := range c.cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
		widths[i] += 2
		used += widths[i]
	}
	room := t.Width - used
	row := func(colour, news string, cell func(c column) string) {
		var text strings.Builder
		mark := 0
		for i, c := range shown {
			text.WriteString(cell(c) + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell(c))))
			if i == 1 {
				mark = text.Len()
			}
		}
		first, rest := text.String()[:mark], text.String()[mark:]
		switch {
		case t.Width == 0 || news == "":
			t.coloured(b, colour, first, strings.TrimRight(rest+news, " "))
		case room < leastNews:
			t.coloured(b, colour, first, strings.TrimRight(rest, " "))
			for _, line := range wrap(news, t.Width-4) {
				t.coloured(b, "", "    ", line)
			}
		default:
			for i, line := range wrap(news, room) {
				if i == 0 {
					t.coloured(b, colour, first, rest+line)
					continue
				}
				t.coloured(b, "", strings.Repeat(" ", used), line)
			}
		}
	}
	head := "REASON"
	if t.Width > 0 && room < leastNews {
		head = ""
	}
	row("bold", head, func(c column) string { return c.head })
	for i := range news {
		row(colours[i], news[i], func(c column) string { return c.cells[i] })
	}
}

// coloured prints a line whose first part is coloured. coloured cuts the line at the terminal's
// width.
func (t Table) coloured(b *strings.Builder, colour, first, rest string) {
	if t.Width > 0 {
		first = cut(first, t.Width)
		rest = cut(rest, t.Width-utf8.RuneCountInString(first))
	}
	b.WriteString(t.paint(colour, first) + rest + "\n")
}

// line prints a text whose first part is coloured, wrapped to the terminal's width.
func (t Table) line(b *strings.Builder, colour, first, rest string) {
	if t.Width == 0 {
		t.coloured(b, colour, first, rest)
		return
	}
	lines := wrap(first+rest, t.Width-2)
	whole, is := strings.CutPrefix(lines[0], first)
	if !is {
		first, whole = lines[0], ""
	}
	t.coloured(b, colour, first, whole)
	for _, line := range lines[1:] {
		t.coloured(b, "", "  ", line)
	}
}

// ansi has, by the colour of a verdict, the terminal's escape sequence.
var ansi = map[string]string{
	"green": "32", "red": "1;31", "yellow": "33", "purple": "35", "blue": "34", "grey": "2", "bold": "1",
}

func (t Table) paint(colour, text string) string {
	if code := ansi[colour]; t.Colour && code != "" {
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	return text
}

// cut shortens text to at most limit characters.
func cut(text string, limit int) string {
	runes := []rune(text)
	switch {
	case len(runes) <= limit:
		return text
	case limit < 1:
		return ""
	}
	return string(runes[:limit-1]) + "…"
}

// wrapped breaks a text into lines that fit between the given column and the right end of the
// terminal. If the terminal's width is unknown, wrapped returns the whole text as one line.
func (t Table) wrapped(text string, column int) []string {
	if t.Width == 0 {
		return []string{text}
	}
	return wrap(text, t.Width-column)
}

// wrap breaks text at blanks into lines of at most width characters. A word that is longer than a
// line is broken at the end of the line. Only the first line has the indentation that the argument
// text has.
func wrap(text string, width int) []string {
	width = max(width, 8)
	line := []rune(strings.TrimRight(text, " "))
	var lines []string
	for len(line) > width {
		at := width
		for at > 0 && line[at] != ' ' {
			at--
		}
		if strings.TrimSpace(string(line[:at])) == "" {
			at = width
		}
		lines = append(lines, strings.TrimRight(string(line[:at]), " "))
		line = []rune(strings.TrimLeft(string(line[at:]), " "))
	}
	return append(lines, string(line))
}
