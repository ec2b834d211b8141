package checker

import (
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// KeptConfig is the part of a guest's configuration that snapwatch uses. The configuration was kept
// with the guest's snapshots.
type KeptConfig struct {
	// Day is the day of the snapshot that was the disk's newest when the scanner last searched for
	// the guest's configuration.
	Day string `json:"day"`
	// Sum is the checksum of the guest's configuration, "" if no snapshot keeps a configuration.
	Sum string `json:"sum,omitempty"`
	// Name is the guest's name according to the kept configuration.
	Name string `json:"name,omitempty"`
	// Volumes has the guest's volumes that have the name of a disk, with their storage:
	// local-zfs:vm-100-disk-0. The field Volumes lacks volumes on storages that snap does not
	// cover.
	Volumes []string `json:"volumes,omitempty"`
	// Since is the creation time of the first snapshot that is known to keep the configuration with
	// the checksum Sum.
	Since time.Time `json:"since,omitzero"`
}

// config returns the guest's kept configuration, nil if unknown.
func (g *guestDisks) config() *KeptConfig {
	if len(g.serving) == 0 || g.serving[0].Looked == nil {
		return nil
	}
	return g.serving[0].Looked.Config
}

// unconfigured returns the disk whose snapshots must be searched for the guest's configuration, nil
// if the search for the day of the disk's newest snapshot was already made.
func (g *guestDisks) unconfigured() *Result {
	if len(g.serving) == 0 {
		return nil
	}
	d := g.serving[0]
	if d.Newest == nil || d.Gone || d.Disk.Problem != "" {
		return nil
	}
	if k := g.config(); k != nil && k.Day == zfs.DayOf(d.Newest.Name) {
		return nil
	}
	return d
}

// lacking returns the disks that the guest's kept configuration names and this host lacks. A
// configuration that an older version of snap kept does not say which storages are on ZFS. With
// such a configuration, lacking takes a storage to be on ZFS if one of the storage's disks is
// certainly here. The configuration may name disks of the same name on several storages. If this
// host has fewer disks of this name, lacking returns the disks that the configuration has in
// excess, because it is unknown from which storages the disks here come. A disk that is younger
// than its warning limit does not count as lacking. A guest of this host lacks nothing: its
// configuration in /etc/pve may be newer than the kept configuration.
func (g *guestDisks) lacking(disks []Result, p *Policy, now time.Time) []absence {
	k := g.config()
	if g.serving[0].Owned == Owned {
		return nil
	}
	if !slices.ContainsFunc(k.Volumes, func(v string) bool { return g.serves(volumeName(v)) < countNamed(k.Volumes, volumeName(v)) }) {
		return nil // the usual case
	}
	volumes := slices.DeleteFunc(slices.Clone(k.Volumes), func(v string) bool {
		return slices.ContainsFunc(g.standsFor(v), func(d Disk) bool { _, ignored := p.exclusion(&d, now); return ignored })
	})
	all, here := newHoldings(disks, p), map[string]int{}
	certain := map[string]bool{} // storages that are certainly on ZFS
	for _, v := range volumes {
		name := volumeName(v)
		if here[name] = all.count(g.cluster, name); here[name] >= countNamed(volumes, name) {
			certain[storageName(v)] = true
		}
	}
	// The disks on this host are matched first with volumes on storages that are certainly on
	// ZFS.
	slices.SortStableFunc(volumes, func(a, b string) int {
		switch {
		case certain[storageName(a)] == certain[storageName(b)]:
			return 0
		case certain[storageName(a)]:
			return -1
		}
		return 1
	})
	found := maps.Clone(here)
	var absent []absence
	for _, v := range volumes {
		name := volumeName(v)
		if found[name]--; found[name] >= 0 || here[name] == 0 && !certain[storageName(v)] {
			continue
		}
		stands := g.standsFor(v)
		if warning, _ := p.Limits(&stands[0]); !warning.exceeded(max(0, now.Sub(k.Since))) {
			continue
		}
		dataset := name
		if countNamed(volumes, name) > 1 {
			dataset = v
		}
		expected := slices.ContainsFunc(stands, func(d Disk) bool { return p.expects(&d) })
		absent = append(absent, absence{OwnedDisk: OwnedDisk{Dataset: dataset}, cluster: g.cluster, vmid: g.vmid, node: "the guest's configuration, kept with its snapshots,", expected: expected})
	}
	return absent
}

// standsFor returns the two forms in which the entries of snapwatch's configuration may name a
// volume: the name of its disk, and the name with the storage.
func (g *guestDisks) standsFor(volume string) []Disk {
	return []Disk{{Dataset: volumeName(volume), VMID: g.vmid}, {Dataset: volume, VMID: g.vmid}}
}

// serves returns the number of disks in g.serving that have the given name.
func (g *guestDisks) serves(name string) int {
	n := 0
	for _, d := range g.serving {
		if d.Name() == name {
			n++
		}
	}
	return n
}

// countNamed returns the number of volumes whose disk has this name.
func countNamed(volumes []string, name string) int {
	n := 0
	for _, v := range volumes {
		if volumeName(v) == name {
			n++
		}
	}
	return n
}

func volumeName(volume string) string {
	_, name, _ := strings.Cut(volume, ":")
	return name
}

func storageName(volume string) string {
	storage, _, _ := strings.Cut(volume, ":")
	return storage
}
