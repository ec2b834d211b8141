package browser

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/exporter"
	"snapwatch/internal/zfs"
)

// guestNames has, by VMID, the names that the nodes pve1 and pve2 report for the guests of estate.
var guestNames = map[int]string{
	100: "web01", 101: "web02", 104: "shop-db", 110: "dns", 111: "proxy", 112: "mail", 120: "build", 131: "gitlab", 140: "backup-gw", 190: "scratch",
}

// asked configures the exporter to ask pve1 and pve2, which own the guests of the function estate.
// Guest 120 is off according to its copies, but pve2 answers that the guest has been running for
// seven hours. pve2 also has a guest 140, of which the exporter's host has no disk.
func asked(s *exporter.Settings) {
	s.Config.Owners.URLs = []string{"https://pve1:10191", "https://pve2:10191"}
	s.Ask = func(_ context.Context, _ time.Duration, r checker.Report) (map[string][]checker.Evidence, []checker.NodeAnswer) {
		said := map[string][]checker.Evidence{}
		nodes := []checker.NodeAnswer{{Node: "pve1:10191"}, {Node: "pve2:10191"}}
		for i := range nodes {
			nodes[i].At, nodes[i].Now = r.Now, r.Now
		}
		owned := map[int]*checker.OwnedGuest{}
		for i := range r.Disks {
			d := &r.Disks[i]
			if owned[d.VMID] == nil {
				owned[d.VMID] = &checker.OwnedGuest{VMID: d.VMID, Name: guestNames[d.VMID], Alive: d.VMID != 190}
			}
			if d.Newest == nil {
				continue
			}
			for _, n := range nodes {
				said[d.Dataset] = append(said[d.Dataset], evidence(n.Node, d, r.Now))
			}
		}
		for _, vmid := range slices.Sorted(maps.Keys(owned)) {
			at := home(vmid)
			nodes[at].Guests = append(nodes[at].Guests, *owned[vmid])
		}
		nodes[1].Guests = append(nodes[1].Guests, checker.OwnedGuest{VMID: 140, Name: guestNames[140], Alive: true, Disks: []checker.OwnedDisk{
			{Dataset: "rpool/data/vm-140-disk-0", Created: r.Now.AddDate(0, 0, -2), Newest: r.Now.Add(-11 * time.Minute)},
		}})
		return said, nodes
	}
}

// askedOf configures the exporter to ask the given number of nodes, each of which owns some of the
// guests.
func askedOf(nodes int) func(*exporter.Settings) {
	return func(s *exporter.Settings) {
		s.Config.Owners.URLs = []string{"https://pve1"}
		s.Ask = func(_ context.Context, _ time.Duration, r checker.Report) (map[string][]checker.Evidence, []checker.NodeAnswer) {
			said := map[string][]checker.Evidence{}
			var all []checker.NodeAnswer
			for i := range nodes {
				n := checker.NodeAnswer{Node: fmt.Sprintf("pve%d.example.org:10191", i+1), At: r.Now, Now: r.Now}
				for at := range r.Disks {
					d := &r.Disks[at]
					e := checker.Evidence{Node: n.Node, Now: r.Now, Owned: checker.NotOwned}
					if d.VMID%nodes == i {
						e.Owned, e.GUID, e.Newest, e.Presence, e.PresenceGUID = checker.Owned, 1, d.Newest, checker.AsSnapshot, d.Newest.GUID
					}
					said[d.Dataset] = append(said[d.Dataset], e)
				}
				all = append(all, n)
			}
			return said, all
		}
	}
}

// home returns the node that owns a guest: 0 for pve1, 1 for pve2.
func home(vmid int) int {
	if slices.Contains([]int{112, 120, 140}, vmid) {
		return 1
	}
	return 0
}

// evidence returns a node's answer about a disk. If the copy's newest snapshot is older than an
// hour, the simulated owner answers that the owner has newer snapshots.
func evidence(node string, d *checker.Result, now time.Time) checker.Evidence {
	e := checker.Evidence{Node: node, Now: now, Owned: checker.NotOwned, ConfiguredOn: fmt.Sprintf("pve%d", home(d.VMID)+1)}
	if node != e.ConfiguredOn+":10191" {
		return e
	}
	e.Owned, e.ConfiguredOn, e.Dataset, e.GUID = checker.Owned, "", "rpool/data/"+d.Name(), 1
	newest := *d.Newest
	e.Presence, e.PresenceGUID = checker.AsSnapshot, newest.GUID
	age := now.Sub(newest.Creation)
	switch {
	case d.VMID == 120:
		e.Alive, e.AliveSince = true, now.Add(-7*time.Hour)
	case age > time.Hour:
		at := now.Add(-10 * time.Minute)
		newest = zfs.Snapshot{Name: "autosnap_" + at.Format("2006-01-02_15:04:05") + "_hourly", GUID: 5, Creation: at}
		e.BehindSince = d.Newest.Creation.Add(time.Hour)
	}
	e.Newest = &newest
	return e
}
