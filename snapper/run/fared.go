package run

import (
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// faring is what became of holding a unit's guests still.
type faring struct {
	freezes []snapper.Freeze
	kinds   map[int]pve.Kind
	// failed are those that could not be frozen, and why.
	failed map[pve.ID]string
	ended  quiesce.Ended
	// at is when the window was opened, zero if none was.
	at time.Time
}

// guest says how one guest fared. It was held still for its snapshot if it was frozen,
// and if nothing thawed before the programs of all pools had ended.
func (f faring) guest(freeze snapper.Freeze, u frozenUnit, outcomes outcomesByPool) report.Quiesced {
	id := pve.ID{VMID: freeze.VMID, Kind: f.kinds[freeze.VMID]}
	q := report.Quiesced{
		VMID: freeze.VMID, Group: u.group, How: string(freeze.How), At: f.at,
		Consistent: report.Crash, Seconds: f.ended.Frozen[id].Seconds(),
	}
	name, err := u.made(freeze.VMID, outcomes)
	q.Snapshot = name
	switch {
	case freeze.Unfit != "":
		q.Reason = "it is not held still: " + freeze.Unfit
	case f.failed[id] != "":
		q.Reason = "it could not be held still: " + f.failed[id]
	case f.at.IsZero():
		q.Reason = "the run was told to end"
	case name == "":
		q.Reason = unmade(err)
	case f.ended.Lapsed[id] != "":
		q.Reason = "it may have gone on before the snapshot was made: " + f.ended.Lapsed[id]
	case f.ended.Early != "":
		q.Reason = "it went on before the snapshot was made: " + f.ended.Early
	default:
		q.Consistent = report.Application
	}
	return q
}

// made is the name that the snapshots of a guest of the unit got, "" and maybe why
// where one of its disks has none.
func (u frozenUnit) made(vmid int, outcomes outcomesByPool) (name string, err error) {
	for _, g := range u.plans {
		for _, d := range g.Disks {
			if d.VMID != vmid || !d.Snapshot {
				continue
			}
			o := outcomes[g.Pool][d.Dataset]
			if o.Snapshot == "" {
				return "", o.Err
			}
			name = o.Snapshot
		}
	}
	return name, nil
}
