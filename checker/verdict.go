package checker

import "slices"

// Verdict is the verdict on a disk. The verdicts on disks are ordered by precedence: a disk gets
// the first verdict that applies to the disk.
type Verdict int

// The verdicts, in precedence.
const (
	Unreadable Verdict = iota
	Missing
	Damaged
	Receiving
	Excluded
	Never
	Future
	Stopped
	Orphaned
	Stale
	Fresh
)

func (v Verdict) String() string {
	if v < 0 || int(v) >= len(table) {
		return "no verdict"
	}
	return table[v].Name
}

// limitLevel is the highest level of a verdict's limits that the age of the disk exceeds: none,
// warning or critical.
type limitLevel int

// An age exceeds no limit, the warning limit, or the critical limit.
const (
	Within limitLevel = iota
	BeyondWarning
	BeyondCritical
)

// Row is one line of the table of verdicts.
type Row struct {
	Verdict Verdict
	Name    string
	// States has, by [limitLevel], the Nagios state of the verdict.
	States [3]State
	// Colours has, by [limitLevel], the colour of the verdict on the page and in the terminal.
	Colours [3]string
	// Meaning explains the verdict on a disk to a person.
	Meaning string
}

// table is the only list of the verdicts: their precedence, their states for a monitoring system
// and their colours.
var table = [...]Row{
	{Unreadable, "unreadable", all(Unknown), colours("purple"),
		"the disk could not be read, or the last reading is too old"},
	{Missing, "missing", all(Critical), colours("red"),
		"the disk was here and has disappeared, alone or with its pool"},
	{Damaged, "damaged", all(Critical), colours("red"),
		"ZFS reports permanent errors in the disk, whatever its age; only root can read this: `snapwatch health`"},
	{Receiving, "receiving", [3]State{OK, Warning, Warning}, [3]string{"blue", "yellow", "yellow"},
		"its first receive is not finished; alarms beyond max_initial_receive"},
	{Excluded, "excluded", all(OK), colours("grey"),
		"the disk never alarms: it is a template or a clone of a copy, or ignore or maintenance names it, or it has label:nosnap and its guest is configured on this host, or its owner takes no snapshots of it"},
	{Never, "never", [3]State{OK, Warning, Critical}, [3]string{"blue", "yellow", "red"},
		"the disk has no managed snapshot; the limits count from the creation of the dataset"},
	{Future, "future", all(Warning), colours("yellow"),
		"the newest snapshot is from the future, or the clock of this host went back: ages are wrong"},
	{Stopped, "stopped", [3]State{OK, Warning, Warning}, [3]string{"grey", "yellow", "yellow"},
		"its newest snapshot ends in _stopped and no receive has been pending for longer than the warning limit; alarms beyond max_stopped_age"},
	{Orphaned, "orphaned", all(Warning), colours("yellow"),
		"the newest snapshot is older than a limit, and a node that is known to have had the disk answers that no guest uses it there any more; without such an answer the disk is stale"},
	{Stale, "stale", [3]State{Warning, Warning, Critical}, [3]string{"yellow", "yellow", "red"},
		"its newest managed snapshot is older than a limit"},
	{Fresh, "fresh", all(OK), colours("green"),
		"its newest managed snapshot is within the limits"},
}

// Verdicts returns the table of verdicts, ordered by precedence.
func Verdicts() []Row { return slices.Clone(table[:]) }

// Colour returns the colour of the disk: the verdict's colour, or the state's colour if the
// comparison with the owner has a worse state.
func (d Result) Colour() string {
	if d.byComparison() {
		return d.State.Colour()
	}
	return table[d.Verdict].Colours[d.Level]
}

func all(s State) [3]State { return [3]State{s, s, s} }

func colours(c string) [3]string { return [3]string{c, c, c} }
