package index

import (
	"cmp"
	"maps"
	"slices"

	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// turn says when a disk was last listed in turns, by the number of the turn: a clock may be wrong.
type turn struct {
	number uint64
	// whole: it had the whole time of a run, and did not end. One of its disks is to blame.
	whole bool
}

// Turns divides disks that are to be listed into turns of so many: those first that had no turn for the
// longest. A disk of a turn that did not end in the whole time of a run gets one alone, so that
// it keeps no other from being listed.
func (x *Index) Turns(disks []*snapper.Disk, size int) [][]*snapper.Disk {
	disks = slices.Clone(disks)
	slices.SortFunc(disks, func(a, b *snapper.Disk) int {
		return cmp.Or(cmp.Compare(x.turns[a.Name].number, x.turns[b.Name].number), cmp.Compare(a.Name, b.Name))
	})
	var turns [][]*snapper.Disk
	room := 0
	for _, d := range disks {
		alone := x.turns[d.Name].whole
		if room == 0 || alone {
			turns, room = append(turns, nil), size
		}
		turns[len(turns)-1] = append(turns[len(turns)-1], d)
		if room--; alone {
			room = 0
		}
	}
	return turns
}

// Took notes that disks had their turn, and whether that had the whole time of a run and did not end.
func (x *Index) Took(disks []*snapper.Disk, whole bool) {
	number := uint64(0)
	for _, t := range x.turns {
		number = max(number, t.number)
	}
	if x.turns == nil {
		x.turns = map[string]turn{}
	}
	for _, d := range disks {
		x.turns[d.Name] = turn{number + 1, whole}
	}
	x.Changed = true
}

// RetainTurns forgets the turns of datasets below the roots that are not among the disks any more.
func (x *Index) RetainTurns(disks []snapper.Disk, roots []string) {
	there := map[string]bool{}
	for i := range disks {
		there[disks[i].Name] = true
	}
	before := len(x.turns)
	maps.DeleteFunc(x.turns, func(dataset string, _ turn) bool { return !there[dataset] && zfs.WithinAny(dataset, roots) })
	x.Changed = x.Changed || len(x.turns) < before
}
