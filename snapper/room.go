package snapper

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// PoolRoom is what is known of the room on a pool before its snapshots are taken.
type PoolRoom struct {
	Pool string
	// Size and Allocated are in bytes, as zpool has them; 0 where it did not tell.
	Size, Allocated uint64
	Disks           []Disk
	// FillWarning and FillCritical are in percent, 0 for no limit.
	FillWarning, FillCritical int
}

// reserves is how many bytes a snapshot of the disk takes of the pool's room. Of a thick volume
// that is what was written since the last one: ZFS keeps its refreservation free for what will be
// written, and a snapshot is only allowed where there is room for what it holds beside that
// (zfsprops(7)). Of any other disk it is nothing.
func (d *Disk) reserves() uint64 { return min(d.Written, d.RefReservation) }

// free is how many bytes the disk's pool has for others than the disk, below all quotas.
func (d *Disk) free() uint64 { return d.Available - min(d.Available, d.UsedByRefReservation) }

// JudgeRoom says whether a pool has room for the next snapshots of the guests that run. Nothing
// is destroyed for room: a person decides.
func JudgeRoom(p PoolRoom) report.Room {
	r := report.Room{Size: p.Size, Allocated: p.Allocated}
	var all []Disk
	below := map[string][]Disk{}
	for _, d := range p.Disks {
		if d.RefReservation > 0 && d.State.Alive() && d.Ignored == "" && !d.NoSnap.Excludes() {
			all = append(all, d)
			below[zfs.Parent(d.Name)] = append(below[zfs.Parent(d.Name)], d)
		}
	}
	r.Thick = len(all)
	r.Reserves, r.Free = needs(all)
	r.Short = shortage(all)
	for _, parent := range slices.Sorted(maps.Keys(below)) {
		// A quota may leave less to those below it than the pool has.
		if words := shortage(below[parent]); r.Short == "" && words != "" {
			r.Short = "below " + parent + " " + words
		}
	}
	if r.Short != "" {
		r.Short += fmt.Sprintf("; free some (zfs list -o space -S used %s), keep fewer snapshots, or make the volumes thin (zfs set refreservation=none DATASET)", p.Pool)
	}
	r.Full, r.FullCritical = p.full()
	return r
}

// full says that the pool is fuller than its limits, "" where it is not; critical where it is
// beyond that one. [checker.Health] judges alike.
func (p PoolRoom) full() (words string, critical bool) {
	if p.Size == 0 {
		return "", false
	}
	percent := 100 * float64(p.Allocated) / float64(p.Size)
	limit, rule := 0, ""
	switch {
	case p.FillCritical > 0 && percent >= float64(p.FillCritical):
		limit, rule, critical = p.FillCritical, "limits.fill_critical", true
	case p.FillWarning > 0 && percent >= float64(p.FillWarning):
		limit, rule = p.FillWarning, "limits.fill_warning"
	default:
		return "", false
	}
	return fmt.Sprintf("%.0f%% of it is taken (limit %d%%, %s): a full pool takes no snapshot. Find what fills it: zfs list -o space -S used %s; destroy what is not needed, or keep fewer snapshots. Nothing is thinned out by itself",
		percent, limit, rule, p.Pool), critical
}

// needs is what the next snapshots of thick disks take, and what is free for them.
func needs(disks []Disk) (reserves, free uint64) {
	for i := range disks {
		reserves, free = reserves+disks[i].reserves(), max(free, disks[i].free())
	}
	return reserves, free
}

// shortage says that thick disks may lack the room for their next snapshots, "" where they do not.
// This run takes what they reserve now, and the next one as much if as much is written again.
func shortage(disks []Disk) string {
	reserves, free := needs(disks)
	if free >= 2*reserves {
		return ""
	}
	snapshots, reserve, them, next := "snapshots of "+text.Count(len(disks), "thick volume"), "reserve", "them", "ones"
	if len(disks) == 1 {
		snapshots, reserve, them, next = "snapshot of 1 thick volume", "reserves", "it", "one"
	}
	then := "there is no room for " + them
	if free >= reserves {
		then = "when as much is written again there is no room for the next " + next
	}
	return fmt.Sprintf("the %s %s %s now (%s), and %s are free: %s", snapshots, reserve, text.Bytes(reserves), largest(disks), text.Bytes(free), then)
}

// largest names the disks whose snapshots reserve most.
func largest(disks []Disk) string {
	const most = 3
	disks = slices.Clone(disks)
	slices.SortStableFunc(disks, func(a, b Disk) int { return cmp.Compare(b.reserves(), a.reserves()) })
	var words []string
	for _, d := range disks[:min(len(disks), most)] {
		words = append(words, zfs.Base(d.Name)+" "+text.Bytes(d.reserves()))
	}
	if over := len(disks) - most; over > 0 {
		words = append(words, fmt.Sprintf("%d more", over))
	}
	return strings.Join(words, ", ")
}
