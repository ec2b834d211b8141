package run

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// The first call of next waits for all functions, but only for the given time since the start.
// After that, no function that has ended waits for one that hangs.
func TestGather(t *testing.T) {
	const s = time.Second
	type call struct {
		from, at time.Duration // when next is called, at the earliest, and when it returns
		ended    []int
	}
	for name, test := range map[string]struct {
		takes []time.Duration
		want  []call
	}{
		"all in time":                {[]time.Duration{3 * s, s, 2 * s}, []call{{0, 3 * s, []int{1, 2, 0}}}},
		"one hangs":                  {[]time.Duration{s, time.Hour}, []call{{0, 30 * s, []int{0}}, {0, time.Hour, []int{1}}}},
		"one is late, and one hangs": {[]time.Duration{s, 35 * s, time.Hour}, []call{{0, 30 * s, []int{0}}, {0, 35 * s, []int{1}}, {0, time.Hour, []int{2}}}},
		"two end between two calls":  {[]time.Duration{s, 35 * s, 36 * s, time.Hour}, []call{{0, 30 * s, []int{0}}, {40 * s, 40 * s, []int{1, 2}}, {0, time.Hour, []int{3}}}},
		"all are late":               {[]time.Duration{40 * s, time.Hour}, []call{{0, 40 * s, []int{0}}, {0, time.Hour, []int{1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var work []func()
				for _, d := range test.takes {
					work = append(work, func() { time.Sleep(d) })
				}
				began := time.Now()
				next := Local{}.Gather(30*s, work...)
				for _, want := range test.want {
					time.Sleep(want.from - time.Since(began))
					got := next()
					assert.ElementsMatch(t, want.ended, got)
					assert.Equal(t, want.at, time.Since(began))
				}
			})
		})
	}
}
