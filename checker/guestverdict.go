package checker

import "slices"

// GuestVerdict is the verdict on a guest as a whole: whether the guest can be started here, and
// as of which time. The verdicts on guests are ordered by precedence: the first verdict that
// applies to the guest counts.
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
	// Meaning explains the verdict on a guest to a person.
	Meaning string
}

var guestTable = [...]GuestRow{
	{GuestUnreadable, "unreadable", all(Unknown), colours("purple"),
		"one of the guest's disks could not be read, or it is unknown which disks belong to the guest, or which snapshots the guest's disks have in common"},
	{GuestIncomplete, "incomplete", [3]State{Warning, Warning, Critical}, [3]string{"yellow", "yellow", "red"},
		"one of the guest's disks has disappeared (critical); or a disk is absent: the owner takes snapshots of it, or, without a complete answer of the owner, the kept configuration names it (a warning; critical if `expect:` names the disk)"},
	{GuestDamaged, "damaged", all(Critical), colours("red"),
		"ZFS reports permanent errors in one of the guest's disks"},
	{GuestTorn, "torn", [3]State{Warning, Warning, Critical}, [3]string{"yellow", "yellow", "red"},
		"no disk is stale by itself, but for longer than a limit the guest's disks have had no newer snapshot in common, or they have none in common"},
	{GuestStale, "stale", [3]State{Warning, Warning, Critical}, [3]string{"yellow", "yellow", "red"},
		"the restore point is older than a limit because one of the guest's disks is, or the age of a disk is wrong"},
	{GuestReceiving, "receiving", [3]State{OK, Warning, Critical}, [3]string{"blue", "yellow", "red"},
		"a disk has no snapshot yet, or none in common with the other disks; the guest alarms when that disk alarms"},
	{GuestStopped, "stopped", [3]State{OK, Warning, Warning}, [3]string{"grey", "yellow", "yellow"},
		"all disks of the guest have the same newest snapshot, a `_stopped` one; alarms beyond max_stopped_age"},
	{GuestExcluded, "excluded", all(OK), colours("grey"),
		"all disks of the guest are excluded"},
	{GuestWhole, "whole", all(OK), colours("green"),
		"all disks of the guest are here, and the restore point is within the limits"},
}

// GuestVerdicts returns the table of verdicts on guests, ordered by precedence.
func GuestVerdicts() []GuestRow { return slices.Clone(guestTable[:]) }
