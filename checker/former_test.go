package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
)

// For a day, a note names each disk that an owner had before and that no owner has now, unless
// another reason explains why the disk is gone.
func TestWhatNoOwnerHasAnyMore(t *testing.T) {
	const disk = "rpool/data/vm-100-disk-0"
	left := func(age time.Duration) []NodeAnswer {
		return []NodeAnswer{{Node: "pve1", At: now, Now: now, Former: []Former{{VMID: 100, Guest: "web01", Dataset: disk, Since: ago(age)}}}}
	}
	for name, c := range map[string]struct {
		nodes  []NodeAnswer
		policy func(*Policy)
		told   bool
	}{
		"it went":             {left(hour), nil, true},
		"a moment ago":        {left(minute), nil, false},
		"long ago":            {left(25 * hour), nil, false},
		"another node has it": {append(left(hour), owning("ssd/vm-100-disk-0")), nil, false},
		"another node may":    {append(left(hour), NodeAnswer{Node: "pve2", Failure: "refused"}), nil, false},
		"ignored here":        {left(hour), func(p *Policy) { p.Ignore = []string{"vm-100-*"} }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicy(config.Default())
			if c.policy != nil {
				c.policy(&p)
			}
			r := Assemble(nil, p, now)
			before := len(r.Notes)
			r = r.WithOwners(p, nil, c.nodes...)
			if !c.told {
				assert.Len(t, r.Notes, before)
				return
			}
			require.Len(t, r.Notes, before+1)
			assert.Equal(t, Warning, r.Notes[before].State)
			assert.Contains(t, r.Notes[before].Text, "rpool/data/vm-100-disk-0 of guest 100 (web01) on pve1")
		})
	}
	p := NewPolicy(config.Default())
	assert.Empty(t, Filter{VMIDs: []int{7}}.Apply(Assemble(nil, p, now)).WithOwners(p, nil, left(hour)...).former(), "another guest is asked for")
}

// former returns the notes about disks that no owner has any more.
func (r Report) former() (notes []Note) {
	for _, n := range r.Notes {
		if n.State == Warning {
			notes = append(notes, n)
		}
	}
	return notes
}
