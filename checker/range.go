package checker

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"snapwatch/config"
	"snapwatch/internal/text"
)

// Range is a threshold as in the Monitoring Plugins guidelines: a value outside of the range
// alarms. With Inside true, a value in the range alarms. Both ends belong to the range. The
// values of a range in package checker are seconds.
type Range struct {
	Start, End float64
	Inside     bool
}

// Alerts reports whether a value alarms when the range r is the threshold.
func (r Range) Alerts(value float64) bool {
	in := r.Start <= value && value <= r.End
	return in == r.Inside
}

// String returns the range in the notation of the Monitoring Plugins guidelines.
func (r Range) String() string {
	var b strings.Builder
	if r.Inside {
		b.WriteByte('@')
	}
	switch {
	case math.IsInf(r.Start, -1):
		b.WriteString("~:")
	case r.Start != 0 || math.IsInf(r.End, 1):
		b.WriteString(number(r.Start) + ":")
	}
	if !math.IsInf(r.End, 1) {
		b.WriteString(number(r.End))
	}
	return b.String()
}

// Spoken returns the range for people, for example 2h for a range with only an upper end.
func (r Range) Spoken() string {
	if r.Start == 0 && !r.Inside && r.End < math.MaxInt32 {
		return text.Age(time.Duration(r.End * float64(time.Second)))
	}
	return r.String() + " seconds"
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Threshold is a value of the option -w or -c.
type Threshold struct {
	Range Range
	// Bare is true for a single number or duration without : or @. Two thresholds can be compared
	// with each other if Bare is true for both.
	Bare bool
}

// ParseThreshold reads [@][start:][end]. start and end are seconds or durations such as 2h. start
// may be ~ for no lower end, and end may be missing after a start. ParseThreshold returns an
// error for forms that the Monitoring Plugins guidelines do not define.
func ParseThreshold(text string) (Threshold, error) {
	t, err := parseThreshold(text)
	if err != nil {
		return Threshold{}, fmt.Errorf("threshold %q: %w", text, err)
	}
	return t, nil
}

func parseThreshold(text string) (Threshold, error) {
	rest, inside := strings.CutPrefix(text, "@")
	start, end, colon := strings.Cut(rest, ":")
	if !colon {
		start, end = "0", rest
	}
	r := Range{Inside: inside}
	var err error
	if r.Start, err = parseBound(start, "~", math.Inf(-1)); err != nil {
		return Threshold{}, err
	}
	open := ""
	if !colon {
		open = "no open end"
	}
	if r.End, err = parseBound(end, open, math.Inf(1)); err != nil {
		return Threshold{}, err
	}
	if r.Start > r.End {
		return Threshold{}, errors.New("it ends before it starts")
	}
	return Threshold{Range: r, Bare: !colon && !inside}, nil
}

var decimal = regexp.MustCompile(`^-?\d{1,12}(\.\d{1,9})?$`)

// parseBound reads one end of a range; open is the text that stands for an infinite end.
func parseBound(text, open string, infinite float64) (float64, error) {
	if text == open {
		return infinite, nil
	}
	if decimal.MatchString(text) {
		return strconv.ParseFloat(text, 64)
	}
	d, err := config.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is neither seconds nor a duration such as 2h or 1d12h", text)
	}
	return d.Std().Seconds(), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (t *Threshold) UnmarshalText(text []byte) (err error) {
	*t, err = ParseThreshold(string(text))
	return err
}
