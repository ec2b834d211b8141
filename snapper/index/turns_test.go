package index

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

func disks(names ...string) (list []snapper.Disk, all []*snapper.Disk) {
	for _, name := range names {
		list = append(list, snapper.Disk{Dataset: zfs.Dataset{Name: "tank/in/" + name}})
	}
	for i := range list {
		all = append(all, &list[i])
	}
	return list, all
}

func turnsOf(x *Index, all []*snapper.Disk) (names [][]string) {
	for _, turn := range x.Turns(all, 2) {
		var list []string
		for _, d := range turn {
			list = append(list, zfs.Base(d.Name))
		}
		names = append(names, list)
	}
	return names
}

// prune first lists the snapshots of the disks that were listed longest ago. If a disk may be too
// slow, prune lists it alone. The index file records in which turn each disk was last listed.
func TestTurns(t *testing.T) {
	var x Index
	list, all := disks("c", "a", "b", "e", "d")
	assert.Equal(t, [][]string{{"a", "b"}, {"c", "d"}, {"e"}}, turnsOf(&x, all))
	x.Took(x.Turns(all, 2)[0], false)
	assert.Equal(t, [][]string{{"c", "d"}, {"e", "a"}, {"b"}}, turnsOf(&x, all))
	x.Took(x.Turns(all, 2)[0], true)
	assert.Equal(t, [][]string{{"e", "a"}, {"b"}, {"c"}, {"d"}}, turnsOf(&x, all))
	assert.True(t, x.Changed)

	again, err := Parse(x.Text())
	require.NoError(t, err)
	assert.Equal(t, x.turns, again.turns)
	x = again
	x.Took(x.Turns(all, 2)[0], false)
	assert.Equal(t, [][]string{{"b"}, {"c"}, {"d"}, {"a", "e"}}, turnsOf(&x, all), "of one turn by name")
	for range 3 {
		x.Took(x.Turns(all, 2)[0], false)
	}
	assert.Equal(t, [][]string{{"a", "e"}, {"b", "c"}, {"d"}}, turnsOf(&x, all))

	x.Changed = false
	x.RetainTurns(list[:4], []string{"tank/other"})
	assert.False(t, x.Changed, "the others are of another line of cron")
	x.RetainTurns(list[:4], []string{"tank/in"})
	assert.True(t, x.Changed)
	assert.Len(t, x.turns, 4)
}

// The index removes an entry that is dated in the future because a clock was ahead, and an entry
// that is too old.
func TestRetainForgetsTheFuture(t *testing.T) {
	x := Index{Entries: map[string]*entry{}}
	for name, listed := range map[string]time.Duration{"new": -time.Hour, "old": -25 * time.Hour, "ahead": 1000 * time.Hour} {
		x.Entries["tank/"+name] = &entry{listedAt: noon.Add(listed)}
	}
	x.Retain(nil, noon)
	assert.Len(t, x.Entries, 1)
	assert.Contains(t, x.Entries, "tank/new")
}
