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

// PoolRoom has the facts about the free space of a pool before a run takes snapshots there.
type PoolRoom struct {
	Pool string
	// Size and Allocated are in bytes, as zpool list prints them, and 0 if zpool did not answer.
	Size, Allocated uint64
	Disks           []Disk
	// FillWarning and FillCritical are the fill levels of the pool, in percent, above which the
	// pool is too full. 0 means no limit.
	FillWarning, FillCritical int
}

// reserves returns the number of bytes by which a new snapshot of the disk reduces the pool's free
// space. A snapshot of a volume with refreservation reserves the bytes written since the last
// snapshot: ZFS keeps the refreservation free for new writes, so it allows a snapshot only if the
// pool has as many free bytes outside of the refreservation (zfsprops(7)). A snapshot of a disk
// without refreservation reserves 0 bytes.
func (d *Disk) reserves() uint64 { return min(d.Written, d.RefReservation) }

// freeBytes returns the free bytes without the unused part of the disk's own reservation, given all
// quotas.
func (d *Disk) freeBytes() uint64 { return d.Available - min(d.Available, d.UsedByRefReservation) }

// JudgeRoom reports whether a pool has enough free space for the next snapshots of the running
// guests. snap destroys nothing to make space, because a person must decide what to destroy.
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
		// If a dataset has a quota, the datasets below it may have less free space than the pool
		// has.
		if words := shortage(below[parent]); r.Short == "" && words != "" {
			r.Short = "below " + parent + " " + words
		}
	}
	if r.Short != "" {
		r.Short += fmt.Sprintf("; free some (zfs list -o space -S used %s), keep fewer snapshots, or make the volumes thin (zfs set refreservation=none DATASET)", p.Pool)
	}
	r.Full, r.FullCritical = p.fullness()
	return r
}

// fullness returns a text if the pool is fuller than its limits, and "" for a pool within its
// limits. The result `critical` is true if the pool is fuller than the critical limit.
// [checker.Health] uses the same limits.
func (p PoolRoom) fullness() (words string, critical bool) {
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

// needs returns the number of bytes that the next snapshots of volumes with refreservation reserve,
// and the number of bytes that are free for these snapshots now.
func needs(disks []Disk) (reserves, free uint64) {
	for i := range disks {
		reserves, free = reserves+disks[i].reserves(), max(free, disks[i].freeBytes())
	}
	return reserves, free
}

// shortage returns a text if the pool may lack the space for the next snapshots of volumes with
// refreservation, and "" if the space suffices. The space must suffice for the snapshots of this
// run and of the next run: between the two runs, the guests may write as many bytes as they wrote
// before this run.
func shortage(disks []Disk) string {
	reserves, free := needs(disks)
	if free >= 2*reserves {
		return ""
	}
	snapshots, reserve, them, next := "snapshots of "+text.Count(len(disks), "thick volume"), "reserve", "them", "snapshots"
	if len(disks) == 1 {
		snapshots, reserve, them, next = "snapshot of 1 thick volume", "reserves", "it", "snapshot"
	}
	then := "there is no room for " + them
	if free >= reserves {
		then = "once the guests have written as much again, there is no room for the next " + next
	}
	return fmt.Sprintf("the %s %s %s now (%s), and %s are free: %s", snapshots, reserve, text.Bytes(reserves), largest(disks), text.Bytes(free), then)
}

// largest returns the names of the disks whose next snapshots reserve most space.
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
