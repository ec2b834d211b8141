//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/test/sim"
)

// maxClockDifference is the greatest allowed difference between the lab's clock and the model's
// clock: the model's clock does not advance while commands run in the lab.
const maxClockDifference = 5 * time.Minute

// onPool has the parts of a dataset that the test compares with the model: label, snapshots and
// bookmarks.
type onPool struct {
	label       string
	snaps, mark []zfs.Snapshot
}

// comparePools compares all disks on the lab's sites with the disks of the model.
func (r *replay) comparePools() {
	r.t.Helper()
	pools := r.readPools()
	known := 0
	for at := range r.sites {
		for _, name := range sorted(r.model.Disks(at)) {
			d, dataset := r.model.Disks(at)[name], labName(at, name)
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

// sameGUIDs asserts for each snapshot of a disk: if it has the same guid on all sites of the model,
// it also has the same guid on all sites of the lab. Replication can continue from a snapshot only
// if the snapshot has the same guid on source and target.
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

// inWords returns the names of snapshots without the seconds, because the seconds differ between
// the model and the pool.
func inWords(sign string, list []zfs.Snapshot) []string {
	words := []string{}
	for _, s := range list {
		name := s.Name
		if class, ours := s.Class(); ours {
			name = class.String()
		}
		words = append(words, sign+name+" "+s.Creation.UTC().Truncate(maxClockDifference).Format(time.DateTime))
	}
	return words
}

// readPools returns, by dataset, the label, the snapshots and the bookmarks of each disk on the
// pools.
func (r *replay) readPools() map[string]onPool {
	roots := []string{"ta", "tb", "tc"}
	all := map[string]onPool{}
	labels := r.rows(append([]string{"get", "-Hp", "-r", "-t", "filesystem,volume", "-o", "name,value,received,source", zfs.LabelRunning}, roots...))
	lists := r.rows(append([]string{"list", "-Hp", "-r", "-t", "snapshot,bookmark", "-o", "name,guid,createtxg,creation"}, roots...))
	for _, f := range labels() {
		all[f[0]] = onPool{label: fmt.Sprintf("%s %s, received %s", f[1], f[3], f[2])}
	}
	for _, f := range lists() {
		at := strings.IndexAny(f[0], "@#")
		s := zfs.Snapshot{
			Dataset: f[0][:at], Name: f[0][at+1:], GUID: r.number(f[1]), CreateTXG: r.number(f[2]), Creation: time.Unix(int64(r.number(f[3])), 0),
		}
		p := all[s.Dataset]
		if f[0][at] == '#' {
			p.mark = sortedWith(p.mark, s)
		} else {
			p.snaps = sortedWith(p.snaps, s)
		}
		all[s.Dataset] = p
	}
	maps.DeleteFunc(all, func(name string, _ onPool) bool {
		_, _, ok := zfs.ParseDiskName(path.Base(name))
		return !ok
	})
	return all
}

// rows starts a zfs command and returns a function that waits for the command and returns its
// output, four columns a line.
func (r *replay) rows(args []string) func() [][]string {
	r.t.Helper()
	process, err := r.c.Start(r.ctx, append([]string{"zfs"}, args...)...)
	require.NoError(r.t, err)
	return func() (rows [][]string) {
		result := process.Wait()
		require.NoError(r.t, r.ctx.Err())
		require.Zero(r.t, result.Code, result.Stderr)
		for line := range strings.Lines(result.Stdout) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			require.Len(r.t, f, 4, line)
			rows = append(rows, f)
		}
		return rows
	}
}

// sortedWith inserts a snapshot into a list in the order of creation.
func sortedWith(list []zfs.Snapshot, s zfs.Snapshot) []zfs.Snapshot {
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
