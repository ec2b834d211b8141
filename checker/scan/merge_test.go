package scan

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Two processes read the same cache file, and each process saves its results in this file. For each
// disk, the cache file keeps the later reading. The entries of disks that neither of the two
// processes read are unchanged.
func TestMerge(t *testing.T) {
	const name = "tank/vm-1-disk-0"
	disk := checker.Disk{Dataset: name, GUID: 1, NewestOfAny: "a", PendingReceive: true}
	at := func(d checker.Disk, minutes int) []checker.Disk {
		d.ReadAt = now.Add(time.Duration(minutes) * time.Minute)
		return []checker.Disk{d}
	}
	off := disk
	off.PendingReceive = false
	another := disk
	another.NewestOfAny = "b"
	head := func(guid uint64) zfs.Dataset { return zfs.Dataset{Name: name, GUID: guid, NewestSnapshot: hourly} }
	pending := func(d checker.Disk, minutes int, token string) func(*Cache) {
		return func(c *Cache) { c.seePending(at(d, minutes), map[string]string{name: token}) }
	}
	newest := func(guid uint64, minutes int) func(*Cache) {
		return func(c *Cache) {
			c.keep(head(guid), now.Add(time.Duration(minutes)*time.Minute), hourly, hourly, nil)
		}
	}
	nothing := func(*Cache) {}
	since := func(c *Cache) any {
		if p, is := c.pending[name]; is {
			return p.Since.Sub(now).Minutes()
		}
		return "none"
	}
	guid := func(c *Cache) any { return c.newest[name].key.GUID }
	for what, c := range map[string]struct {
		before, first, last func(*Cache)
		is                  func(*Cache) any
		want                any
	}{
		"only the first saw it":             {nothing, pending(disk, 1, "x"), newest(1, 2), since, 1.0},
		"both saw it":                       {nothing, pending(disk, 1, "x"), pending(disk, 2, "x"), since, 1.0},
		"both, the earlier saves last":      {nothing, pending(disk, 2, "x"), pending(disk, 1, "x"), since, 1.0},
		"another receive":                   {nothing, pending(disk, 1, "x"), pending(another, 2, "y"), since, 2.0},
		"another, the earlier saves last":   {nothing, pending(another, 2, "y"), pending(disk, 1, "x"), since, 2.0},
		"it ended":                          {pending(disk, 0, "x"), nothing, pending(off, 1, ""), since, "none"},
		"it ended, and one touched nothing": {pending(disk, 0, "x"), pending(off, 1, ""), newest(1, 2), since, "none"},
		"it ended before another began":     {pending(disk, 0, "x"), pending(another, 2, "y"), pending(off, 1, ""), since, 2.0},
		"the later reading":                 {nothing, newest(1, 1), newest(2, 2), guid, uint64(2)},
		"the later reading saves first":     {nothing, newest(1, 2), newest(2, 1), guid, uint64(1)},
		"only the first read it":            {nothing, newest(1, 2), nothing, guid, uint64(1)},
		"it went": {newest(1, 0), nothing, func(c *Cache) {
			c.retain([]string{"tank"}, map[string]bool{}, now.Add(time.Minute))
		}, guid, uint64(0)},
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "newest.json")
			start := NewCache()
			c.before(start)
			require.NoError(t, start.Save(path))
			one, err := LoadCache(path)
			require.NoError(t, err)
			other, err := LoadCache(path)
			require.NoError(t, err)
			for _, each := range []struct {
				cache *Cache
				learn func(*Cache)
			}{{one, c.first}, {other, c.last}} {
				each.learn(each.cache)
				each.cache.Merge(path)
				require.NoError(t, each.cache.Save(path))
			}
			end, err := LoadCache(path)
			require.NoError(t, err)
			assert.Equal(t, c.want, c.is(end))
		})
	}
}
