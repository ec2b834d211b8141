package checker

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The first rows of this test's table are from the Monitoring Plugins guidelines.
func TestThresholds(t *testing.T) {
	inf := math.Inf(1)
	for text, c := range map[string]struct {
		want           Range
		bare           bool
		alerts, silent []float64
	}{
		"10":      {Range{0, 10, false}, true, []float64{-1, 10.1, 11}, []float64{0, 5, 10}},
		"10:":     {Range{10, inf, false}, false, []float64{-1, 9.9}, []float64{10, 1e9}},
		"~:10":    {Range{-inf, 10, false}, false, []float64{10.1}, []float64{-1e9, 0, 10}},
		"10:20":   {Range{10, 20, false}, false, []float64{9, 21}, []float64{10, 20}},
		"@10:20":  {Range{10, 20, true}, false, []float64{10, 15, 20}, []float64{9, 21}},
		"~:":      {Range{-inf, inf, false}, false, nil, []float64{-1e9, 0, 1e9}},
		"@~:10":   {Range{-inf, 10, true}, false, []float64{-1e9, 10}, []float64{10.1}},
		"@10":     {Range{0, 10, true}, false, []float64{0, 10}, []float64{-1, 11}},
		"-5:5":    {Range{-5, 5, false}, false, []float64{-6, 6}, []float64{-5, 5}},
		"10:10":   {Range{10, 10, false}, false, []float64{9, 11}, []float64{10}},
		"0":       {Range{0, 0, false}, true, []float64{1}, []float64{0}},
		"1.5":     {Range{0, 1.5, false}, true, []float64{1.6}, []float64{1.5}},
		"2h":      {Range{0, 7200, false}, true, []float64{7201}, []float64{7200}},
		"1d12h":   {Range{0, 129600, false}, true, nil, []float64{129600}},
		"1m:2h":   {Range{60, 7200, false}, false, []float64{59, 7201}, []float64{60}},
		"@~:90s":  {Range{-inf, 90, true}, false, []float64{90}, []float64{91}},
		"@1h:":    {Range{3600, inf, true}, false, []float64{3600}, []float64{3599}},
		"86400:2": {},
	} {
		t.Run(text, func(t *testing.T) {
			got, err := ParseThreshold(text)
			if text == "86400:2" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, Threshold{c.want, c.bare}, got)
			for _, v := range c.alerts {
				assert.True(t, got.Range.Alerts(v), v)
			}
			for _, v := range c.silent {
				assert.False(t, got.Range.Alerts(v), v)
			}
		})
	}
}

func TestThresholdsThatAreNone(t *testing.T) {
	for _, text := range []string{
		"", " ", "@", "~", ":", "@:", "~~:", "@@10", "20:10", "-5", ":10", "@:10", "~:~", "10:~", "1:2:3", "10,20", "abc", "1e3",
		"0x10", "Inf", "NaN", "+5", "1.", ".5", "1 h", "2h-", "-2h", "10%", "1_0", "99999999999999", "٣", "1d12", "\x00", "2H", "~10",
	} {
		_, err := ParseThreshold(text)
		assert.Error(t, err, "%q", text)
	}
}

func anyRange(t *rapid.T) Range {
	whole := rapid.Int64Range(-1_000_000, 1_000_000)
	a, b := float64(whole.Draw(t, "a")), float64(whole.Draw(t, "b"))
	r := Range{min(a, b), max(a, b), rapid.Bool().Draw(t, "inside")}
	if rapid.Bool().Draw(t, "no lower end") {
		r.Start = math.Inf(-1)
	}
	if rapid.Bool().Draw(t, "no upper end") {
		r.End = math.Inf(1)
	}
	return r
}

func TestARangeReadsBackAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRange(t)
		back, err := ParseThreshold(r.String())
		require.NoError(t, err)
		assert.Equal(t, r, back.Range)
	})
}

func TestARangeAlertsWhereItsOppositeDoesNot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anyRange(t)
		opposite := r
		opposite.Inside = !r.Inside
		v := rapid.Float64Range(-2e6, 2e6).Draw(t, "value")
		assert.NotEqual(t, r.Alerts(v), opposite.Alerts(v))
	})
}

func FuzzThreshold(f *testing.F) {
	for _, seed := range []string{"10", "@~:1d", "1:2", "~:", "-1:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseThreshold(text)
		if err != nil {
			return
		}
		if got.Range.Start > got.Range.End || math.IsNaN(got.Range.Start) || math.IsNaN(got.Range.End) {
			t.Fatalf("%q: %+v", text, got)
		}
		if strings.ContainsAny(text, " \n") {
			t.Fatalf("%q was read", text)
		}
	})
}
