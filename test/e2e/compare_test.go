//go:build e2e && soak

package e2e

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/test/sim"
)

// near is how far the lab's clock may be behind the model's, which stands still while
// something is done.
const near = 5 * time.Minute

// onPool is what is compared of a dataset: its label, and its snapshots and bookmarks.
type onPool struct {
	label       string
	snaps, mark []zfs.Snapshot
}

// comparePools holds all disks on all sites against the model's.
func (r *replay) comparePools() {
	r.t.Helper()
	pools := r.readPools()
	known := 0
	for at := range r.sites {
		for _, name := range sorted(r.model.Disks(at)) {
			d, dataset := r.model.Disks(at)[name], real(at, name)
			slices.SortStableFunc(d.Bookmarks, func(a, b zfs.Snapshot) int { return cmp.Compare(a.CreateTXG, b.CreateTXG) })
			have, there := pools[dataset]
			require.True(r.t, there, "%s is in the model only", dataset)
			known++
			require.Equal(r.t, labelOf(d.Running), have.label, "the model's label of %s, and the pool's", dataset)
			require.Equal(r.t, inWords("@", d.Snapshots), inWords("@", have.snaps), "the model's snapshots of %s, and the pool's", dataset)
			require.Equal(r.t, inWords("#", d.Bookmarks), inWords("#", have.mark), "the model's bookmarks of %s, and the pool's", dataset)
			r.sameGUIDs(path.Base(name), d.Snapshots, have.snaps)
			r.sameGUIDs(path.Base(name), d.Bookmarks, have.mark)
		}
	}
	require.Len(r.t, pools, known, "there are disks that are not in the model")
}

// sameGUIDs asserts that what is one snapshot in the model is one on the pools, on all
// sites: only then replication goes on from it.
func (r *replay) sameGUIDs(disk string, model, pool []zfs.Snapshot) {
	for i, m := range model {
		guid, known := r.guids[m.GUID]
		if known {
			require.Equal(r.t, guid, pool[i].GUID, "%s@%s is another snapshot than before", disk, pool[i].Name)
		}
		r.guids[m.GUID] = pool[i].GUID
		r.names[disk+"@"+m.Name] = pool[i].Name
	}
}

func labelOf(p zfs.Property) string {
	source := "-"
	switch p.Source {
	case zfs.SourceLocal:
		source = "local"
	case zfs.SourceReceived:
		source = "received"
	}
	value, received := p.Own(), p.Received
	if value == "" {
		value = "-"
	}
	if received == "" {
		received = "-"
	}
	return value + " " + source + ", received " + received
}

// inWords are snapshots without what differs between the model and the pool: the
// seconds.
func inWords(sign string, list []zfs.Snapshot) []string {
	words := []string{}
	for _, s := range list {
		name := s.Name
		if class, ours := s.Class(); ours {
			name = class.String()
		}
		words = append(words, sign+name+" "+s.Creation.UTC().Truncate(near).Format(time.DateTime))
	}
	return words
}

// readPools reads what the pools have of all disks, by dataset.
func (r *replay) readPools() map[string]onPool {
	text := r.zfs("get", "-Hp", "-r", "-t", "filesystem,volume,snapshot,bookmark", "-o", "name,property,value,received,source",
		zfs.LabelRunning+",guid,creation,createtxg", "ta/data", "tb/data", "tc")
	all := map[string]onPool{}
	snapshot := zfs.Snapshot{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(r.t, f, 5, line)
		dataset, name, _ := strings.Cut(f[0], "@")
		dataset, mark, marked := strings.Cut(dataset, "#")
		if _, _, ok := zfs.ParseDiskName(path.Base(dataset)); !ok {
			continue
		}
		p := all[dataset]
		switch f[1] {
		case zfs.LabelRunning:
			if name == "" && !marked {
				p.label = fmt.Sprintf("%s %s, received %s", f[2], f[4], f[3])
			}
		case "guid":
			snapshot = zfs.Snapshot{Dataset: dataset, Name: name + mark, GUID: r.number(f[2])}
		case "creation":
			snapshot.Creation = time.Unix(int64(r.number(f[2])), 0)
		case "createtxg":
			snapshot.CreateTXG = r.number(f[2])
			if marked {
				p.mark = ordered(p.mark, snapshot)
			} else if name != "" {
				p.snaps = ordered(p.snaps, snapshot)
			}
		}
		all[dataset] = p
	}
	return all
}

// ordered adds a snapshot in the order of creation.
func ordered(list []zfs.Snapshot, s zfs.Snapshot) []zfs.Snapshot {
	at := len(list)
	for at > 0 && list[at-1].CreateTXG > s.CreateTXG {
		at--
	}
	return slices.Insert(list, at, s)
}

func (r *replay) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(r.t, err)
	return n
}

var _ sim.Lab = (*replay)(nil)
