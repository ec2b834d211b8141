package checker

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// Guest is one guest with what is said of it here. Its disks are those of its number that
// come from the same cluster.
type Guest struct {
	Cluster string
	VMID    int
	// ID is the guest as Proxmox's own API calls it: qemu/100.
	ID string
	// Name is what people call it, "" where that is not known.
	Name string
	// Disks are the datasets of its disks here, each disk once: of several copies the
	// freshest that can be read. Excluded ones are not among them.
	Disks []string
	// Lacking are disks that it must have and that are not here.
	Lacking []string
	// Point is its restore point, nil without one.
	Point *Point

	Verdict GuestVerdict
	Level   limitLevel
	State   State
	// Reason says why, in one line.
	Reason string
	// Age is that of the restore point, 0 without one.
	Age time.Duration
	// Alone is true where it alarms, and no disk of it does as much.
	Alone bool
}

// Looked is what was looked up of a disk that differs from the others of its guest.
type Looked struct {
	// Among are the datasets that Points and Ahead are about, each on a line.
	Among string
	// Points are managed snapshots of it, beside the newest, of times that others of its
	// guest's disks have.
	Points []zfs.Snapshot
	// Ahead is when its first managed snapshot after those was made, zero if that is not known.
	Ahead time.Time
	// Same are the datasets of its name that are copies of this disk, Others those that are
	// other disks.
	Same, Others []string
	// Config is what is kept with its snapshots of its guest's configuration, nil where nothing
	// was looked for.
	Config *KeptConfig
	// Problem is why something of this is not known, "" if it is.
	Problem string
}

// Number is the guest for a person: its number, with the cluster where there are several,
// and its name.
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

// Found is how many of its disks are here.
func (g Guest) Found() int { return len(g.Disks) }

// Expected is how many must be.
func (g Guest) Expected() int { return len(g.Disks) + len(g.Lacking) }

// Colour is what the guest is shown in.
func (g Guest) Colour() string { return guestTable[g.Verdict].Colours[g.Level] }

// guestDisks are all disks of one guest.
type guestDisks struct {
	cluster string
	vmid    int
	// serving are the disks that count: each once, by name.
	serving []*Result
	// excluded is one of those that do not count, nil if there is none; unwanted one that its
	// owner does not use any more.
	excluded, unwanted *Result
	// uncompared are two datasets of one name of which it is not known whether they are
	// copies of one disk.
	uncompared []*Result
	// alike are the disks of a name that several have, if they are not all known to be copies
	// of one disk by their newest snapshots.
	alike []*Result
	// absent are those that its owner has and that are not here.
	absent []absence
}

// byGuest sorts the disks by guest, and those of a guest by name.
func byGuest(disks []Result, p *Policy) []guestDisks {
	type key struct {
		vmid, at int // no more: this is sorted at each scrape
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
	room := make([]*Result, len(keys)) // for what serves: a guest has its part of it
	var same []*Result                 // those of one guest and name
	for i, k := range keys {
		if first(i) {
			guests = append(guests, guestDisks{cluster: clusters[k.at], vmid: k.vmid, serving: room[i:i]})
		}
		g := &guests[len(guests)-1]
		switch d := &disks[k.at]; d.Verdict {
		case Excluded:
			g.excluded = d
		case Orphaned:
			g.unwanted = d
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

// add takes in the disks of one name: of those that are copies of one disk the one that
// serves best.
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
		return !told(d, disks[0]) && !sameNewest(d, disks[0]) || d.Looked != nil && len(d.Looked.Same)+len(d.Looked.Others) > 0
	}) {
		g.alike = append(g.alike, disks...)
	}
	for i, class := range classes {
		best := slices.MaxFunc(class, servesBetter)
		g.serving = append(g.serving, best)
		for _, other := range classes[:i] {
			for _, d := range other {
				if g.uncompared == nil && !told(class[0], d) {
					g.uncompared = []*Result{d, class[0]}
				}
			}
		}
	}
}

// sameDisk reports whether two datasets of one name are copies of one disk: they share a
// snapshot.
func sameDisk(a, b *Result) bool {
	if sameNewest(a, b) {
		return true
	}
	return a.Looked != nil && slices.Contains(a.Looked.Same, b.Dataset) || b.Looked != nil && slices.Contains(b.Looked.Same, a.Dataset)
}

func sameNewest(a, b *Result) bool {
	return a.Newest != nil && b.Newest != nil && a.Newest.GUID == b.Newest.GUID
}

// told reports whether it is known that two datasets are different disks. One that has no
// snapshot has none in common; one that is gone or cannot be read is not compared.
func told(a, b *Result) bool {
	if a.Newest == nil || b.Newest == nil || a.Gone || b.Gone {
		return true
	}
	return a.Looked != nil && slices.Contains(a.Looked.Others, b.Dataset) || b.Looked != nil && slices.Contains(b.Looked.Others, a.Dataset)
}

// servesBetter orders copies of one disk: one that can be read comes after one that cannot,
// and a fresher one after an older one.
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
