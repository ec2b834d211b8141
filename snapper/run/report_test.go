package run

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A run of which a round failed is no success, though nothing of that round is in it.
func TestALateRoundThatFails(t *testing.T) {
	r := testJournal()
	first := &pool{name: "tank"}
	r.report.Pools = append(r.report.Pools, r.reportPool(first, noon))
	r.reportLate(map[string][]string{"tank": nil, "slow": nil, "never": nil}, []*pool{first}, errTest)
	r.succeeded(noon)
	assert.False(t, r.report.Success)
	errs := map[string]bool{}
	for _, p := range r.report.Pools {
		errs[p.Pool] = p.Error != ""
	}
	assert.Equal(t, map[string]bool{"tank": false, "slow": true, "never": true}, errs)
	assert.Len(t, r.report.Pools, 3)
}
