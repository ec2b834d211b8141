package snapper

import (
	"fmt"
	"testing"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/test/cputime"
)

// withSnapshots returns disks of running guests that together have 100 000 snapshots.
func withSnapshots(disks int) []Disk {
	var list []Disk
	keep := words("f48 h24 d30 w8 m12 y3")
	for n := range disks {
		d := runningDisk(fmt.Sprintf("tank/data/vm-%d-disk-0", 100+n), keep)
		count := 100_000 / disks
		for i := range count {
			at := noon.Add(-time.Duration(count-i) * 15 * time.Minute)
			d.Snapshots = append(d.Snapshots, zfs.Snapshot{
				Dataset: d.Name, Name: zfs.FormatSnapshotName(at, zfs.Frequently), GUID: uint64(n*count + i + 1), CreateTXG: uint64(i + 1), Creation: at,
			})
		}
		d.NewestSnapshot = d.Snapshots[count-1].Name
		list = append(list, d)
	}
	return list
}

func BenchmarkMakePlan(b *testing.B) {
	for _, disks := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("%d_disks", disks), func(b *testing.B) {
			list := withSnapshots(disks)
			b.ReportAllocs()
			began := cputime.Used()
			for b.Loop() {
				if plan := MakePlan(list, testPolicy(), noon); len(plan.Guests) != disks {
					b.Fatal(len(plan.Guests))
				}
			}
			cputime.Report(b, began)
		})
	}
}
