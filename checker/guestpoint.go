package checker

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// Point is a restore point: the newest time of which all disks of a guest have a managed
// snapshot. The guest can be started with its data as of the restore point.
type Point struct {
	// Time is the time as written in the snapshots' names, for example 2026-03-29_12:15:00.
	Time string
	// Created is the creation time of the first snapshot of the restore point.
	Created time.Time
}

// Words returns the restore point's time for people, for example 2026-03-29 12:15:00.
func (p Point) Words() string { return strings.Replace(p.Time, "_", " ", 1) }

// has reports whether a snapshot may belong to the restore point p. That the snapshot's name has
// the time of p does not suffice, because a clock that was set back gives the same time to later
// snapshots.
func (p Point) has(s *zfs.Snapshot) bool {
	after := s.Creation.Sub(p.Created)
	return pointTime(s.Name) == p.Time && after >= 0 && after <= apartFor
}

// apartFor is the greatest difference between the creation times of snapshots with one time in
// their names. apartFor is not zero because each pool's snapshots are made by a separate channel
// program. A difference greater than apartFor means that the times in the names come from two
// different clocks, or that this time of day occurred twice because daylight saving ended.
const apartFor = 10 * time.Minute

// pointTime returns the time in a managed snapshot's name, as written there.
func pointTime(name string) string {
	const from, to = len("autosnap_"), len("autosnap_2006-01-02_15:04:05")
	return name[from:to]
}

// CommonPoint returns one snapshot from each list, all of the newest time of which each list has a
// snapshot; nil if there is no such time.
func CommonPoint(lists [][]zfs.Snapshot) []zfs.Snapshot {
	if len(lists) == 0 {
		return nil
	}
	others := make([]map[string][]zfs.Snapshot, len(lists)-1)
	for i, list := range lists[1:] {
		others[i] = make(map[string][]zfs.Snapshot, len(list))
		for _, s := range list {
			if IsManaged(s.Name) {
				others[i][pointTime(s.Name)] = append(others[i][pointTime(s.Name)], s)
			}
		}
	}
	var best []zfs.Snapshot
	row := make([]zfs.Snapshot, 0, len(lists))
next:
	for _, s := range lists[0] {
		if !IsManaged(s.Name) {
			continue
		}
		row = append(row[:0], s)
		for _, other := range others {
			same := other[pointTime(s.Name)]
			if len(same) == 0 {
				continue next
			}
			// If a clock was set back, a disk has two snapshots of one time.
			row = append(row, slices.MinFunc(same, func(a, b zfs.Snapshot) int {
				return cmp.Compare(a.Creation.Sub(s.Creation).Abs(), b.Creation.Sub(s.Creation).Abs())
			}))
		}
		first, last := span(row)
		if last.Sub(first) > apartFor {
			continue
		}
		if newest, _ := span(best); best == nil || first.After(newest) {
			best = slices.Clone(row)
		}
	}
	return best
}

// span returns the earliest and the latest creation time of the snapshots.
func span(snapshots []zfs.Snapshot) (first, last time.Time) {
	for i, s := range snapshots {
		if i == 0 || s.Creation.Before(first) {
			first = s.Creation
		}
		if i == 0 || s.Creation.After(last) {
			last = s.Creation
		}
	}
	return first, last
}

// agree reports whether the newest snapshots of all disks were made together, with the same time in
// their names. If agreed is true, the result p is the restore point that the newest snapshots form.
func (g *guestDisks) agree() (p Point, agreed bool) {
	p = Point{Time: pointTime(g.serving[0].Newest.Name), Created: g.serving[0].Newest.Creation}
	for _, d := range g.serving {
		if d.Newest.Creation.Before(p.Created) {
			p.Created = d.Newest.Creation
		}
	}
	return p, !slices.ContainsFunc(g.serving, func(d *Result) bool { return !p.has(d.Newest) })
}

// olderPoint returns the restore point of disks for which [guestDisks.agree] is false, nil if
// unknown. Each of the guest's disks must have a snapshot.
func (g *guestDisks) olderPoint() *Point {
	var lists [][]zfs.Snapshot
	for _, d := range g.serving {
		list := []zfs.Snapshot{*d.Newest}
		if d.Looked != nil {
			list = append(list, d.Looked.Points...)
		}
		lists = append(lists, list)
	}
	snapshots := CommonPoint(lists)
	if len(snapshots) == 0 {
		return nil
	}
	first, _ := span(snapshots)
	return &Point{Time: pointTime(snapshots[0].Name), Created: first}
}
