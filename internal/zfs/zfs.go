// Package zfs reads pools, datasets, snapshots and bookmarks with zfs(8), and
// knows the names they have. It never writes to a pool, needs no root, and asks
// only for what costs the same whatever the number of snapshots, unless a caller
// names the datasets whose snapshots it wants.
package zfs

import (
	"context"
	"os"
	"time"

	"snapwatch/internal/command"
)

// Properties of the field's tools that this project reads and keeps.
const (
	// LabelRunning holds the name of the node a guest runs on, or LabelStopped.
	LabelRunning = "label:running"
	// LabelNoSnap excludes a disk from snapshots.
	LabelNoSnap = "label:nosnap"
	// GuestConfig is kept on a snapshot: the configuration of the disk's guest.
	GuestConfig = "snapwatch:config"
	// Consistent is set on the snapshots of a guest that was proven to be frozen until all of
	// them were made; then it is "application". Others do not have it.
	Consistent = "snapwatch:consistent"
	// LabelStopped is the value of LabelRunning for a guest that was seen to stop.
	LabelStopped = "stopped"
)

// Source says where a property's value comes from, as zfs-get(8) has it.
type Source int

// The sources; SourceNone is a property without a value.
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
	// Received is the value that came with a stream, "" if none did. A local value
	// masks it, and so does zfs inherit: then it is known only where
	// [Reader.Received] has read it.
	Received string
	Source   Source
}

// Own is the value set on the dataset itself or received with it, "" where there
// is none: an inherited value says nothing about this dataset.
func (p Property) Own() string {
	if p.Source == SourceLocal || p.Source == SourceReceived {
		return p.Value
	}
	return ""
}

// Excludes reports whether the value of label:nosnap excludes a dataset from snapshots.
// An inherited value counts.
func (p Property) Excludes() bool {
	switch p.Value {
	case "nosnap", "on", "true", "yes", "1":
		return true
	}
	return false
}

// Dataset is the live part of a filesystem or volume: what zfs knows of it without
// looking at its snapshots.
type Dataset struct {
	Name string
	GUID uint64
	// Creation is when the dataset was made here, also for a received one.
	Creation time.Time
	Origin   string
	// NewestSnapshot is the part after the @ of the snapshot with the highest txg,
	// of whatever kind, "" if there is none.
	NewestSnapshot string
	// NewestUnknown is true where this ZFS does not tell the newest snapshot: then
	// NewestSnapshot is "", and only a list of all of them tells.
	NewestUnknown bool
	// SnapshotsChanged is when the list of snapshots last changed here, in seconds
	// of this host's clock; 0 if this ZFS does not tell (before 2.2) or it never did.
	SnapshotsChanged int64
	// Inconsistent is true while the first receive is not finished.
	Inconsistent bool
	// ResumeToken is true when an interrupted receive waits to go on.
	ResumeToken bool
	// Token is its text, which is another one as soon as more has arrived.
	Token string
	// Written is how many bytes were written since the newest snapshot.
	Written uint64
	Running Property
	NoSnap  Property
	// Unlabelled is why its labels could not be read, "" if they were.
	Unlabelled string
	// Problem is why something else of it could not be read, "" if all was.
	Problem string
}

// Snapshot is a snapshot or a bookmark of one: a bookmark has the same name, guid
// and times, and stays when the snapshot is destroyed.
type Snapshot struct {
	Dataset string
	// Name is the part after the @ or #.
	Name string
	// GUID is the same on every host the snapshot was sent to.
	GUID uint64
	// CreateTXG orders the snapshots of one pool; another pool counts differently.
	CreateTXG uint64
	// Creation is when it was made, by the clock of the host that made it.
	Creation time.Time
}

// Class is the snapshot's class, false if its name is not managed.
func (s Snapshot) Class() (Class, bool) { return ParseSnapshotName(s.Name) }

// FullName is the snapshot's name with its dataset.
func (s Snapshot) FullName() string { return s.Dataset + "@" + s.Name }

// Reader reads one pool. Its zero value reads with the zfs found in PATH.
type Reader struct {
	// Inherit are files that every zfs started keeps open, such as a lock that must
	// live as long as a hung zfs does.
	Inherit []*os.File
	// Trace is told the argv of every zfs before it is started; nil tells nobody.
	Trace func(argv []string)
	// Run runs zfs, [command.Lines] if it is nil.
	Run Run
}

// Run runs a command and calls each with every line of its output.
type Run func(ctx context.Context, c command.Cmd, each func(line string) error) error

// lines runs one zfs and calls each with every line it prints.
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
