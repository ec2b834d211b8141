package snapper

import (
	"slices"
	"strings"

	"snapwatch/internal/zfs"
)

// Label is what a disk's label:running says, seen from this node.
type Label int

// The labels. An inherited value is none: it was set on another dataset.
const (
	NoLabel Label = iota
	StoppedLabel
	OwnLabel
	PeerLabel
	ForeignLabel
)

var labelNames = [...]string{NoLabel: "-", StoppedLabel: "stopped", OwnLabel: "me", PeerLabel: "peer", ForeignLabel: "foreign"}

func (l Label) String() string { return labelNames[l] }

// Names are the nodes a label may name.
type Names struct {
	// Node is this node's name, which it writes into labels.
	Node string
	// Hostname is this machine's own, perhaps with a domain: pve-zfs-snap wrote it.
	Hostname string
	// Peers are the other nodes of the cluster.
	Peers []string
}

// Classify tells whose label a property is.
func (n Names) Classify(p zfs.Property) Label {
	value := p.Own()
	short, _, _ := strings.Cut(value, ".")
	switch {
	case value == "":
		return NoLabel
	case value == zfs.LabelStopped:
		return StoppedLabel
	case value == n.Node, value == n.Hostname && short == n.Node:
		switch { // what was received is never this node's own word
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

// Action is what a disk's state and label call for.
type Action int

// The actions.
const (
	// Leave: nothing to do.
	Leave Action = iota
	// Warn: nothing is done, and that is told.
	Warn
	// Periodic: snapshot when a class is due.
	Periodic
	// Start: the guest was started: set the label, and snapshot at once.
	Start
	// Final: the guest stopped: one _stopped snapshot, and the label says so.
	Final
	// Recheck: Final again if the disk was written since its _stopped snapshot.
	Recheck
	// Adopt: Final for a disk never labelled, where its history allows it.
	Adopt
	// AdoptPeer: Final over a cluster peer's label, if the configuration allows it.
	AdoptPeer
	// InheritReceived: give the local label up for the received one, if there is one.
	InheritReceived
)

var actionNames = [...]string{
	Leave: "leave", Warn: "warn", Periodic: "periodic", Start: "start", Final: "final",
	Recheck: "recheck", Adopt: "adopt", AdoptPeer: "adopt peer", InheritReceived: "give back",
}

func (a Action) String() string { return actionNames[a] }

// actions is the whole table: what to do to a disk in each state with each label,
// in the order none, stopped, me, peer, foreign. It differs from the one in the
// seed by the states that are not simply running or stopped, where pve-zfs-snap
// took everything else for stopped.
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

// Decide returns what a disk's state and label call for.
func Decide(s GuestState, l Label) Action { return actions[s][l] }
