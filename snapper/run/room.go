package run

import (
	"context"
	"slices"
	"time"

	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// spaceTimeout is the longest time that a run waits for zpool to print a pool's size and allocated
// bytes, after all other steps.
const spaceTimeout = 5 * time.Second

// room judges whether the pool has enough free space for the next snapshots.
func (p *pool) room(ctx context.Context, start time.Time) report.Room {
	facts := snapper.PoolRoom{Pool: p.name, Disks: p.disks, FillWarning: int(p.Config.Limits.FillWarning), FillCritical: int(p.Config.Limits.FillCritical)}
	if slices.Contains(p.Config.PoolIgnore, "full") {
		facts.FillWarning, facts.FillCritical = 0, 0
	}
	ctx, cancel := p.World.Timeout(ctx, spaceTimeout)
	defer cancel()
	var err error
	if facts.Size, facts.Allocated, err = p.Space(ctx); err != nil {
		p.problem(report.Notice, "pool %s: its fill level is unknown: %v", p.name, err)
	}
	room := snapper.JudgeRoom(facts)
	room.At = start
	return room
}

// tellRoom reports that the pool lacks space. The report is a warning if mail is true, and a notice
// if mail is false.
func (p *pool) tellRoom(fault string, mail bool) { //nolint:revive // it is the severity
	severity := report.Notice
	if mail {
		severity = report.Warning
	}
	if fault != "" {
		p.problem(severity, "pool %s: %s", p.name, fault)
	}
}
