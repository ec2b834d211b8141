// Package drill decides how snapwatch proves that the copies of a guest can be used: which guest
// comes next, which clones are made of its restore point, whether a drill may begin now, which
// clones of earlier drills are left, and what the look at the clones found. Package drill is pure:
// callers pass the facts, and the time.
//
// Package drill/run carries out the plans.
//
// # Names
//
// The clones of guest 100 are POOL/snapwatch-drill/g100/d-0, d-1 and so on. No such name is the name
// of a guest's disk, and check and the exporter never see a disk below POOL/snapwatch-drill. A clone
// has a mark, a property with the guest and the time of the drill. A dataset without a mark is never
// destroyed.
package drill

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// MaxDrill is the longest time from the first clone of a drill to the end of its look, unless the
// configuration sets another.
const MaxDrill = time.Hour

// Guest is a guest whose copies are on this host, with the disks of its restore point.
type Guest struct {
	Cluster string
	VMID    int
	// Name is the guest's name for people, with its VMID.
	Name string
	// Point is the time of the restore point, as written in the names of its snapshots.
	Point string
	Disks []Disk
	// Others are the guest's datasets on this host that are not part of the restore point, such as
	// second copies and excluded disks.
	Others []string
	// Arrived is the time at which the first of the guest's datasets was made here, zero if the time is
	// not known of each. Drills from before that time were not of these copies.
	Arrived time.Time
}

// Disk is a copy of a guest's disk.
type Disk struct {
	Dataset string
	// Filesystem is true for the dataset of a container, and false for a volume.
	Filesystem bool
	// At is the disk's snapshot of the restore point.
	At zfs.Snapshot
	// EncryptionRoot is the dataset whose key is needed to read the disk and is not loaded, "" if no
	// key is missing.
	EncryptionRoot string
	// IsOwners is true if the owner answered that At still is its newest snapshot.
	IsOwners bool
}

// Clone is a clone of a snapshot for the time of a drill.
type Clone struct {
	Snapshot   string `json:"snapshot"`
	Dataset    string `json:"dataset"`
	Filesystem bool   `json:"filesystem,omitempty"`
	// Device is the path of a volume's device, "" for a filesystem.
	Device string `json:"device,omitempty"`
}

// Plan is the plan of one drill.
type Plan struct {
	Guest Guest `json:"-"`
	// Parents are the datasets above the clones, in the order in which they are made. They stay when
	// the clones are destroyed.
	Parents []string `json:"parents"`
	Clones  []Clone  `json:"clones"`
	// Before is the last good drill of the guest, nil if there is none.
	Before *checker.Drill `json:"-"`
	// Part is the part of all blocks that is read, nil for none.
	Part *checker.Part `json:"part,omitempty"`
	// Boot is how the guest is started after the look, nil if it is not.
	Boot *Boot `json:"boot,omitempty"`
	// Locked are the datasets whose keys are needed and not loaded. With any, nothing is cloned.
	Locked []string `json:"locked,omitempty"`
	// Refusals are the reasons why the drill must not begin now.
	Refusals []string `json:"refusals,omitempty"`
	// MaxDrill is the longest time of this drill.
	MaxDrill time.Duration `json:"-"`

	begun time.Time
}

// NewPlan returns the plan of a drill of the guest that begins at the time now, without
// refusals.
func NewPlan(g Guest, now time.Time) Plan {
	p := Plan{Guest: g, MaxDrill: MaxDrill, begun: now}
	for i, d := range g.Disks {
		root := path.Join(zfs.Pool(d.Dataset), zfs.DrillRoot)
		parent := path.Join(root, "g"+strconv.Itoa(g.VMID))
		for _, dataset := range []string{root, parent} {
			if !slices.Contains(p.Parents, dataset) {
				p.Parents = append(p.Parents, dataset)
			}
		}
		c := Clone{Snapshot: d.Dataset + "@" + d.At.Name, Dataset: path.Join(parent, fmt.Sprintf("d-%d", i)), Filesystem: d.Filesystem}
		if !d.Filesystem {
			c.Device = "/dev/zvol/" + strings.ReplaceAll(c.Dataset, " ", "+") // as udev's rule of ZFS names it
		}
		p.Clones = append(p.Clones, c)
		if d.EncryptionRoot != "" && !slices.Contains(p.Locked, d.EncryptionRoot) {
			p.Locked = append(p.Locked, d.EncryptionRoot)
		}
	}
	return p
}

// Pools returns the pools in which the plan makes clones.
func (p Plan) Pools() []string {
	var pools []string
	for _, c := range p.Clones {
		if pool := zfs.Pool(c.Dataset); !slices.Contains(pools, pool) {
			pools = append(pools, pool)
		}
	}
	return pools
}

// noSnapshots is the property by which zfs-auto-snapshot leaves a dataset out. A clone with a snapshot
// cannot be destroyed.
const noSnapshots = "com.sun:auto-snapshot=false"

// Create returns the command that makes a dataset above the clones.
func Create(parent string) []string {
	return []string{"zfs", "create", "-o", "canmount=off", "-o", "mountpoint=none", "-o", noSnapshots, parent}
}

// Clone returns the command that makes a clone. A clone inherits the properties of the pool, so each
// property that matters is set. A volume can be written, because a file system replays its
// journal when it is mounted; its partitions get no devices on this host. The clone of a container's dataset is only mounted for
// reading.
func (p Plan) Clone(c Clone) []string {
	properties := []string{"volmode=dev", "readonly=off"}
	if c.Filesystem { // zfs mount -a mounts no dataset with the mount point legacy
		properties = []string{"canmount=noauto", "mountpoint=legacy", "readonly=on"}
	}
	argv := []string{"zfs", "clone"}
	for _, property := range append(properties, noSnapshots, zfs.DrillMark+"="+mark(p.Guest.VMID, p.begun)) {
		argv = append(argv, "-o", property)
	}
	return append(argv, c.Snapshot, c.Dataset)
}

// Destroy returns the command that destroys a clone or a snapshot. The command never destroys snapshots
// of the clone, or datasets below it.
func Destroy(name string) []string { return []string{"zfs", "destroy", name} }

// mark returns the value of the property that marks the clones of a drill.
func mark(vmid int, begun time.Time) string {
	return fmt.Sprintf("g%d %s", vmid, begun.UTC().Format(time.RFC3339))
}
