package snapper

import (
	"fmt"
	"testing"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/test/cputime"
)

// BenchmarkIndex is the reading of an index of 100 000 snapshots, and its writing.
func BenchmarkIndex(b *testing.B) {
	x := index{}
	for _, d := range benchDisks() {
		d.SnapshotsChanged = 1
		x.keep(&d, benchTime)
	}
	text := x.text()
	b.Run("read", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		began := cputime.Used()
		for b.Loop() {
			if _, err := parseIndex(text); err != nil {
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
			x.text()
		}
		cputime.Report(b, began)
	})
}

// benchDisks are 100 disks with 1000 snapshots each.
func benchDisks() []Disk {
	var list []Disk
	for n := range 100 {
		d := Disk{}
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
