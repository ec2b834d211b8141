package scan

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
)

// hasDisks returns the answer of a node on which guest 100 has the given disks.
func hasDisks(datasets ...string) checker.NodeAnswer {
	g := checker.OwnedGuest{VMID: 100, Name: "web01"}
	for _, d := range datasets {
		g.Disks = append(g.Disks, checker.OwnedDisk{Dataset: d})
	}
	return checker.NodeAnswer{Node: "pve1", At: now, Now: now, Guests: []checker.OwnedGuest{g}}
}

// If a node had a disk and no longer has it, the scan remembers the disk with the time of the
// node's first answer without the disk. The inventory's file has the entry about the former disk
// until the node has the disk again.
func TestWhatOwnersHadIsRemembered(t *testing.T) {
	const one, two = "rpool/data/vm-100-disk-0", "rpool/data/vm-100-disk-1"
	former := func(s Inventory) []checker.Former { return s.Former([]checker.NodeAnswer{{Node: "pve1"}})[0].Former }
	s, changed := Inventory{}.Heard([]checker.NodeAnswer{hasDisks(one, two)}, now)
	assert.True(t, changed)
	assert.Empty(t, former(s))
	_, changed = s.Heard([]checker.NodeAnswer{hasDisks(one, two)}, now.Add(hour))
	assert.False(t, changed)

	s, changed = s.Heard([]checker.NodeAnswer{hasDisks(one)}, now.Add(hour))
	assert.True(t, changed)
	gone := []checker.Former{{VMID: 100, Guest: "web01", Dataset: two, Since: now.Add(hour)}}
	assert.Equal(t, gone, former(s))
	path := filepath.Join(t.TempDir(), "seen.json")
	require.NoError(t, s.Save(path))
	s, err := LoadInventory(path)
	require.NoError(t, err)
	assert.Equal(t, gone, former(s))
	assert.Equal(t, gone, former(s.With(Inventory{}, now)))
	assert.Equal(t, gone, former(Inventory{}.With(s, now)))

	failed := checker.NodeAnswer{Node: "pve1", Failure: "refused", At: now}
	s, changed = s.Heard([]checker.NodeAnswer{failed}, now.Add(2*hour))
	assert.False(t, changed, "who does not answer has what it had")
	again, _ := s.Heard([]checker.NodeAnswer{hasDisks(one, two)}, now.Add(2*hour))
	assert.Empty(t, former(again))
	partly := hasDisks(one)
	partly.Unread = []string{"tank"}
	unread, changed := again.Heard([]checker.NodeAnswer{partly}, now.Add(3*hour))
	assert.False(t, changed, "the disk may be in the pool that the node could not read")
	assert.Empty(t, former(unread))
	later, _ := s.Heard([]checker.NodeAnswer{hasDisks(one)}, now.Add(3*day))
	assert.Empty(t, former(later))
	other, _ := s.Heard([]checker.NodeAnswer{{Node: "pve2", At: now}}, now.Add(2*hour))
	assert.Empty(t, former(other), "a node that is not asked any more")
}
