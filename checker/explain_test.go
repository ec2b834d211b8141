package checker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// ownerNode returns the evidence of a node that has the guest. The argument newest is the node's
// newest snapshot of the disk. The argument presence says whether the node has the replica's newest
// snapshot as a snapshot, as a bookmark or not at all.
func ownerNode(newest *zfs.Snapshot, presence Presence) Evidence {
	return Evidence{Node: "pve1:10191", Owned: Owned, Dataset: "rpool/data/vm-1-disk-0", GUID: 99, Newest: newest, Presence: presence, PresenceGUID: 7}
}

func replicaNode(newest *zfs.Snapshot) Evidence {
	return Evidence{Node: "pve2:10191", Owned: NotOwned, Replica: true, Dataset: "tank/vm-1-disk-0", GUID: 98, Newest: newest, Presence: AsSnapshot, PresenceGUID: 7}
}

func TestExplain(t *testing.T) {
	newer, same := ownersSnapshot(zfs.Hourly, 10*minute), managed(zfs.Hourly, 7*hour)
	stale, fresh, off := aDisk("1", zfs.Hourly, 7*hour), aDisk("1", zfs.Hourly, 10*minute), aDisk("1", zfs.Stopped, 4*day)
	pending := aDisk("1", zfs.Hourly, 7*hour, func(d *Disk) { d.PendingReceive = true; d.Changed = ago(7 * hour) })
	resumed := aDisk("1", zfs.Hourly, 7*hour, func(d *Disk) { d.PendingReceive, d.PendingSnapshot = true, "rpool/vm-1-disk-0@seed" })
	for name, c := range map[string]struct {
		disk   Disk
		nodes  []Evidence
		broken string
		next   string // a part of the printed next steps
	}{
		"fresh":                     {fresh, nil, "none: fresh", ""},
		"stale, nobody asked":       {stale, nil, "not known: no other site was asked (--owners URL,…)", "snapwatch explain tank/vm-1-disk-0 --owners"},
		"stopped, nobody asked":     {off, nil, "none that can be seen from here", "whether the guest is still off"},
		"stopped, proven":           {off, []Evidence{ownerNode(managed(zfs.Stopped, 4*day), AsSnapshot)}, "none: the newest of pve1:10191, too", ""},
		"stopped, but it ran since": {off, []Evidence{ownerNode(newer, AsSnapshot)}, "pve1:10191 → here: 3d23h behind", "look at the job"},
		"lagging":                   {stale, []Evidence{ownerNode(newer, AsSnapshot)}, "pve1:10191 → here: 6h50m behind", "look at the job"},
		"lagging, pending":          {pending, []Evidence{ownerNode(newer, AsSnapshot)}, "pve1:10191 → here: 6h50m behind", "a receive waits to be resumed: run the replication job again; if it cannot continue: zfs receive -A tank/vm-1-disk-0"},
		"of a known snapshot":       {resumed, []Evidence{ownerNode(newer, AsSnapshot)}, "pve1:10191 → here: 6h50m behind", "the source has rpool/vm-1-disk-0@seed: zfs hold keeps this snapshot from rotation"},
		"nothing in common":         {stale, []Evidence{ownerNode(newer, Absent)}, "pve1:10191 → here: ", "zfs list -t snapshot,bookmark -o name,guid rpool/data/vm-1-disk-0 (on pve1:10191)"},
		"owner has no newer":        {stale, []Evidence{ownerNode(same, AsSnapshot)}, "before pve1:10191: the newest snapshot there is as old", "on pve1:10191: snapwatch snap --dry-run -v"},
		"a relay before us works":   {stale, []Evidence{ownerNode(newer, AsSnapshot), replicaNode(newer)}, "pve2:10191 → here: pve2:10191 has newer", "look at the job"},
		"a relay is behind, too":    {stale, []Evidence{ownerNode(newer, AsSnapshot), replicaNode(same)}, "pve1:10191 → pve2:10191: pve2:10191 is behind, too", "look at the job"},
		"this host asked itself":    {stale, []Evidence{ownerNode(newer, AsSnapshot), {Node: "c", Owned: NotOwned, GUID: 5, Newest: newer}}, "pve1:10191 → here: ", "look at the job"},
		"no answer":                 {stale, []Evidence{{Node: "pve1:10191", Failure: "no answer in time"}}, "not known: owner unreachable, pve1:10191: no answer in time", "systemctl status snapwatch-exporter"},
		"orphaned":                  {stale, []Evidence{{Node: "pve1:10191", Owned: NotOwned, Presence: AsBookmark, PresenceGUID: 7}}, "none: no snapshot comes here any more, no node has guest 1", "zfs destroy -rnv tank/vm-1-disk-0 shows"},
		"nobody had it":             {stale, []Evidence{{Node: "pve1:10191", Owned: NotOwned}}, "not known: no owner, no node has guest 1", "name the node that has the guest"},
		"gone at the owner":         {stale, []Evidence{{Node: "pve1:10191", Owned: Owned, Gone: true, Dataset: "rpool/vm-1-disk-0"}}, "none: no snapshot comes here any more, rpool/vm-1-disk-0 is gone on pve1", "zfs destroy -rnv tank/vm-1-disk-0 shows"},
		"gone":                      {aDisk("1", zfs.Hourly, hour, func(d *Disk) { d.Gone = true }), nil, "not known: no other site", "zpool history tank"},
		"never, asked":              {aDisk("1", zfs.Hourly, 0, bare), []Evidence{ownerNode(newer, AsSnapshot)}, "not known: not compared, it is never", "on the owner: snapwatch snap --dry-run"},
		"unreadable":                {aDisk("1", zfs.Hourly, 0, func(d *Disk) { d.Problem = "I/O error" }), nil, "not known", "zpool status tank"},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicy(config.Default())
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{c.disk}}}, p, now)
			if c.nodes != nil {
				r = r.WithOwners(p, map[string][]Evidence{c.disk.Dataset: c.nodes})
			}
			e := Explain(r.Disks[0], c.nodes)
			assert.True(t, strings.HasPrefix(e.Broken, c.broken), e.Broken)
			assert.Len(t, e.Sites, len(c.nodes)+1)
			if c.next == "" {
				assert.Empty(t, e.Next)
			} else {
				require.NotEmpty(t, e.Next)
				assert.Contains(t, strings.Join(e.Next, "\n"), c.next)
			}
			for _, step := range e.Next {
				assert.NotRegexp(t, `DATASET|VMID|POOL`, step)
			}
		})
	}
}

// For every alarming verdict and outcome, explain must name a next step.
func TestThereIsAlwaysANextStep(t *testing.T) {
	for _, row := range Verdicts() {
		if row.States[BeyondCritical] != OK && row.Verdict != Stale {
			assert.NotEmpty(t, nextByVerdict[row.Verdict], row.Name)
		}
	}
	for _, row := range Outcomes() {
		if row.States[BeyondCritical] != OK && row.Outcome != Lagging {
			assert.NotEmpty(t, advice[row.Outcome], row.Name)
		}
	}
}

// For a disk on the node that has the guest, explain leaves out the broken hop of the replication
// and the advice for copies.
func TestExplainOwn(t *testing.T) {
	label := func(source zfs.Source) func(*Disk) {
		return func(d *Disk) { d.Running = zfs.Property{Value: "pve1", Source: source} }
	}
	for name, c := range map[string]struct {
		disk                Disk
		broken, next, label string
	}{
		"fresh":    {aDisk("1", zfs.Hourly, 10*minute, label(zfs.SourceLocal)), "none: fresh", "", "as it should be"},
		"stale":    {aDisk("1", zfs.Hourly, 7*hour, label(zfs.SourceLocal)), "here: this host has the guest", "snapwatch snap --dry-run -v", "as it should be"},
		"never":    {aDisk("1", zfs.Hourly, 0, bare), "here: this host has the guest", "snapwatch cron status", "none of its own"},
		"off":      {aDisk("1", zfs.Stopped, 4*day), "none: stopped", "", "none of its own"},
		"long off": {aDisk("1", zfs.Stopped, 40*day), "here: ", "qm status 1", "none of its own"},
		"received": {aDisk("1", zfs.Hourly, 7*hour, label(zfs.SourceReceived)), "here: ", "snapwatch snap", "received: snap sets its own"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{c.disk}}}, NewPolicy(config.Default()), now)
			e := ExplainOwn(r.Disks[0])
			assert.Contains(t, e.Broken, c.broken)
			require.Len(t, e.Sites, 1)
			assert.Contains(t, e.Sites[0].What, "has the guest")
			facts := e.Facts(now)
			assert.Contains(t, facts[len(facts)-1][1], c.label)
			all := strings.Join(e.Next, "\n")
			assert.Contains(t, all, c.next)
			assert.Equal(t, c.next == "", all == "")
			for _, of := range []string{"--owners", "inherit -S", "on the owner", "sends to this host", "a copy"} {
				assert.NotContains(t, all+facts[0][1]+facts[len(facts)-1][1], of)
			}
		})
	}
}
