package checker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// Guest is one guest with the verdict on the guest's copies here. All disks of a Guest have the
// guest's VMID and come from one cluster.
type Guest struct {
	Cluster string
	VMID    int
	// ID is the guest's id in Proxmox's API, for example qemu/100.
	ID string
	// Name is the guest's name, "" if unknown.
	Name string
	// Disks has the datasets of the guest's disks on this host, each disk once. If this host has
	// several copies of a disk, Disks has the freshest readable copy. Excluded disks are left out.
	Disks []string
	// Others has the datasets on this host that have the guest's VMID and do not count for the
	// guest's verdict: further copies of its disks, excluded disks, and disks that the owner does
	// not use any more.
	Others []string
	// Lacking has the names of the guest's disks of which this host has no copy.
	Lacking []string
	// Point is the guest's restore point, nil if there is none.
	Point *Point

	Verdict GuestVerdict
	Level   limitLevel
	State   State
	// Reason explains the verdict on the guest in one line.
	Reason string
	// The field Because is the dataset of the disk whose verdict is the reason for the guest's
	// verdict, "" if no disk's verdict is the reason.
	Because string
	// Age is the age of the guest's restore point, 0 without a restore point.
	Age time.Duration
	// Proof is the verdict on the proof that the copies can be used, nil if no proof was judged.
	// Proof changes neither Verdict nor State.
	Proof *GuestProof
	// Alone is true if the guest alarms, and every disk of the guest has a better state than the
	// guest.
	Alone bool
}

// Looked is the result of extra lookups of a disk's snapshots. The extra lookups are made if the
// disks of a guest have different newest snapshots.
type Looked struct {
	// Among names the disks of the guest whose snapshots were compared to find Points and Ahead,
	// one dataset per line.
	Among string
	// Points has older managed snapshots of the disk. For each snapshot in Points, every other disk
	// of the guest has a snapshot of the same time.
	Points []zfs.Snapshot
	// Ahead is the creation time of the disk's first managed snapshot that is newer than the
	// snapshots in Points, zero if unknown.
	Ahead time.Time
	// Same has the datasets that have the disk's name and are copies of this disk. Others has the
	// datasets that have the disk's name and are different disks.
	Same, Others []string
	// Config is the guest's configuration that is kept with the disk's snapshots, nil if none was
	// looked for.
	Config *KeptConfig
	// Problem says why a part of the lookups failed, "" if all succeeded.
	Problem string
}

// Number returns the guest's VMID for people, with its name, and with its cluster if the disks
// come from several clusters.
func (g Guest) Number() string {
	words := strconv.Itoa(g.VMID)
	if g.Name != "" {
		words += " (" + g.Name + ")"
	}
	if g.Cluster != "" {
		words += " of " + g.Cluster
	}
	return words
}

// Found returns the number of the guest's disks that are on this host.
func (g Guest) Found() int { return len(g.Disks) }

// Expected returns the number of disks that the guest must have on this host.
func (g Guest) Expected() int { return len(g.Disks) + len(g.Lacking) }

// Colour returns the colour in which the guest is shown.
func (g Guest) Colour() string { return guestTable[g.Verdict].Colours[g.Level] }

// guestDisks contains all disks of one guest on this host.
type guestDisks struct {
	cluster string
	vmid    int
	// serving has the datasets that count for the guest's verdict, one for each disk, sorted by
	// name.
	serving []*Result
	// excluded is a disk that the configuration or the owner excludes, nil if there is none.
	// unwanted is a disk of the guest that its owner does not use any more, nil if there is none.
	excluded, unwanted *Result
	// others has the guest's disks here that do not count for the guest's verdict.
	others []*Result
	// uncompared has two datasets with the same disk name that may or may not be copies of one
	// disk, nil if there are no such datasets.
	uncompared []*Result
	// alike has datasets with the same disk name, unless their newest snapshots already show that
	// all of them are copies of one disk.
	alike []*Result
	// absent has the guest's disks that the guest's owner has and this host lacks.
	absent []absence
	// perhapsOf is the name of a cluster that has a guest with the same VMID: the disks of this
	// guest may belong to that guest. perhapsOf is "" if there is no such cluster.
	perhapsOf string
}

// byGuest groups the disks by guest, sorted by name within each guest.
func byGuest(disks []Result, p *Policy) []guestDisks {
	type key struct {
		vmid, at int // small on purpose: every scrape sorts these keys
	}
	keys := make([]key, len(disks))
	clusters := make([]string, len(disks))
	for i := range disks {
		keys[i] = key{disks[i].VMID, i}
		if p.OriginOf != nil {
			clusters[i], _ = p.OriginOf(disks[i].Dataset)
		}
	}
	slices.SortFunc(keys, func(a, b key) int { return cmp.Or(a.vmid-b.vmid, a.at-b.at) })
	for i, j := 0, 0; i < len(keys); i = j {
		for j = i; j < len(keys) && keys[j].vmid == keys[i].vmid; j++ {
		}
		slices.SortFunc(keys[i:j], func(a, b key) int {
			x, y := &disks[a.at], &disks[b.at]
			return cmp.Or(strings.Compare(clusters[a.at], clusters[b.at]), strings.Compare(x.Name(), y.Name()), strings.Compare(x.Dataset, y.Dataset))
		})
	}
	first := func(i int) bool {
		return i == 0 || keys[i-1].vmid != keys[i].vmid || clusters[keys[i-1].at] != clusters[keys[i].at]
	}
	all := 0
	for i := range keys {
		if first(i) {
			all++
		}
	}
	guests := make([]guestDisks, 0, all)
	room := make([]*Result, len(keys)) // memory for all serving lists: each guest uses a part
	var same []*Result                 // the disks with one guest and one name
	for i, k := range keys {
		if first(i) {
			guests = append(guests, guestDisks{cluster: clusters[k.at], vmid: k.vmid, serving: room[i:i]})
		}
		g := &guests[len(guests)-1]
		switch d := &disks[k.at]; d.Verdict {
		case Excluded:
			g.excluded = d
			g.others = append(g.others, d)
		case Orphaned:
			g.unwanted = d
			g.others = append(g.others, d)
		default:
			same = append(same, d)
		}
		last := i == len(keys)-1 || first(i+1) || disks[keys[i+1].at].Name() != disks[k.at].Name()
		if last && len(same) > 0 {
			g.add(same)
			same = same[:0]
		}
	}
	return guests
}

// add adds disks that share a name to the guest. Of several copies of one disk, the guest's verdict
// depends only on the best copy.
func (g *guestDisks) add(disks []*Result) {
	if len(disks) == 1 {
		g.serving = append(g.serving, disks[0])
		return
	}
	classes := [][]*Result{}
next:
	for _, d := range disks {
		for i, class := range classes {
			for _, other := range class {
				if sameDisk(d, other) {
					classes[i] = append(class, d)
					continue next
				}
			}
		}
		classes = append(classes, []*Result{d})
	}
	if slices.ContainsFunc(disks[1:], func(d *Result) bool {
		return !knownDifferent(d, disks[0]) && !sameNewest(d, disks[0]) || d.Looked != nil && len(d.Looked.Same)+len(d.Looked.Others) > 0
	}) {
		g.alike = append(g.alike, disks...)
	}
	for i, class := range classes {
		best := slices.MaxFunc(class, servesBetter)
		g.serving = append(g.serving, best)
		for _, d := range class {
			if d != best {
				g.others = append(g.others, d)
			}
		}
		for _, other := range classes[:i] {
			for _, d := range other {
				if g.uncompared == nil && !knownDifferent(class[0], d) {
					g.uncompared = []*Result{d, class[0]}
				}
			}
		}
	}
}

// sameDisk reports whether two datasets with one disk name are copies of one disk: such copies
// have a snapshot in common.
func sameDisk(a, b *Result) bool {
	if sameNewest(a, b) {
		return true
	}
	return a.Looked != nil && slices.Contains(a.Looked.Same, b.Dataset) || b.Looked != nil && slices.Contains(b.Looked.Same, a.Dataset)
}

func sameNewest(a, b *Result) bool {
	return a.Newest != nil && b.Newest != nil && a.Newest.GUID == b.Newest.GUID
}

// knownDifferent reports whether two datasets are known to be different disks. A dataset that is
// gone or has no snapshot counts as different from every other dataset.
func knownDifferent(a, b *Result) bool {
	if a.Newest == nil || b.Newest == nil || a.Gone || b.Gone {
		return true
	}
	return a.Looked != nil && slices.Contains(a.Looked.Others, b.Dataset) || b.Looked != nil && slices.Contains(b.Looked.Others, a.Dataset)
}

// servesBetter compares two copies of one disk: a readable copy is better than a copy that is
// gone, unreadable or damaged; otherwise the copy with the newer snapshot is better.
func servesBetter(a, b *Result) int {
	rank := func(d *Result) int {
		switch {
		case d.Gone || d.Disk.Problem != "" || d.Damaged != "":
			return 0
		case d.Newest == nil:
			return 1
		}
		return 2
	}
	if by := cmp.Compare(rank(a), rank(b)); by != 0 || a.Newest == nil || b.Newest == nil {
		return by
	}
	return a.Newest.Creation.Compare(b.Newest.Creation)
}
