package scan

import (
	"context"
	"maps"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/pve"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// configEntry is the guest configuration that is kept with the snapshots of a dataset.
type configEntry struct {
	GUID   uint64             `json:"guid,string"`
	Config checker.KeptConfig `json:"config"`
}

// configs finds the guest configurations that are kept with the wanted disks' snapshots. The newest
// snapshot of a disk is enough if this snapshot keeps a configuration or refers to the known
// configuration, or if no snapshot of the disk ever kept a configuration. If the newest snapshot is
// not enough, configs lists all snapshots of the disk. If configs cannot read the snapshots, or
// another process reads the pool now, the configuration known from an earlier scan is used until
// the next scan.
func (g *guests) configs(ctx context.Context) {
	disks := map[string]checker.Disk{} // by the newest snapshot's full name
	var names, lists []string
	for _, d := range g.unconfigured {
		if known := g.scanner.Cache.recallConfig(d); known.Day != "" {
			g.lookedUp(d.Dataset).Config = &known
			if known.Day == zfs.DayOf(d.Newest.Name) {
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
		if answered && !g.configured(d, zfs.KeptConfig{Snapshot: *d.Newest, Value: value}) {
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

// configured returns false if the newest snapshot alone does not show the configuration.
func (g *guests) configured(d checker.Disk, newest zfs.KeptConfig) bool {
	sum, known := sumOf(newest.Value), g.scanner.Cache.recallConfig(d)
	switch sum {
	case known.Sum: // the known configuration, or still none
		g.keepConfig(d, known)
		return true
	case "":
		return false
	}
	found := newestConfig(d, []zfs.KeptConfig{newest})
	if found.Sum != "" {
		g.keepConfig(d, found)
	}
	return found.Sum != ""
}

// configuredByList sets the guest configuration of a dataset from all its snapshots, which are
// given the oldest first. The dataset gets the last guest configuration that its snapshots on this
// host keep, even if newer snapshots refer to a configuration that was not sent. If no snapshot of
// the dataset keeps a configuration any more, the guest has no kept configuration.
func (g *guests) configuredByList(dataset string, kept []zfs.KeptConfig) {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.unconfigured[slices.IndexFunc(g.unconfigured, func(d checker.Disk) bool { return d.Dataset == dataset })]
	known := g.scanner.Cache.recallConfig(d)
	for at := len(kept); at > 0; at-- {
		if sum := sumOf(kept[at-1].Value); sum != "" && sum == known.Sum {
			g.keepConfig(d, known)
			return
		}
		if found := newestConfig(d, kept[:at]); found.Sum != "" {
			g.keepConfig(d, found)
			return
		}
	}
	g.keepConfig(d, checker.KeptConfig{})
}

// newestConfig returns the guest configuration that the last of the given snapshots keeps or refers
// to. found.Sum is "" if none of the given snapshots keeps this configuration.
func newestConfig(d checker.Disk, kept []zfs.KeptConfig) (found checker.KeptConfig) {
	sum := sumOf(kept[len(kept)-1].Value)
	if sum == "" {
		return found
	}
	var since time.Time
	for _, k := range slices.Backward(kept) {
		if sumOf(k.Value) != sum {
			break
		}
		since = k.Creation
		if c, err := pve.ReadCaptured(k.Value); err == nil && c.ID.VMID == d.VMID {
			found = newKeptConfig(c)
		}
	}
	found.Since = since
	return found
}

// sumOf returns the checksum of the guest configuration that a snapshot's property value contains
// or refers to, "" if the value cannot be used.
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
	config, others := c.Config(), c.Others()
	k := checker.KeptConfig{Sum: c.Sum(), Name: text.Clip(text.Plain(config.Name), 100)} // a name in an owner's answer has the same limit
	for _, v := range config.Volumes {
		if _, _, disk := zfs.ParseDiskName(v.Name); disk && v.Storage != "" && !v.Unused() && !slices.Contains(others, v.Storage) {
			k.Volumes = append(k.Volumes, v.String())
		}
	}
	return k
}

// keepConfig sets the guest configuration of a disk, and stores the configuration in the cache.
func (g *guests) keepConfig(d checker.Disk, k checker.KeptConfig) {
	k.Day = zfs.DayOf(d.Newest.Name)
	g.lookedUp(d.Dataset).Config = &k
	g.scanner.Cache.keepConfig(d, configEntry{d.GUID, k})
}

// recallConfig returns the guest configuration of a disk from the cache. The configuration's Day
// is "" if no configuration was ever looked for.
func (c *Cache) recallConfig(d checker.Disk) checker.KeptConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.guests.Configs[d.Dataset]; d.GUID != 0 && e.GUID == d.GUID {
		return e.Config
	}
	return checker.KeptConfig{}
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
