package checker

import "slices"

// GuestVerdict is the verdict on a guest as a whole: whether the guest can be started here, and as
// of which time. The verdicts are ordered by precedence: the first verdict that applies counts.
type GuestVerdict int

// The verdicts on a guest, in precedence.
const (
	GuestUnreadable GuestVerdict = iota
	GuestIncomplete
	GuestDamaged
	GuestTorn
	GuestStale
	GuestReceiving
	GuestStopped
	GuestExcluded
	GuestWhole
)

func (v GuestVerdict) String() string { return guestTable[v].Name }

// GuestRow is one line of the table of verdicts on guests.
type GuestRow struct {
	Verdict GuestVerdict
	Name    string
	// States and Colours have the same meaning as in [Row].
	States  [3]State
	Colours [3]string
	// Meaning explains the verdict to a person.
	Meaning string
}

var guestTable = [...]GuestRow{
	{GuestUnreadable, "unreadable", all(Unknown), colours("purple"),
		"one of its disks could not be read, or it could not be found out which snapshots they have in common"},
	{GuestIncomplete, "incomplete", [3]State{Warning, Warning, Critical}, [3]string{"yellow", "yellow", "red"},
		"one of its disks is gone, which is critical; or its owner takes snapshots of a disk that is not here, or, where no owner answers, its kept configuration names one, which is a warning and critical where `expect:` names it"},
	{GuestDamaged, "damaged", all(Critical), colours("red"),
		"ZFS reports permanent errors in one of its disks"},
	{GuestTorn, "torn", [3]State{Warning, Warning, Critical}, [3]string{"yellow", "yellow", "red"},
		"no disk is stale by itself, but they have had no newer snapshot in common for longer than a limit, or have none at all"},
	{GuestStale, "stale", [3]State{Warning, Warning, Critical}, [3]string{"yellow", "yellow", "red"},
		"its restore point is older than a limit because one of its disks is, or the age of a disk cannot be believed"},
	{GuestReceiving, "receiving", [3]State{OK, Warning, Critical}, [3]string{"blue", "yellow", "red"},
		"a disk has no snapshot yet, or none in common with the others; alarms as that disk does"},
	{GuestStopped, "stopped", [3]State{OK, Warning, Warning}, [3]string{"grey", "yellow", "yellow"},
		"the newest snapshot of all its disks is the same `_stopped`; alarms beyond max_stopped_age"},
	{GuestExcluded, "excluded", all(OK), colours("grey"),
		"all its disks are excluded"},
	{GuestWhole, "whole", all(OK), colours("green"),
		"all its disks are here, and its restore point is within the limits"},
}

// GuestVerdicts returns the table of verdicts on guests, ordered by precedence.
func GuestVerdicts() []GuestRow { return slices.Clone(guestTable[:]) }
