package zfs

import (
	"fmt"
	"testing"

	"snapwatch/test/cputime"
)

// BenchmarkSnapshotNames measures the parsing of a list of 100 000 snapshots of one disk.
func BenchmarkSnapshotNames(b *testing.B) {
	lines := make([]string, 100_000)
	for i := range lines {
		lines[i] = fmt.Sprintf("tank/replica/vm-100-disk-0@autosnap_2026-%02d-%02d_%02d:%02d:%02d_frequently\t%d\t%d", i%12+1, i%28+1, i%24, i%60, i%60, uint64(i)<<32, i)
	}
	b.ReportAllocs()
	began := cputime.Used()
	for b.Loop() {
		var p nameParser
		for _, line := range lines {
			n, err := p.parse(line)
			if err != nil {
				b.Fatal(err)
			}
			if _, managed := n.Class(); !managed {
				b.Fatal(line)
			}
		}
	}
	cputime.Report(b, began)
}
