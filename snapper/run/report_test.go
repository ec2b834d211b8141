package run

import (
	"testing"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/snapper"

	"github.com/stretchr/testify/assert"
)

// If reading or planning a late pool failed, the run is not a success, although the report has no
// entry about this pool.
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

// A run reports a contradiction in Proxmox's files to a person, and is still a success.
func TestOddConfigurationIsTold(t *testing.T) {
	j := testJournal()
	j.reportGuests(snapper.NodeView{Cluster: pve.Cluster{Warnings: []string{"storage.cfg, line 3: odd"}}}, nil, nil, noon)
	j.succeeded(noon)
	assert.Empty(t, j.report.Names)
	assert.Equal(t, []report.Problem{{Severity: report.Notice, Text: "storage.cfg, line 3: odd"}}, j.report.Problems)
	assert.True(t, j.report.Success)
}

// The report of a run has the names of the guests, for users who may not read the guests'
// configurations.
func TestGuestsAreNamed(t *testing.T) {
	j := testJournal()
	j.reportGuests(snapper.NodeView{Cluster: pve.Cluster{Guests: map[int]pve.Config{100: {Name: "web01"}, 101: {}}}}, nil, nil, noon)
	assert.Equal(t, map[int]string{100: "web01"}, j.report.Names)
}
