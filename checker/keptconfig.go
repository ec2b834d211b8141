package checker

import (
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// KeptConfig is what the configuration says of a guest that is kept with its snapshots.
type KeptConfig struct {
	// Day is that of the newest snapshot when it was looked for.
	Day string `json:"day"`
	// Sum tells it from others; "" where no snapshot keeps any.
	Sum string `json:"sum,omitempty"`
	// Name is what people call the guest.
	Name string `json:"name,omitempty"`
	// Volumes are those that the guest uses and that have the name of a disk, with their
	// storage: local-zfs:vm-100-disk-0.
	Volumes []string `json:"volumes,omitempty"`
	// Since is when the first snapshot was made that is known to be of it.
	Since time.Time `json:"since,omitzero"`
}

// DayOf is the day in a managed snapshot's name.
func DayOf(name string) string { return pointTime(name)[:len("2006-01-02")] }

// config is what is known of the guest's kept configuration, nil where nothing is.
func (g *guestDisks) config() *KeptConfig {
	if len(g.serving) == 0 || g.serving[0].Looked == nil {
		return nil
	}
	return g.serving[0].Looked.Config
}

// unconfigured is the disk whose snapshots are to be asked for the guest's configuration, nil
// for none: once a day.
func (g *guestDisks) unconfigured() *Result {
	if len(g.serving) == 0 {
		return nil
	}
	d := g.serving[0]
	if d.Newest == nil || d.Gone || d.Disk.Problem != "" || d.Owned == Owned {
		return nil
	}
	if k := g.config(); k != nil && k.Day == DayOf(d.Newest.Name) {
		return nil
	}
	return d
}

// lacking are the disks that the kept configuration names and that are not here. Which
// storages are on ZFS it does not say: those are on which a disk is that is here. A new disk
// has the warning limit as its grace.
func (g *guestDisks) lacking(disks []Result, p *Policy, now time.Time) []absence {
	k := g.config()
	if len(k.Volumes) <= len(g.serving) && !slices.ContainsFunc(k.Volumes, func(v string) bool { return !g.serves(v) }) {
		return nil // nearly always
	}
	here := namesHere(disks, g.vmid)
	var storages []string
	for _, v := range k.Volumes {
		if storage, name, _ := strings.Cut(v, ":"); here[name] {
			storages = append(storages, storage)
		}
	}
	var absent []absence
	for _, v := range k.Volumes {
		storage, name, _ := strings.Cut(v, ":")
		stand := Disk{Dataset: name, VMID: g.vmid}
		_, ignored := p.exclusion(&stand, now)
		if warning, _ := p.Limits(&stand); here[name] || ignored || !slices.Contains(storages, storage) || !warning.exceeded(max(0, now.Sub(k.Since))) {
			continue
		}
		absent = append(absent, absence{OwnedDisk: OwnedDisk{Dataset: name}, cluster: g.cluster, vmid: g.vmid, node: "its configuration, as it is kept with its snapshots,", expected: p.expects(&stand)})
	}
	return absent
}

// serves reports whether a volume is one of the disks that count.
func (g *guestDisks) serves(volume string) bool {
	_, name, _ := strings.Cut(volume, ":")
	return slices.ContainsFunc(g.serving, func(d *Result) bool { return d.Name() == name })
}

// namesHere are the names of all disks here of a guest, those that do not count, too.
func namesHere(disks []Result, vmid int) map[string]bool {
	here := map[string]bool{}
	for i := range disks {
		if disks[i].VMID == vmid {
			here[zfs.Base(disks[i].Dataset)] = true
		}
	}
	return here
}
