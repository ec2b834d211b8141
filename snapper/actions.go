package snapper

import (
	"slices"
	"strings"

	"snapwatch/internal/zfs"
)

// Label is the kind of value that a disk's label:running has: none, stopped, this node's name, the
// name of a second node of the cluster, or a foreign name.
type Label int

// The kinds of values of label:running. An inherited value of label:running counts as NoLabel,
// because it was set on another dataset.
const (
	NoLabel Label = iota
	StoppedLabel
	OwnLabel
	PeerLabel
	ForeignLabel
)

var labelNames = [...]string{NoLabel: "-", StoppedLabel: "stopped", OwnLabel: "me", PeerLabel: "peer", ForeignLabel: "foreign"}

func (l Label) String() string { return labelNames[l] }

// Names has the names by which a label may name a node.
type Names struct {
	// Node is the name of this node, which snap writes into labels.
	Node string
	// Hostname is this machine's hostname, with or without a domain. pve-zfs-snap, which snapwatch
	// succeeds, wrote the hostname into labels.
	Hostname string
	// Peers has the names of the cluster's nodes, except this node.
	Peers []string
}

// Classify returns the kind of the label for a value of label:running: none, stopped, this node, a
// peer or foreign.
func (n Names) Classify(p zfs.Property) Label {
	value := p.Own()
	short, _, _ := strings.Cut(value, ".")
	switch {
	case value == "":
		return NoLabel
	case value == zfs.LabelStopped:
		return StoppedLabel
	case value == n.Node, value == n.Hostname && short == n.Node:
		// A received label was not written by this node, even if the label has this node's name.
		switch {
		case p.Source != zfs.SourceReceived:
			return OwnLabel
		case len(n.Peers) > 0:
			return PeerLabel
		}
		return ForeignLabel
	case slices.Contains(n.Peers, value):
		return PeerLabel
	}
	return ForeignLabel
}

// Action is the step that snap must take for a disk because of the guest's state and the disk's
// label.
type Action int

// The constants below are the actions. The table `actions` has one action for each state and label.
const (
	// Leave: snap does nothing to the disk.
	Leave Action = iota
	// Warn: snap does nothing to the disk, and warns a person about it.
	Warn
	// Periodic: take a snapshot of the running guest's disk when a class is due.
	Periodic
	// Start: the guest was started since the last run, so set the label and take a snapshot in this
	// run.
	Start
	// Final: the guest stopped, so take one _stopped snapshot and set the label to "stopped".
	Final
	// Recheck: if the disk was written to since its last _stopped snapshot, take a further _stopped
	// snapshot.
	Recheck
	// Adopt: the disk of a stopped guest never had a label. If no sign shows that the disk was
	// received, take a _stopped snapshot and set the label, as for Final.
	Adopt
	// AdoptPeer: the disk of a stopped guest has the label of a second node of the cluster. If
	// adopt_peer_labels is on, take a _stopped snapshot and set the label, as for Final.
	AdoptPeer
	// InheritReceived: replace the local label by the label that was received, if there is one.
	InheritReceived
)

var actionNames = [...]string{
	Leave: "leave", Warn: "warn", Periodic: "periodic", Start: "start", Final: "final",
	Recheck: "recheck", Adopt: "adopt", AdoptPeer: "adopt peer", InheritReceived: "give back",
}

func (a Action) String() string { return actionNames[a] }

// actions is a table: each row is a state of a disk, each column is a label, and the cell is the
// action. The columns are the labels none, stopped, me, peer and foreign. pve-zfs-snap, which
// snapwatch succeeds, treated every state except "running" as stopped. In the table `actions`, only
// the state Stopped counts as stopped.
var actions = [...][5]Action{
	//             -      stopped   me        peer       foreign
	Unknown:      {Warn, Warn, Warn, Warn, Warn},
	UnknownAlive: {Warn, Warn, Periodic, Warn, Warn},
	Running:      {Start, Start, Periodic, Start, Start},
	Backup:       {Leave, Leave, Leave, Leave, Leave},
	LockedAlive:  {Leave, Leave, Periodic, Leave, Leave},
	Busy:         {Leave, Leave, Leave, Leave, Leave},
	Stopped:      {Adopt, Recheck, Final, AdoptPeer, Leave},
	Template:     {Leave, Leave, Final, Leave, Leave},
	Elsewhere:    {Leave, InheritReceived, InheritReceived, InheritReceived, Leave},
	Orphan:       {Warn, Warn, Warn, Warn, Warn},
	Disputed:     {Warn, Warn, Warn, Warn, Warn},
	Replica:      {Leave, Leave, Leave, Leave, Leave},
}

// Decide returns the action for a disk with this state and label.
func Decide(s GuestState, l Label) Action { return actions[s][l] }
