package exporter

import (
	"cmp"
	"slices"

	"snapwatch/checker"
	"snapwatch/internal/pve"
)

// ownGuests returns this node's guests with the disks that snap covers. A host with copies must
// have a copy of each disk that snap covers here. The guests' names are from the report of the
// last run of snap, because the exporter may not read the guests' configurations.
func (s *Store) ownGuests(report checker.Report, owners pve.Owners, living Living) []checker.OwnedGuest {
	names := s.runs.known()
	at := map[int]int{}
	var guests []checker.OwnedGuest
	for i := range report.Disks {
		d := &report.Disks[i]
		if d.Gone || d.Newest == nil || !owners.Here(d.VMID) || checker.IsCopy(s.config(), d.Dataset) || s.excluded(*d) != "" {
			continue
		}
		if _, known := at[d.VMID]; !known {
			at[d.VMID] = len(guests)
			guests = append(guests, checker.OwnedGuest{VMID: d.VMID})
			if names != nil {
				guests[at[d.VMID]].Name = names.Run.Names[d.VMID]
			}
		}
		g := &guests[at[d.VMID]]
		g.Disks = append(g.Disks, checker.OwnedDisk{Dataset: d.Dataset, Created: d.Created, Newest: d.Newest.Creation})
	}
	slices.SortFunc(guests, func(a, b checker.OwnedGuest) int { return cmp.Compare(a.VMID, b.VMID) })
	for i := range guests {
		_, guests[i].Alive = living(guests[i].VMID)
		slices.SortFunc(guests[i].Disks, func(a, b checker.OwnedDisk) int { return cmp.Compare(a.Dataset, b.Dataset) })
	}
	return guests
}
