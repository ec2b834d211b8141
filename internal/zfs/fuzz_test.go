package zfs

import (
	"strings"
	"testing"
)

// headLines returns the output of zfs get for a dataset and for a clone of the dataset's snapshot.
func headLines() string {
	values := map[string]string{
		"guid": "12", "creation": "1700000000", "origin": "-", "prevsnap": "tank/vm-1-disk-0@a",
		"inconsistent": "0", "receive_resume_token": "-", "written": "0", snapshotsChanged: "1700000001", LabelRunning: "node", LabelNoSnap: "-",
	}
	var b strings.Builder
	for _, dataset := range []string{"tank/vm-1-disk-0", "tank/vm-2-disk-0"} {
		for _, p := range headProperties {
			b.WriteString(dataset + "\t" + p + "\t" + values[p] + "\t-\n")
		}
		values["origin"] = values["prevsnap"]
	}
	return b.String()
}

func parseHeads(text string) ([]Dataset, error) {
	p := datasetParser{properties: headProperties, seen: map[string]bool{}}
	for line := range strings.Lines(text) {
		if err := p.line(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, err
		}
	}
	return p.heads, p.end()
}

// FuzzHeads checks for any output of zfs that each head was read from a complete set of rows about
// its dataset, that no dataset is read twice, and that zfs would accept every name that was read.
func FuzzHeads(f *testing.F) {
	good := headLines()
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(good[:len(good)-1])
	f.Add(strings.Replace(good, "node", "a\nb", 1))
	f.Add(strings.Replace(good, "node", "a\tb", 1))
	f.Add(strings.Replace(good, "\t12\t", "\t-1\t", 1))
	f.Add(strings.Replace(good, "\t12\t", "\t99999999999999999999999\t", 1))
	f.Add(strings.Replace(good, "1700000000", "", 1))
	f.Add(strings.Repeat(good, 2))
	f.Add(strings.Repeat("x", 100_000))
	f.Add("\t\t\t\t\n\xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		heads, err := parseHeads(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, h := range heads {
			if seen[h.Name] || !ValidDataset(h.Name) {
				t.Fatalf("%q was read from %q", h.Name, text)
			}
			seen[h.Name] = true
			rows := 0
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, h.Name+"\t") {
					rows++
				}
			}
			if rows < len(headProperties) {
				t.Fatalf("%q was read from %d rows of %q", h.Name, rows, text)
			}
		}
	})
}

// FuzzSnapshots checks for any output of zfs that each snapshot was read from a line with the right
// columns, and that a line written from the parsed snapshot equals the line that was read.
func FuzzSnapshots(f *testing.F) {
	for _, line := range []string{
		"tank/a@s\t1\t2\t3", "tank/a@s\t1\t2", "tank/a@\t1\t2\t3", "tank/a\t1\t2\t3", "@s\t1\t2\t3", "tank/a@s\t-1\t2\t3", "tank/a@s\t1\t\t3",
		"tank/a@s\t1\t2\t3\t4", "tank/a@s\t18446744073709551616\t2\t3", "tank/a@s@t\t1\t2\t3", "\xff@s\t1\t2\t3",
		"tank/a@s\t1\t2\t9223372036854775807", strings.Repeat("x", 70_000),
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if s, err := parseSnapshot(line, "@"); err == nil {
			if strings.Count(line, "\t") != 3 || !strings.HasPrefix(line, s.FullName()+"\t") || !ValidDataset(s.Dataset) {
				t.Fatalf("%+v was read from %q", s, line)
			}
		}
		if n, err := new(nameParser).parse(line); err == nil {
			if strings.Count(line, "\t") != 2 || !strings.HasPrefix(line, n.Dataset+"@"+n.Name+"\t") {
				t.Fatalf("%+v was read from %q", n, line)
			}
		}
		_, _, _ = ParseDiskName(line)
		_, _ = ParseSnapshotName(line)
	})
}

func TestHeadsAreReadWhole(t *testing.T) {
	good := headLines()
	heads, err := parseHeads(good)
	if err != nil || len(heads) != 2 || heads[0].NewestSnapshot != "a" || heads[1].NewestSnapshot != "" {
		t.Fatalf("%+v %v", heads, err)
	}
	for cut := 1; cut < len(good); cut++ {
		if text := good[:cut]; !strings.HasSuffix(text, "\n") || strings.Count(text, "\n")%len(headProperties) != 0 {
			// If the last line has no newline, the end of the line may be missing.
			if heads, err := parseHeads(text); err == nil && strings.Count(text, "\n") < len(headProperties)-1 {
				t.Fatalf("cut after %d bytes it was read as %+v", cut, heads)
			}
		}
	}
}

// If the property prevsnap of a dataset names a snapshot of another dataset that is not the origin,
// the dataset's newest snapshot must count as unknown. If the newest snapshot counted as missing,
// the disk would look like a new disk.
func TestNewestSnapshotIsOfTheDataset(t *testing.T) {
	for value, want := range map[string]string{
		"tank/vm-1-disk-0@a": "a", "tank/vm-1-disk-0@by hand": "by hand", "-": "", "tank/base-9-disk-0@__base__": "",
		"": "unknown", "tank/vm-1-disk-0@": "unknown", "tank/vm-1-disk-0": "unknown", "tank/vm-2-disk-0@a": "unknown", "a": "unknown", "yes": "unknown",
	} {
		h := Dataset{Name: "tank/vm-1-disk-0", Origin: "tank/base-9-disk-0@__base__"}
		if err := h.set(prevsnap, value, "-"); err != nil || h.NewestSnapshot != want && want != "unknown" || h.NewestUnknown != (want == "unknown") {
			t.Errorf("%q: %q, %v, %v", value, h.NewestSnapshot, h.NewestUnknown, err)
		}
	}
	var h Dataset
	if err := h.set(prevsnap, "", "-"); err != nil || !h.NewestUnknown {
		t.Error("no value passes for the origin of a dataset that has none")
	}
}

func BenchmarkHeads(b *testing.B) {
	one := headLines()
	lines := strings.Split(one, "\n")[:len(headProperties)]
	b.ReportAllocs()
	for b.Loop() {
		p := datasetParser{properties: headProperties, seen: map[string]bool{}}
		for _, line := range lines {
			if err := p.line(line); err != nil {
				b.Fatal(err)
			}
		}
	}
}
