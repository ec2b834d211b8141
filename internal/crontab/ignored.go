package crontab

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	setting = regexp.MustCompile(`^\s*(?:"[^"]*"|'[^']*'|[^\s=]+)\s*=`)
	account = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*\$?$`)
	// A time field consists of parts, separated by commas. value matches the beginning of a part.
	// cron ignores the rest of the part.
	value = regexp.MustCompile(`^(?:\*|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)`)
)

// field is one of the five time fields of a crontab line, such as the minute.
type field struct {
	name      string
	low, high int
	// names has the words that cron accepts for the numbers of the field, such as jan. The first word
	// in `names` stands for the number in the field `low`.
	names []string
}

var fields = []field{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of the month", 1, 31, nil},
	{"month", 1, 12, strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
	{"day of the week", 0, 7, strings.Fields("sun mon tue wed thu fri sat")},
}

// atBoot is the schedule of a crontab line that cron runs only at boot.
const atBoot = "@reboot"

var times = []string{atBoot, "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}

// Ignored returns the reason why cron ignores a whole crontab with the given text, "" if no reason
// is known. Debian's cron ignores a file if it does not understand one of the lines. system is true
// for a crontab in which each line names a user.
func Ignored(text string, system bool) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		return "its last line does not end with a newline"
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' || setting.MatchString(line) {
			continue
		}
		if fault := faultOf(line, system); fault != "" {
			return fmt.Sprintf("cron does not understand its line %d: %s", n, fault)
		}
	}
	return ""
}

func faultOf(line string, system bool) string {
	words := strings.Fields(line)
	rest := words[1:]
	if strings.HasPrefix(line, "@") {
		if !slices.Contains(times, strings.ToLower(words[0])) {
			return words[0] + " is not a time"
		}
	} else {
		for i, f := range fields {
			if i >= len(words) {
				return "the field for the " + f.name + " is missing"
			}
			if !f.takes(words[i]) {
				return fmt.Sprintf("%s is not a valid %s", words[i], f.name)
			}
		}
		rest = words[len(fields):]
	}
	switch {
	case system && (len(rest) == 0 || !account.MatchString(rest[0])):
		return "no user is named before the command"
	case !system && len(rest) == 0:
		return "no command"
	}
	return ""
}

// takes reports whether cron may accept the given text as the text of this time field.
func (f field) takes(text string) bool {
	if strings.Contains(text, "~") || strings.HasPrefix(text, "-") {
		return true // a cron other than Debian's may accept the field
	}
	for part := range strings.SplitSeq(text, ",") {
		m := value.FindStringSubmatch(part)
		if m == nil || !f.has(m[1]) || !f.has(m[2]) {
			return false
		}
	}
	return true
}

func (f field) has(text string) bool {
	n, err := strconv.Atoi(text)
	return text == "" || err == nil && f.low <= n && n <= f.high || slices.Contains(f.names, strings.ToLower(text))
}
