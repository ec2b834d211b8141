package format

import (
	"strconv"
	"strings"

	"snapwatch/checker"
)

// Metric is one value of a plugin's performance data. Values are whole numbers, because the
// Monitoring Plugins guidelines do not allow exponents, and an age needs no fraction.
type Metric struct {
	Label string
	Value int64
	// Unit is "s" for seconds, "%" for a percentage, "" for a count.
	Unit              string
	Warning, Critical *checker.Range
}

// String returns 'label'=value[unit];[warn];[crit];[min], with 0 as the minimum.
func (m Metric) String() string {
	return "'" + perfLabel(m.Label) + "'=" + strconv.FormatInt(m.Value, 10) + m.Unit +
		";" + perfRange(m.Warning) + ";" + perfRange(m.Critical) + ";0"
}

// perfLabel replaces the characters that would end a label early.
func perfLabel(label string) string {
	return strings.Map(func(r rune) rune {
		if r == '\'' || r == '=' || r == '|' || r < ' ' {
			return '_'
		}
		return r
	}, label)
}

func perfRange(r *checker.Range) string {
	if r == nil {
		return ""
	}
	return r.String()
}

// perfdata joins metrics in the form that the Monitoring Plugins guidelines require after the
// bar.
func perfdata(metrics []Metric) string {
	var words []string
	for _, m := range metrics {
		words = append(words, m.String())
	}
	return strings.Join(words, " ")
}
