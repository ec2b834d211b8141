package checker

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/config"
)

func TestPoolVerdict(t *testing.T) {
	read := func(change ...func(*Pool)) Pool {
		p := Pool{Name: "tank", ReadAt: ago(minute)}
		for _, c := range change {
			c(&p)
		}
		return p
	}
	failed := func(p *Pool) { p.Problem = "x" }
	slow := func(p *Pool) { p.Problem, p.Unfinished = "not at its end", true }
	old := func(p *Pool) { p.ReadAt = ago(10*minute + 1) }
	gone := func(p *Pool) { p.Problem, p.Missing = "not imported", true }
	lacking := func(p *Pool) { p.MissingRoots = []string{"tank/a"} }
	for name, c := range map[string]struct {
		pool Pool
		want PoolVerdict
	}{
		"read":                                {read(), PoolOK},
		"the last scan failed":                {read(failed), PoolUnreadable},
		"this scan takes long":                {read(slow), PoolOK},
		"and so long that nothing counts":     {read(slow, old), PoolUnreadable},
		"it was never read":                   {Pool{Name: "tank", Problem: "not read yet"}, PoolUnreadable},
		"not imported":                        {read(gone), PoolMissing},
		"a dataset is not there":              {read(lacking), PoolIncomplete},
		"nor was it when the slow scan began": {read(slow, lacking), PoolIncomplete},
		"nor was it before the scan failed":   {read(failed, lacking), PoolIncomplete},
		"nor was it when it was last read":    {read(slow, old, lacking), PoolIncomplete},
		"it is not imported as a whole":       {read(gone, lacking), PoolMissing},
	} {
		t.Run(name, func(t *testing.T) {
			r := JudgePool(c.pool, testPolicy(), now)
			assert.Equal(t, c.want.String(), r.Verdict.String())
			assert.Equal(t, poolTable[r.Verdict].States[r.Level], r.State, "verdict and state go together")
			if c.want == PoolIncomplete {
				assert.Contains(t, r.Reason, "tank/a: no such dataset, but the configuration names it")
			}
		})
	}
	p := testPolicy()
	p.Maintenance = []config.Maintenance{{Selector: config.Selector{Pool: "tank"}, Until: now.Add(hour)}}
	assert.Equal(t, PoolOK, JudgePool(read(gone), p, now).Verdict, "exported for maintenance")
	assert.Equal(t, PoolUnreadable, JudgePool(read(failed), p, now).Verdict, "that it is suspended is told all the same")
}
