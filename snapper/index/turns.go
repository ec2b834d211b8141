package index

import (
	"cmp"
	"maps"
	"slices"

	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// turn describes the turn in which prune last listed a disk. In one turn, prune lists the snapshots
// of a few disks. Each turn has a number instead of a time, because a clock may be wrong.
type turn struct {
	number uint64
	// The field `whole` is true if one disk of the turn is too slow: prune spent the whole time of
	// a run on this turn, and could not list all disks of the turn in this time.
	whole bool
}

// Turns divides the disks whose snapshots prune must list into turns of at most size disks. The
// first turns have the disks whose last turn was longest ago. A disk gets a turn alone if the
// disk's last turn used the whole time of a run and was not completed. Therefore a slow disk does
// not prevent the listing of other disks.
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

// Took records a turn of prune, in which prune tried to list the given disks. The argument `whole`
// is true if prune spent the whole time of a run on this turn, and the turn did not end.
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

// RetainTurns removes the turns of datasets below the roots, except the turns of the disks that the
// run has read.
func (x *Index) RetainTurns(disks []snapper.Disk, roots []string) {
	there := map[string]bool{}
	for i := range disks {
		there[disks[i].Name] = true
	}
	before := len(x.turns)
	maps.DeleteFunc(x.turns, func(dataset string, _ turn) bool { return !there[dataset] && zfs.WithinAny(dataset, roots) })
	x.Changed = x.Changed || len(x.turns) < before
}
