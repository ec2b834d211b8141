package run

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A run of which a round failed is no success, though nothing of that round is in it.
func TestALateRoundThatFails(t *testing.T) {
	r := testRun()
	first, late := &pool{name: "tank"}, &pool{name: "slow"}
	r.reportPool(first)
	r.reportPool(late) // its round ended before it did anything
	r.reportLate(map[string][]string{"tank": nil, "slow": nil, "never": nil}, []*pool{first}, errTest)
	r.finish()
	assert.False(t, r.report.Success)
	errs := map[string]bool{}
	for _, p := range r.report.Pools {
		errs[p.Pool] = p.Error != ""
	}
	assert.Equal(t, map[string]bool{"tank": false, "slow": true, "never": true}, errs)
	assert.Len(t, r.report.Pools, 3)
}
