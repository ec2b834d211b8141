// Package text prepares text for people: ages, and text of other programs that could break the
// output of snapwatch.
package text

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Plain replaces characters that would mislead the programs that parse a plugin's output. In the
// output of a plugin, a vertical bar begins the performance data, and a newline begins the next
// line.
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

// Clip returns text, cut between two characters to a length of at most limit bytes.
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

// Count returns the text for a number of things, such as 1 disk or 2 disks.
func Count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return strconv.Itoa(n) + " " + thing
}

// Are returns the text of [Count], followed by "is" or "are": 1 disk is, 2 disks are.
func Are(n int, thing string) string {
	if n == 1 {
		return Count(n, thing) + " is"
	}
	return Count(n, thing) + " are"
}

// Bytes returns an amount of data for people, as zfs list prints it: 512B, 20.0G.
func Bytes(n uint64) string {
	const units = "BKMGTPE"
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	if unit == 0 || size >= 100 {
		return fmt.Sprintf("%.0f%c", size, units[unit])
	}
	return fmt.Sprintf("%.1f%c", size, units[unit])
}
