// Package zfs reads pools, datasets, snapshots and bookmarks with zfs(8), and parses and checks
// their names. The package only reads pools, and works for any user, except where a function says
// otherwise. Only functions that list the snapshots of given datasets take longer if there are more
// snapshots.
package zfs

import (
	"context"
	"os"
	"time"

	"snapwatch/internal/command"
)

// The names of the user properties that snapwatch sets and reads. pve-zfs-snap, which snapwatch
// succeeds, also uses label:running and label:nosnap.
const (
	// LabelRunning is the property of a disk that holds the name of the node on which the guest
	// runs, or LabelStopped.
	LabelRunning = "label:running"
	// LabelNoSnap is the property that excludes a disk from snapshots.
	LabelNoSnap = "label:nosnap"
	// GuestConfig is set on a snapshot and holds the configuration of the disk's guest.
	GuestConfig = "snapwatch:config"
	// Consistent is set to "application" on the snapshots of a guest if the guest was provably
	// frozen until all of its snapshots were made. Only snapshots of guests that were frozen have
	// the property Consistent.
	Consistent = "snapwatch:consistent"
	// LabelStopped is the value of LabelRunning on the disks of a guest that was seen to stop.
	LabelStopped = "stopped"
)

// Source is the source of a property's value, such as local or received, as zfs-get(8) prints it.
type Source int

// The possible sources of a property's value. SourceNone means that the property has no value.
const (
	SourceNone Source = iota
	SourceLocal
	SourceReceived
	SourceInherited
	SourceDefault
)

func (s Source) String() string {
	switch s {
	case SourceLocal:
		return "local"
	case SourceReceived:
		return "received"
	case SourceInherited:
		return "inherited"
	case SourceDefault:
		return "default"
	}
	return ""
}

// Property is a user property of a dataset.
type Property struct {
	Value string
	// Received is the value that was received with a stream, "" if none was received. If a local
	// value or zfs inherit hides the received value, Received is "" until [Reader.Received] was
	// called.
	Received string
	Source   Source
}

// Own returns the value that was set on the dataset itself or received with the dataset, "" if
// there is no such value. Own ignores inherited values, which were set on another dataset.
func (p Property) Own() string {
	if p.Source == SourceLocal || p.Source == SourceReceived {
		return p.Value
	}
	return ""
}

// Excludes reports whether the value of label:nosnap, own or inherited, excludes a dataset from
// snapshots.
func (p Property) Excludes() bool {
	switch p.Value {
	case "nosnap", "on", "true", "yes", "1":
		return true
	}
	return false
}

// Dataset is a filesystem or volume without its snapshots. Dataset has the properties that zfs can
// print without reading the list of snapshots.
type Dataset struct {
	Name string
	GUID uint64
	// Creation is the time when the dataset was created on this host, even for a received dataset.
	Creation time.Time
	Origin   string
	// NewestSnapshot is the name, after the @, of the snapshot with the highest txg, managed or
	// not; "" if there is no snapshot.
	NewestSnapshot string
	// NewestUnknown is true if this ZFS does not print the newest snapshot. If NewestUnknown is
	// true, NewestSnapshot is "", and the newest snapshot can be found only in a list of all
	// snapshots.
	NewestUnknown bool
	// SnapshotsChanged is the time of the last change of the dataset's list of snapshots, in Unix
	// seconds by this host's clock. SnapshotsChanged is 0 if the list never changed or if this ZFS
	// does not print the time (before 2.2).
	SnapshotsChanged int64
	// Inconsistent is true while the dataset's first receive is unfinished.
	Inconsistent bool
	// ResumeToken is true if an interrupted receive can be resumed.
	ResumeToken bool
	// Token is the value of receive_resume_token, "" if no receive can be resumed. Token changes
	// whenever more of the stream arrives.
	Token string
	// Written is the number of bytes written since the newest snapshot.
	Written uint64
	// Available is the number of bytes that can still be written to the dataset. RefReservation is
	// the number of bytes that ZFS reserves for the dataset alone, and UsedByRefReservation is the
	// part of this reservation that is still free. Only [Reader.Children] sets Available,
	// RefReservation and UsedByRefReservation.
	Available, RefReservation, UsedByRefReservation uint64
	// Running and NoSnap are the dataset's labels label:running and label:nosnap.
	Running Property
	NoSnap  Property
	// Unlabelled is the reason why the dataset's labels could not be read, "" if the labels were
	// read.
	Unlabelled string
	// Problem is the reason why a property other than the labels could not be read, "" if all
	// properties were read.
	Problem string
}

// Snapshot is a snapshot, or a bookmark of a snapshot. A bookmark has the snapshot's name, guid and
// times, and is kept when the snapshot is destroyed.
type Snapshot struct {
	Dataset string
	// Name is the part of the snapshot's or bookmark's name after the @ or #.
	Name string
	// GUID is the ZFS property guid. All copies of a snapshot, on all hosts, have the same guid.
	GUID uint64
	// CreateTXG is the transaction group in which the snapshot was created. CreateTXG gives the
	// order of two snapshots in one pool, but not in two pools.
	CreateTXG uint64
	// Creation is the time when the snapshot was made, by the clock of the host that made it.
	Creation time.Time
}

// Class returns the snapshot's class, or false if the snapshot is not managed.
func (s Snapshot) Class() (Class, bool) { return ParseSnapshotName(s.Name) }

// FullName returns the snapshot's name with its dataset: dataset@name.
func (s Snapshot) FullName() string { return s.Dataset + "@" + s.Name }

// Reader reads pools with zfs and zpool. The zero Reader runs the programs found in PATH.
type Reader struct {
	// Inherit has open files that every zfs process inherits. A lock file in Inherit remains locked
	// as long as a hung zfs process lives.
	Inherit []*os.File
	// Before zfs is started, the Reader passes the command line to the function Trace. Trace may be
	// nil.
	Trace func(argv []string)
	// Run is the function that runs zfs and zpool. If Run is nil, [command.Lines] runs zfs and
	// zpool.
	Run Run
}

// Run runs a command, and calls the function `each` for every line of the command's output.
type Run func(ctx context.Context, c command.Cmd, each func(line string) error) error

// lines runs one zfs or zpool command, and calls the function `each` for every line of the
// command's output.
func (r Reader) lines(ctx context.Context, argv []string, each func(string) error) error {
	if r.Trace != nil {
		r.Trace(argv)
	}
	run := r.Run
	if run == nil {
		run = command.Lines
	}
	return run(ctx, command.Cmd{Argv: argv, Inherit: r.Inherit}, each)
}
