package snapper

import (
	"cmp"
	"fmt"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// diskTask is a disk that must get a snapshot, a label or both.
type diskTask struct {
	disk   *Disk
	action Action
	label  string
	reason string
	// The field `snapshot` is true if the disk must get a snapshot. A disk that is excluded from
	// snapshots gets only its label.
	snapshot bool
}

// task decides whether one disk must get a snapshot or a label. If the disk must get neither a
// snapshot nor a label, task makes a note with the reason and returns false. If the plan must first
// ask a question about the disk, task returns false, too.
func (p *planner) task(d *Disk) (diskTask, bool) {
	if (d.Supposed == Stopped || d.Supposed == Template) && d.Ignored == "" {
		return p.taskIfStopped(d)
	}
	masked := d.Ignored == "" && maskedLabel(d, p.policy.Names)
	switch {
	case masked && d.ReceivedProblem != "":
		d.State, d.Why = Unknown, "its received label could not be read: "+d.ReceivedProblem
	case masked && d.ReceivedUnread:
		p.plan.Ask.Received = append(p.plan.Ask.Received, d.Name)
		p.note(d, report.Warning, Untouched, "its received label was not read")
		return diskTask{}, false
	}
	return p.decide(d)
}

// taskIfStopped decides what to do with a disk whose guest seemed stopped when the run first
// looked. If the disk would get its last snapshot, taskIfStopped asks for a second look at the
// guest. If the disk would get no last snapshot, taskIfStopped makes a note about the disk with the
// reason.
func (p *planner) taskIfStopped(d *Disk) (diskTask, bool) {
	supposed := *d
	supposed.State, supposed.Why, supposed.Supposed = d.Supposed, d.SupposedWhy, Unknown
	t, ok := p.task(&supposed)
	if !ok || t.action != Final {
		return t, ok
	}
	if !d.LooksDone {
		p.askLook(d)
	}
	p.note(d, report.Info, Untouched, d.Why)
	return diskTask{}, false
}

// decide chooses a disk's action from the table of actions, and then checks the conditions of
// actions such as Final and Adopt.
func (p *planner) decide(d *Disk) (diskTask, bool) {
	leave := func(severity report.Severity, result Result, format string, args ...any) (diskTask, bool) {
		reason := fmt.Sprintf(format, args...)
		if why := relayed(d); why != "" && result == Untouched {
			p.bookmark(d)
			reason += "; " + why
		}
		p.note(d, severity, result, reason)
		return diskTask{}, false
	}
	if d.Ignored != "" {
		return leave(report.Info, Excluded, "%s", d.Ignored)
	}
	label := p.label(d)
	t := diskTask{disk: d, snapshot: !d.NoSnap.Excludes(), reason: d.State.String()}
	if d.InUse {
		return leave(report.Warning, Unprotected, "%s", d.Why)
	}
	switch action := Decide(d.State, label); action {
	case Leave:
		return leave(report.Info, untouched(d), "%s", d.Why)
	case Warn:
		return leave(severityOf(d.State), untouched(d), "%s: %s", d.State, d.Why)
	case InheritReceived:
		if d.Running.Source != zfs.SourceLocal || d.Running.Received == "" {
			return leave(report.Info, Untouched, "%s", d.Why)
		}
		p.plan.InheritReceived = append(p.plan.InheritReceived, d.Name)
		return leave(report.Info, Untouched, "%s: local label %s is replaced by the received label %s", d.Why, d.Running.Value, d.Running.Received)
	case Periodic:
		t.action = Periodic
	case Start:
		t.action, t.label = Start, p.policy.Names.Node
		t.reason = fmt.Sprintf("started here (label was %s)", cmp.Or(d.Running.Own(), "-"))
	default:
		if why := p.notFinal(d, action); why != "" {
			return leave(report.Info, Untouched, "%s", why)
		}
		if why := strangers(d); action == Adopt && why != "" && !d.AdoptedBy(p.policy.Adopt) {
			p.noteStranger(d, report.Notice, why)
			return diskTask{}, false
		}
		if label == StoppedLabel && !t.snapshot {
			return leave(report.Info, Excluded, "stopped, and labelled \"stopped\"; label:nosnap is %s", d.NoSnap.Value)
		}
		t.action, t.label, t.reason = Final, zfs.LabelStopped, d.Why
		if newest, ok := newestManaged(d); ok && newest.class == zfs.Stopped && !p.stale(newest) && writtenSince(d, newest) == 0 {
			t.snapshot = false // an earlier run took it, but did not set the label
			if label == StoppedLabel {
				return leave(report.Info, Untouched, "stopped, and not written to since %s", newest.Name)
			}
		}
		if word, why := d.word(); word != Own && d.Running.Source == zfs.SourceLocal && !d.AdoptedBy(p.policy.Adopt) {
			severity := report.Notice
			switch word {
			case Unasked:
				p.plan.Ask.Histories = append(p.plan.Ask.Histories, d.Name)
			case Untold:
				// The replicas alarm about the copies of this disk until a person decides whether
				// this disk is itself a copy.
				severity = report.Warning
			}
			p.noteStranger(d, severity, why)
			return diskTask{}, false
		}
	}
	return t, true
}

// label returns the kind of the disk's label:running, for the table of actions. If a running
// guest's label has this node's name, but other signs show that the disk was received, the guest
// was started on a copy, and the label counts as foreign.
func (p *planner) label(d *Disk) Label {
	label := p.policy.Names.Classify(d.Running)
	if label == OwnLabel && d.State == Running && d.ownUpTo() == 0 && d.CameFrom(d.Sign) != "" {
		return ForeignLabel
	}
	return label
}

// notFinal returns the reason why a stopped guest's disk gets no _stopped snapshot, "" if the disk
// gets one.
func (p *planner) notFinal(d *Disk, action Action) string {
	if d.Inconsistent || d.ResumeToken {
		return "a receive is not finished, so the disk is a copy and keeps its label"
	}
	if action == AdoptPeer && !p.policy.AdoptPeerLabels {
		return fmt.Sprintf("stopped, with the label of node %s (adopt_peer_labels is off)", d.Running.Value)
	}
	if action == Recheck && d.Running.Source == zfs.SourceReceived {
		return "stopped, and its received label is also \"stopped\""
	}
	return ""
}

// stale reports whether the last snapshot of a stopped guest must be renewed because of its age. A
// _stopped snapshot that is dated in the future is also renewed, because it would reach the age for
// renewal only long after its date.
func (p *planner) stale(newest managed) bool {
	age := p.now.Sub(newest.Creation)
	return p.policy.RefreshStopped > 0 && (age >= p.policy.RefreshStopped || age < -futureSlack)
}

func writtenSince(d *Disk, newest managed) uint64 {
	if d.NewestSnapshot == newest.Name {
		return d.Written
	}
	return d.WrittenSinceStopped
}

// StoppedBehind returns the disk's newest managed snapshot, and reports whether it is a _stopped
// snapshot behind a newer snapshot that is not managed. If so, the run must ask ZFS how much was
// written since the _stopped snapshot.
func (d *Disk) StoppedBehind() (zfs.Snapshot, bool) {
	newest, ok := newestManaged(d)
	return newest.Snapshot, ok && newest.class == zfs.Stopped && newest.Name != d.NewestSnapshot
}

func newestManaged(d *Disk) (managed, bool) {
	for _, s := range slices.Backward(d.Snapshots) {
		if class, ok := s.Class(); ok {
			return managed{Snapshot: s, class: class}, true
		}
	}
	return managed{}, false
}

// severityOf returns the severity of the note about a disk whose state allows no action. A disk in
// the state Orphan or Disputed remains in that state until a person acts. The note about the disk
// is not a warning, because a warning would send a mail every quarter of an hour.
func severityOf(s GuestState) report.Severity {
	if s == Orphan || s == Disputed {
		return report.Notice
	}
	return report.Warning
}

func untouched(d *Disk) Result {
	if d.State.Alive() {
		return Unprotected
	}
	return Untouched
}
