// Package ranges compares two implementations of threshold ranges: the one of check, and the one of
// another project.
package ranges

import (
	"math"
	"strconv"
	"strings"
	"testing"

	nagios "github.com/atc0005/go-nagios"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/checker"
)

// wrong reports whether the other implementation of thresholds is known to be wrong about a range:
// the other implementation drops an @ before a ~, and treats "~:" as "~:0". Both contradict the
// table of the Monitoring Plugins guidelines. snapwatch's own tests cover the ranges about which
// the other implementation is wrong.
func wrong(text string) bool { return strings.HasPrefix(text, "@~") || text == "~:" }

// number draws a value or an end of a range. number often draws from a few fixed numbers, so that a
// value often equals an end of a range. number also often draws a fraction.
func number(t *rapid.T, what string) float64 {
	n := float64(rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64Range(-1e6, 1e6)).Draw(t, what))
	return n + rapid.SampledFrom([]float64{0, 0, 0.5}).Draw(t, what+"'s fraction")
}

func text(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// aRange draws any range in the form of the Monitoring Plugins guidelines, including ranges that
// end before they start.
func aRange(t *rapid.T) string {
	start := rapid.SampledFrom([]string{"", "~:", "n:"}).Draw(t, "start")
	if start == "n:" {
		start = text(number(t, "from")) + ":"
	}
	end := text(number(t, "to"))
	if start != "" && rapid.Bool().Draw(t, "open end") {
		end = ""
	}
	return rapid.SampledFrom([]string{"", "@"}).Draw(t, "inside") + start + end
}

func TestRangesAlertAsOthersDo(t *testing.T) {
	refused, alerted, silent := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		written := aRange(t)
		if wrong(written) {
			return
		}
		theirs := nagios.ParseRangeString(written)
		ours, err := checker.ParseThreshold(written)
		require.Equal(t, theirs == nil, err != nil, "%q: %+v, %v", written, theirs, err)
		if err != nil {
			refused++
			return
		}
		for _, value := range []float64{number(t, "value"), ours.Range.Start, ours.Range.End} {
			if math.IsInf(value, 0) {
				continue
			}
			alerts := ours.Range.Alerts(value)
			require.Equal(t, theirs.CheckRange(text(value)), alerts, "%q at %v", written, value)
			if alerts {
				alerted++
			} else {
				silent++
			}
		}
	})
	require.NotZero(t, refused)
	require.NotZero(t, alerted)
	require.NotZero(t, silent)
}
