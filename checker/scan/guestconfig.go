package scan

import (
	"context"
	"maps"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// configEntry is what is kept of its guest's configuration with the snapshots of a dataset.
type configEntry struct {
	GUID   uint64             `json:"guid,string"`
	Config checker.KeptConfig `json:"config"`
}

// configs finds the configurations that were asked for: by the newest snapshot alone where
// that keeps one, or refers to the one that is known, and else by the list of this one disk. What
// cannot be read, or somebody else asks for now, spoils no verdict: what was known before counts
// until the next time.
func (g *guests) configs(ctx context.Context) {
	disks := map[string]checker.Disk{} // by the newest snapshot's full name
	var names, lists []string
	for _, d := range g.unconfigured {
		if e, known := g.scanner.Cache.recallConfig(d); known {
			g.of(d.Dataset).Config = &e.Config
			if e.Config.Day == checker.DayOf(d.Newest.Name) {
				continue
			}
		}
		disks[d.Dataset+"@"+d.Newest.Name] = d
		names = append(names, d.Dataset+"@"+d.Newest.Name)
	}
	values := map[string]string{}
	inPools(names, func(pool string, of []string) {
		if zfs.CheckPool(g.scanner.Kstat, pool) != nil {
			return
		}
		_ = g.scanner.askingAlone(ctx, pool, func(r zfs.Reader) error {
			found, err := r.ConfigsOf(ctx, of)
			g.mu.Lock()
			defer g.mu.Unlock()
			maps.Copy(values, found)
			return err
		})
	})
	for _, name := range names {
		value, answered := values[name]
		d := disks[name]
		if answered && !g.configured(d, []zfs.KeptConfig{{Snapshot: *d.Newest, Value: value}}) {
			lists = append(lists, d.Dataset)
		}
	}
	inPools(lists, func(pool string, of []string) {
		_ = g.scanner.listing(ctx, pool, func(r zfs.Reader) error {
			for _, dataset := range of {
				if kept, err := r.Configs(ctx, dataset); err == nil {
					g.configuredByList(dataset, kept)
				}
			}
			return nil
		})
	})
}

// configuredByList answers by all snapshots of a dataset.
func (g *guests) configuredByList(dataset string, kept []zfs.KeptConfig) {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.IndexFunc(g.unconfigured, func(d checker.Disk) bool { return d.Dataset == dataset })
	if d := g.unconfigured[at]; !g.configured(d, kept) {
		g.keepConfig(d, checker.KeptConfig{})
	}
}

// configured answers by some of a disk's snapshots, the oldest first, with its newest. It is
// false where these do not show which configuration the newest is of.
func (g *guests) configured(d checker.Disk, kept []zfs.KeptConfig) bool {
	at := slices.IndexFunc(kept, func(k zfs.KeptConfig) bool { return k.Name == d.Newest.Name })
	if at < 0 {
		return false
	}
	sum := sumOf(kept[at].Value)
	if e, known := g.scanner.Cache.recallConfig(d); sum == "" || known && e.Config.Sum == sum {
		g.keepConfig(d, e.Config) // none is kept any more, or the same one
		return true
	}
	var since time.Time
	var found checker.KeptConfig
	for _, k := range slices.Backward(kept[:at+1]) {
		if sumOf(k.Value) != sum {
			break
		}
		since = k.Creation
		if c, err := pve.ReadCaptured(k.Value); err == nil && c.ID.VMID == d.VMID {
			found = newKeptConfig(c)
		}
	}
	if found.Sum == "" {
		return false
	}
	found.Since = since
	g.keepConfig(d, found)
	return true
}

// sumOf tells the configuration that a value keeps or refers to from others, "" for none that
// can be used.
func sumOf(value string) string {
	if sum, refers := pve.ReadReference(value); refers {
		return sum
	}
	c, err := pve.ReadCaptured(value)
	if err != nil {
		return ""
	}
	return c.Sum()
}

func newKeptConfig(c pve.Captured) checker.KeptConfig {
	config := c.Config()
	k := checker.KeptConfig{Sum: c.Sum(), Name: config.Name}
	for _, v := range config.Volumes {
		if _, _, disk := zfs.ParseDiskName(v.Name); disk && v.Storage != "" && !v.Unused() {
			k.Volumes = append(k.Volumes, v.String())
		}
	}
	return k
}

// keepConfig answers for a disk, and remembers that.
func (g *guests) keepConfig(d checker.Disk, k checker.KeptConfig) {
	k.Day = checker.DayOf(d.Newest.Name)
	g.of(d.Dataset).Config = &k
	g.scanner.Cache.keepConfig(d, configEntry{d.GUID, k})
}

func (c *Cache) recallConfig(d checker.Disk) (configEntry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.guests.Configs[d.Dataset]
	return e, ok && d.GUID != 0 && e.GUID == d.GUID
}

func (c *Cache) keepConfig(d checker.Disk, e configEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guests.Configs == nil {
		c.guests.Configs = map[string]configEntry{}
	}
	c.guests.Configs[d.Dataset] = e
	c.learnt.guests[d.Dataset] = true
	c.unsaved = true
}
