// Package text prepares words for people: ages, and text of strangers that must not
// break the output it stands in.
package text

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain makes text harmless to those who parse a plugin's output: a bar would begin
// performance data, a newline another line.
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '|':
			return '/'
		case r == utf8.RuneError:
			return '?'
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, text)
}

// Clip shortens text to at most that many bytes, at the boundary of a character.
func Clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	cut := limit - len("…")
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// Count returns a number of things in words: 1 disk, 2 disks.
func Count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}
