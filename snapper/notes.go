package snapper

import (
	"fmt"
	"strings"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// noteStaying adds notes about snapshots that are never destroyed. Without a note, a person may not
// notice that snapshots are kept for ever because their class is missing from the retention, or
// because the clock was ahead.
func (p *planner) noteStaying() {
	var counts []string
	for _, class := range zfs.Rotating() {
		if n := p.unnamed[class]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, class))
		}
	}
	if len(counts) > 0 {
		p.plan.Notes = append(p.plan.Notes, Note{Severity: report.Notice, Reason: strings.Join(counts, ", ") +
			" snapshots are never destroyed, because the retention does not name their class (0 after the letter of the class lets them expire)"})
	}
	if p.future > 0 {
		p.plan.Notes = append(p.plan.Notes, Note{Severity: report.Notice, Reason: fmt.Sprintf(
			"%s dated later than now, the last %s, and kept until then: a clock was ahead when they were made, or is behind now", text.Are(p.future, "snapshot"), p.until.In(p.now.Location()).Format(time.DateTime))})
	}
}

// noteStranger adds a note about a disk of a stopped guest that a person may take over with
// --adopt. If the disk was received, noteStranger also plans the bookmarks that a copy gets.
func (p *planner) noteStranger(d *Disk, severity report.Severity, why string) {
	if d.CameFrom(d.Sign) != "" && !d.Inconsistent && !d.NoSnap.Excludes() {
		p.bookmark(d)
	}
	p.note(d, severity, Untouched, fmt.Sprintf("guest %d is stopped, and the disk may be a copy (%s): left alone; if it is the guest's own, snapwatch snap --adopt %d takes it over", d.VMID, why, d.VMID))
	p.plan.Notes[len(p.plan.Notes)-1].Adoptable = true
}

func (p *planner) note(d *Disk, severity report.Severity, result Result, reason string) {
	p.plan.Notes = append(p.plan.Notes, Note{Dataset: d.Name, VMID: d.VMID, Severity: severity, Result: result, Reason: reason})
}

// Note is the decision of a run about a disk, with the reason.
type Note struct {
	Dataset string
	VMID    int
	// Severity is the severity of the note: from an ordinary decision to a problem on which a
	// person must act.
	Severity report.Severity
	Result   Result
	Reason   string
	// Adoptable is true if snap --adopt, with the name of the disk, would treat the disk as this
	// node's own.
	Adoptable bool
}
