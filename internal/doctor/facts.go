// Package doctor judges whether snapwatch can work on a host, and says what to do if it cannot. The
// package reads nothing itself: it gets the facts about the host as [Facts].
package doctor

import "time"

// Facts has all facts about a host that doctor read at one time. If a host does not have the thing
// that a field describes, such as Proxmox, the field has its zero value.
type Facts struct {
	Now time.Time
	// Root is true if doctor runs as root, so that doctor could read all files that snap needs.
	Root bool
	// ConfigErr is the error of reading the configuration, nil if the configuration is valid. Role,
	// WantNode and Warning are the configuration's keys role, node and limits.warning. Pools has
	// the names of the pools that the configuration requires to be imported.
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
	// DamageAt is the time when root last read the list of files and datasets with permanent
	// errors, zero if root never read the list.
	DamageAt time.Time
	// LocksErr is the reason why some users cannot take the lock under which processes list a pool,
	// nil if all users can.
	LocksErr error
}

// Node has the facts about the host that were read from Proxmox.
type Node struct {
	// PVE is true on a node of Proxmox VE. Err is the reason why Proxmox's configuration cannot be
	// read.
	PVE bool
	Err error
	// Name is Proxmox's name for this node. Hostname is the kernel's name for this node.
	Name, Hostname string
	// Configured is the number of guests with a configuration on this node. Listed is the number of
	// guests that pvesh lists.
	Configured, Listed int
	PveshErr           error
	PveshTook          time.Duration
	// Storages has the dataset of each ZFS storage that is enabled on this node. Absent has the
	// datasets in Storages whose pool is not imported.
	Storages, Absent []string
	// Warnings has a text for each line in Proxmox's files that Proxmox understands differently
	// from a person.
	Warnings []string
}

// ZFS has the versions of the installed ZFS software.
type ZFS struct {
	// Userland and Kernel are versions such as 2.3.2, or "" if they are unknown.
	Userland, Kernel string
	Err              error
	// DeviceErr is the reason why /dev/zfs cannot be opened for writing, which even reading
	// commands of zfs need.
	DeviceErr error
}

// Pool is one imported pool.
type Pool struct {
	Name string
	// Err is the reason why zfs commands cannot be run on the pool.
	Err error
	// Bookmarks is the state of feature@bookmarks: active, enabled or disabled; "" if it is
	// unknown.
	Bookmarks string
	// Unwell is the alarm that check raises for the pool as a whole, "" if check raises none.
	// Critical is true if the alarm is critical.
	Unwell   string
	Critical bool
	// Full is true if the alarm is about the pool's fill level. Short is the warning of the last
	// run that the pool may lack space for the next snapshots of volumes with refreservation, "" if
	// the last run did not warn.
	Full  bool
	Short string
	// Lists is true if this ZFS does not print a disk's newest snapshot (prevsnap), so that
	// snapwatch must list the snapshots.
	Lists bool
}

// Disk is one guest's disk.
type Disk struct {
	Dataset string
	// Received is true if the disk shows signs of a receive. Labelled is true if label:running is
	// set on the disk itself, and ReceivedLabel is true if the value was received.
	Received, Labelled, ReceivedLabel bool
	// Gap is the longest time between two recent managed snapshots, 0 if the disk has fewer than
	// three.
	Gap time.Duration
	// Newest is the time when the newest managed snapshot was made, zero if there is none.
	Newest time.Time
	// Autumn has the disk's snapshots that sanoid took in the hour that occurs twice when clocks
	// are set back.
	Autumn []string
}

// Starts lists the ways in which snap is started automatically on this host.
type Starts struct {
	// Cron has each crontab line that starts snap, with its file. Idle has each crontab line for
	// snap that cron never runs, or runs at boot only, with the reason. Unclear has each crontab
	// line that may start snap but could not be parsed. CronErr is the reason why some crontab
	// lines could not be read. If a program in the lines of Cron cannot be started, Program is the
	// first such program, and ProgramErr is the reason. CronDaemon and Finalize are systemd's
	// states of cron.service and snapwatch-finalize.service.
	Cron, Idle, Unclear  []string
	CronErr              error
	Program              string
	ProgramErr           error
	CronDaemon, Finalize string
	Timer                bool
	// SystemdErr is the reason why systemd does not answer.
	SystemdErr error
}

// LastRun is the report of the last run of snap.
type LastRun struct {
	Err error
	End time.Time
	// If the last run ended longer ago than Limit, doctor reports that.
	Limit      time.Duration
	Success    bool
	FirstWords string
}

// Clock is the state of the host's clock.
type Clock struct {
	// Synchronized is "yes" if the clock is synchronized, "no" if it is not, and "" if that is
	// unknown.
	Synchronized string
	// ZoneErr is the reason why the time zone in the environment variable TZ cannot be used.
	ZoneErr error
}

// Others has the facts about programs other than snapwatch that take or destroy snapshots with
// managed names.
type Others struct {
	// Sanoid is true if the host has a configuration file of sanoid. SanoidRuns is true if a timer
	// or a crontab line starts sanoid. OldCron is the crontab line that runs pve-zfs-snap, with its
	// file.
	Sanoid, SanoidRuns bool
	OldCron            string
}
