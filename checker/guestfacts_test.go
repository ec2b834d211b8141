package checker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

const gib = 1 << 30

// explainTwoPools returns the explanation of guest 100, which has two disks on two pools.
func explainTwoPools(t *testing.T, own bool, v Volumes, change ...func(*Pool)) GuestExplanation {
	t.Helper()
	p := NewPolicy(config.Default())
	pool := Pool{Name: "tank", ReadAt: now, ZFSState: "ONLINE", Health: &Health{PoolHealth: zfs.PoolHealth{State: "ONLINE", Size: 1000, Allocated: 250}, ReadAt: now, LastScrub: ago(3 * day)},
		Disks: []Disk{part(first, zfs.Hourly, hour)}}
	for _, c := range change {
		c(&pool)
	}
	r := Assemble([]Pool{pool, {Name: "fast", ReadAt: now, Disks: []Disk{part(second, zfs.Hourly, hour)}}}, p, now).WithGuests(p)
	require.Len(t, r.Guests, 1)
	return ExplainGuest(r, r.Guests[0], own, v)
}

func (e GuestExplanation) fact(name string) string {
	var all []string
	for _, f := range e.Facts {
		if f[0] == name {
			all = append(all, f[1])
		}
	}
	return strings.Join(all, "\n")
}

func TestExplainGuestSaysWhatStandsInTheWay(t *testing.T) {
	free := func(tank, fast uint64) map[string]zfs.Volume {
		return map[string]zfs.Volume{"tank": {Available: tank}, "fast": {Available: fast}, first: {Size: 32 * gib}, second: {Size: 8 * gib}}
	}
	locked := free(gib, gib)
	locked[first] = zfs.Volume{Size: gib, EncryptionRoot: "tank/my enc", Locked: true}
	locked[second] = zfs.Volume{Size: gib, EncryptionRoot: "fast/open"}

	e := explainTwoPools(t, false, Volumes{Found: free(100*gib, 4*gib)})
	assert.Equal(t, "none here", e.fact("encryption"))
	assert.Equal(t, "fast has 4.0G free; a clone takes only what is written to it, at most 8.0G: the pool may fill up\n"+
		"tank has 100G free; a clone takes only what is written to it, at most 32.0G: there is room", e.fact("room"))
	assert.Equal(t, "fast is ok\ntank is ok, ZFS calls it ONLINE, 25% of it is taken, its last scrub ended 3d ago", e.fact("pool"))
	assert.NotContains(t, strings.Join(e.Words, " "), "Pool ")

	e = explainTwoPools(t, false, Volumes{Found: locked})
	assert.Equal(t, "with the key of fast/open, which is loaded; with the key of tank/my enc, which is not loaded", e.fact("encryption"))
	assert.Contains(t, e.Words, "Nobody can read the guest's data without the key of tank/my enc, which is not loaded here.")
	assert.Equal(t, []string{"zfs load-key 'tank/my enc'"}, e.Unlock)
	assert.Equal(t, "zfs unload-key 'tank/my enc'", e.Back[len(e.Back)-1])

	e = explainTwoPools(t, false, Volumes{Found: free(0, gib)})
	assert.Contains(t, e.Words, "Pool tank has no room left: nothing can be cloned or written there.")

	e = explainTwoPools(t, false, Volumes{Found: map[string]zfs.Volume{"fast": {Available: gib}, second: {}}, Problems: map[string]string{"tank": "no answer"}})
	assert.Equal(t, "not known on tank: no answer", e.fact("encryption"))
	assert.Equal(t, "fast has 1.0G free; a clone takes only what is written to it\nnot known on tank", e.fact("room"))

	e = explainTwoPools(t, false, Volumes{}, func(p *Pool) { p.Health.State = "DEGRADED" })
	assert.Contains(t, e.Words, "Pool tank is not well: ZFS calls it DEGRADED (zpool status tank).")
	assert.Equal(t, "not known on fast; not known on tank", e.fact("encryption"))
}

func TestExplainGuestOfThisHost(t *testing.T) {
	known := Volumes{Found: map[string]zfs.Volume{"tank": {Available: gib}, "fast": {Available: gib}}}
	e := explainTwoPools(t, true, known)
	assert.Equal(t, []string{
		"Guest 100 is this host's own. Its disks can be cloned as of 2026-03-29 11:00:00, 1h ago.",
		"What the guest has written since is in its disks, which stay as they are.",
	}, e.Words)
	assert.Equal(t, "this host's, in /etc/pve", e.fact("configuration"))
	e = explainTwoPools(t, true, Volumes{}, func(p *Pool) { p.Disks[0].Gone = true })
	assert.Equal(t, "Guest 100 is this host's own: tank/vm-100-disk-0 is gone.", e.Words[0])
	assert.Empty(t, e.Start)
}

func TestExplainGuestSaysWhereItsConfigurationIs(t *testing.T) {
	for want, k := range map[string]*KeptConfig{
		"not looked for: its owner has the configuration": nil,
		"not kept with its snapshots: only the host":      {Day: "2026-03-29"},
		"kept with its snapshots":                         {Sum: "abc"},
		"kept with its snapshots, and unchanged for 2d":   {Sum: "abc", Since: ago(2 * day)},
	} {
		e := explainTwoPools(t, false, Volumes{}, func(p *Pool) { p.Disks[0].Looked = &Looked{Config: k} })
		assert.True(t, strings.HasPrefix(e.fact("configuration"), want), "%s: %s", want, e.fact("configuration"))
	}
	assert.Equal(t, "snapwatch guest-config 100 --at fast/vm-100-disk-1@autosnap_2026-03-29_11:00:00_hourly", explainTwoPools(t, false, Volumes{}).Config)
}
