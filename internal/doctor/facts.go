// Package doctor judges a host: whether snapwatch can do its work there, and what to do
// where it can't. What was read of the host comes in as [Facts]; nothing is read here.
package doctor

import "time"

// Facts is what was read of a host at one time. The zero value of a part means that
// there was nothing to read.
type Facts struct {
	Now time.Time
	// Root is true where all could be looked at that snap needs.
	Root bool
	// ConfigErr is what is wrong with the configuration. Role, WantNode and Warning are
	// its keys role, node and limits.warning, Pools those that must be imported.
	ConfigErr error
	Role      string
	WantNode  string
	Warning   time.Duration
	Pools     []string

	Node    Node
	ZFS     ZFS
	Found   []Pool
	Disks   []Disk
	Starts  Starts
	LastRun LastRun
	Clock   Clock
	Others  Others
	// DamageAt is when root last looked where pools have permanent errors, zero if it never did.
	DamageAt time.Time
	// LocksErr is why not every user can lock a listing.
	LocksErr error
}

// Node is what Proxmox knows of the host.
type Node struct {
	// PVE is true on a node of Proxmox VE; Err is why its configuration can't be read.
	PVE bool
	Err error
	// Name is Proxmox's name for this node, Hostname the kernel's.
	Name, Hostname string
	// Configured and Listed count the guests by their files and by pvesh.
	Configured, Listed int
	PveshErr           error
	PveshTook          time.Duration
	// Storages are the datasets of the ZFS storages that are enabled here, Absent those
	// that no pool has.
	Storages, Absent []string
	// Warnings are what in Proxmox's files is not as it seems.
	Warnings []string
}

// ZFS is the software.
type ZFS struct {
	// Userland and Kernel are versions such as 2.3.2, "" where not known.
	Userland, Kernel string
	Err              error
	// DeviceErr is why /dev/zfs can't be opened to write, as even reading needs.
	DeviceErr error
}

// Pool is one imported pool.
type Pool struct {
	Name string
	// Err is why it can't be asked.
	Err error
	// Bookmarks is the state of feature@bookmarks: active, enabled or disabled; "" where
	// not known.
	Bookmarks string
	// Unwell is what check says of the pool as a whole where that alarms, "" where all is well;
	// Critical is how much.
	Unwell   string
	Critical bool
	// Lists is true where this ZFS does not tell the newest snapshot of a disk (prevsnap), so
	// that its snapshots are listed.
	Lists bool
}

// Disk is one guest's disk.
type Disk struct {
	Dataset string
	// Received is true where a receive left its marks; Labelled where label:running has a
	// value of its own, ReceivedLabel where that came with the data.
	Received, Labelled, ReceivedLabel bool
	// Gap is the longest time between two managed snapshots of late, 0 for too few.
	Gap time.Duration
	// Newest is the creation of the newest managed snapshot, zero without one.
	Newest time.Time
	// Autumn are sanoid's snapshots of the hour that comes twice when clocks go back.
	Autumn []string
}

// Starts is how snap runs here by itself.
type Starts struct {
	// Cron are the lines of cron that start snap, each with its file, Idle those that cron
	// never runs, or at boot only, each with the reason, Unclear those that may start it,
	// and CronErr is why not all could be read. Program is what the first starts that can't be
	// started, by ProgramErr. CronDaemon and Finalize are systemd's words for those units.
	Cron, Idle, Unclear  []string
	CronErr              error
	Program              string
	ProgramErr           error
	CronDaemon, Finalize string
	Timer                bool
	// SystemdErr is why systemd can't be asked.
	SystemdErr error
}

// LastRun is the report of the last run of snap.
type LastRun struct {
	Err        error
	End        time.Time
	Success    bool
	FirstWords string
}

// Clock is the host's.
type Clock struct {
	// Synchronized is systemd's word: yes, no, "" where not known.
	Synchronized string
	// ZoneErr is why the time zone of the environment can't be used.
	ZoneErr error
}

// Others are programs that take or destroy snapshots of the same names.
type Others struct {
	// Sanoid is true where sanoid has a configuration, SanoidRuns where something starts
	// it. OldCron is the line of cron that runs pve-zfs-snap, with its file.
	Sanoid, SanoidRuns bool
	OldCron            string
}
