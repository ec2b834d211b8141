package snapper

import (
	"slices"
	"strings"

	"snapwatch/internal/zfs"
)

// Label is the kind of value that a disk's label:running has: none, stopped, the name of this node,
// or another name.
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

// Names are the names of nodes that a label may contain.
type Names struct {
	// Node is the name of this node, which snap writes into labels.
	Node string
	// Hostname is this machine's hostname, perhaps with a domain; pve-zfs-snap wrote the hostname
	// into labels.
	Hostname string
	// Peers are the names of the other nodes of the cluster.
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

// The actions that the table of states and labels contains.
const (
	// Leave: snap does nothing to the disk.
	Leave Action = iota
	// Warn: snap does nothing to the disk, and warns a person about it.
	Warn
	// Periodic: take a snapshot of the running guest's disk when a class is due.
	Periodic
	// Start: the guest was started, so set the label and take a snapshot in this run.
	Start
	// Final: the guest stopped, so take one _stopped snapshot and set the label to "stopped".
	Final
	// Recheck: take another _stopped snapshot if the disk was written to since its last _stopped
	// snapshot.
	Recheck
	// Adopt: do the same as Final for a stopped guest's disk that never had a label, if nothing
	// shows that the disk was received.
	Adopt
	// AdoptPeer: do the same as Final for a disk with another node's label, if adopt_peer_labels is
	// on.
	AdoptPeer
	// InheritReceived: replace the local label by the label that was received, if there is one.
	InheritReceived
)

var actionNames = [...]string{
	Leave: "leave", Warn: "warn", Periodic: "periodic", Start: "start", Final: "final",
	Recheck: "recheck", Adopt: "adopt", AdoptPeer: "adopt peer", InheritReceived: "give back",
}

func (a Action) String() string { return actionNames[a] }

// actions is the table of the action for a disk in each state with each label. The columns are the
// labels none, stopped, me, peer and foreign. pve-zfs-snap, which snapwatch succeeds, treated every
// state except "running" as stopped; this table does not.
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
