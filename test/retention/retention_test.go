package retention

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// anyWords draws a retention.
func anyWords(t *rapid.T) (config.Keep, map[string]int) {
	words := map[string]int{}
	for _, class := range lengths {
		if n := rapid.SampledFrom([]int{-1, 0, 1, 2, 3, 5}).Draw(t, class); n >= 0 {
			words[class] = n
		}
	}
	keep := config.Keep{}
	for class, n := range words {
		keep[class] = n
	}
	return keep, words
}

// take adds a snapshot, either of the class that is due or of a random class.
func take(t *rapid.T, list []zfs.Snapshot, keep snapper.Retention, now time.Time, txg uint64) []zfs.Snapshot {
	class := rapid.IntRange(0, len(lengths)).Draw(t, "class")
	suffix := "stopped"
	if class < len(lengths) {
		suffix = lengths[class]
	}
	if due, any := keep.Due(list, now); any && rapid.Bool().Draw(t, "due") {
		suffix = due.String()
	}
	name := now.Format("autosnap_2006-01-02_15:04:05_") + suffix
	if rapid.IntRange(0, 15).Draw(t, "foreign") == 0 {
		name = rapid.SampledFrom([]string{"manual", "syncoid_c", name + "-keep", "__replicate_100-0_1784000000__"}).Draw(t, "name") + fmt.Sprint(txg)
	}
	if slices.ContainsFunc(list, func(s zfs.Snapshot) bool { return s.Name == name }) {
		return list
	}
	return append(list, zfs.Snapshot{Dataset: "tank/vm-100-disk-0", Name: name, GUID: txg, CreateTXG: txg, Creation: now.UTC()})
}

// TestRotationIsWhatThePageSays plays years of a disk's life, with a retention that changes.
func TestRotationIsWhatThePageSays(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	starts := []time.Time{
		time.Date(2026, 7, 15, 12, 7, 0, 0, time.UTC), time.Date(2026, 10, 24, 20, 0, 0, 0, time.UTC),
		time.Date(2027, 3, 27, 20, 0, 0, 0, time.UTC), time.Date(2026, 12, 28, 9, 0, 0, 0, time.UTC),
	}
	destroyed := 0
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.SampledFrom(starts).Draw(t, "start").In(zone)
		var list []zfs.Snapshot
		var words map[string]int
		var keep config.Keep
		for step := range rapid.IntRange(1, 80).Draw(t, "steps") {
			if words == nil || rapid.IntRange(0, 9).Draw(t, "words") == 0 {
				keep, words = anyWords(t)
			}
			now = now.Add(rapid.SampledFrom([]time.Duration{
				7 * time.Minute, 15 * time.Minute, 40 * time.Minute, 5 * time.Hour, 30 * time.Hour, 9 * 24 * time.Hour, 50 * 24 * time.Hour, -3 * time.Hour, -40 * time.Hour,
			}).Draw(t, "later"))
			r := snapper.RetentionOf(keep)
			list = take(t, list, r, now, uint64(step+1))
			if rapid.IntRange(0, 2).Draw(t, "rotates") > 0 {
				continue
			}
			want := Drops(words, list, now)
			var got []string
			for _, e := range r.Expire(list, now) {
				got = append(got, e.Snapshot.Name)
			}
			if !slices.Equal(want, got) {
				t.Fatalf("%v at %s\nof   %s\nwant %v\ngot  %v", words, now.Format(time.RFC3339), said(list), want, got)
			}
			destroyed += len(got)
			list = slices.DeleteFunc(list, func(s zfs.Snapshot) bool { return slices.Contains(got, s.Name) })
		}
	})
	require.Positive(t, destroyed)
}

func said(list []zfs.Snapshot) string {
	var lines []string
	for _, s := range list {
		lines = append(lines, s.Creation.Format("2006-01-02T15:04 ")+s.Name)
	}
	return strings.Join(lines, "\n     ")
}

// anyCopy draws a random copy and a random retention for prune.
func anyCopy(t *rapid.T, now time.Time) (snapper.Disk, map[string]int) {
	keep, words := anyWords(t)
	d := snapper.Disk{State: snapper.Replica, Retention: snapper.RetentionOf(keep), Bookmarking: rapid.Bool().Draw(t, "bookmarking")}
	d.Name = "tank/vm-100-disk-0"
	at := now.Add(-300 * 24 * time.Hour)
	for i := range rapid.IntRange(0, 60).Draw(t, "snapshots") {
		at = at.Add(rapid.SampledFrom([]time.Duration{20 * time.Minute, 7 * time.Hour, 3 * 24 * time.Hour, 20 * 24 * time.Hour, -9 * time.Hour}).Draw(t, "later"))
		d.Snapshots = take(t, d.Snapshots, d.Retention, at, uint64(i+1))
	}
	return d, words
}

// TestPruneNeverTakesMore: prune destroys no snapshot that docs/replication.md promises to keep,
// and never the newest snapshot of a copy.
func TestPruneNeverTakesMore(t *testing.T) {
	now := time.Date(2026, 7, 15, 12, 7, 0, 0, time.UTC)
	destroyed := 0
	rapid.Check(t, func(t *rapid.T) {
		d, words := anyCopy(t, now)
		policy := snapper.PrunePolicy{Bookmarks: rapid.IntRange(0, 40).Draw(t, "bookmarks"), StoppedGrace: 24 * time.Hour, MaxDestroys: rapid.SampledFrom([]int{3, 1000}).Draw(t, "most")}
		plan := snapper.PlanPrune([]snapper.Disk{d}, policy, nil, now)
		may := Drops(words, d.Snapshots, now)
		newest := ""
		for _, s := range d.Snapshots {
			if _, managed := parse(s.Name); managed {
				newest = s.Name
			}
		}
		if len(plan.Destroys) > policy.MaxDestroys {
			t.Fatalf("the plan destroys %d snapshots, more than a run may", len(plan.Destroys))
		}
		for _, g := range slices.Concat(plan.Destroys, plan.Waiting) {
			destroyed++
			if g.Name == newest || Always(d.Snapshots, now)[g.Name] || !strings.HasSuffix(g.Name, "_stopped") && !slices.Contains(may, g.Name) {
				t.Fatalf("%v: prune must not destroy %s of\n     %s", words, g.Name, said(d.Snapshots))
			}
		}
	})
	require.Positive(t, destroyed)
}
