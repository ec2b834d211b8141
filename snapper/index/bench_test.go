package index

import (
	"fmt"
	"testing"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/snapper"
	"snapwatch/test/cputime"
)

// BenchmarkIndex measures reading and writing an index of 100 000 snapshots.
func BenchmarkIndex(b *testing.B) {
	x := Index{}
	for _, d := range benchDisks() {
		d.SnapshotsChanged = 1
		x.Keep(&d, benchTime)
	}
	text := x.Text()
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		began := cputime.Used()
		for b.Loop() {
			if _, err := Parse(text); err != nil {
				b.Fatal(err)
			}
		}
		cputime.Report(b, began)
	})
	b.Run("write", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		began := cputime.Used()
		for b.Loop() {
			x.Text()
		}
		cputime.Report(b, began)
	})
}

// benchDisks returns 100 disks with 1000 snapshots each.
func benchDisks() []snapper.Disk {
	var list []snapper.Disk
	for n := range 100 {
		d := snapper.Disk{}
		d.Name = fmt.Sprintf("tank/data/vm-%d-disk-0", 100+n)
		for i := range 1000 {
			at := benchTime.Add(-time.Duration(1000-i) * 15 * time.Minute)
			d.Snapshots = append(d.Snapshots, zfs.Snapshot{
				Dataset: d.Name, Name: zfs.FormatSnapshotName(at, zfs.Frequently), GUID: uint64(n*1000 + i + 1), CreateTXG: uint64(i + 1), Creation: at,
			})
		}
		d.NewestSnapshot = d.Snapshots[999].Name
		list = append(list, d)
	}
	return list
}

var benchTime = time.Date(2026, time.July, 15, 12, 7, 0, 0, time.UTC)
