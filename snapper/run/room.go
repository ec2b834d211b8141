package run

import (
	"context"
	"slices"
	"time"

	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// spaceTimeout is how long zpool may take to tell how full a pool is. All else is done then.
const spaceTimeout = 5 * time.Second

// reportRoom tells which pools are too full for the next snapshots. What the last run told, too,
// is not news that is worth a mail: check and the metrics say it for as long as it is so.
func (r *run) reportRoom(ctx context.Context, pools []*pool) {
	if r.Final {
		return
	}
	rooms, known := r.latest().RoomsAt(r.World.Now()), r.previous.RoomsAt(r.start)
	for _, p := range readable(pools) {
		room, before := r.room(ctx, p), known[p.name]
		rooms[p.name] = room
		r.tellRoom(p, room.Full, room.FullCritical && !before.FullCritical)
		r.tellRoom(p, room.Short, before.Short == "")
	}
	r.report.Rooms = rooms
}

// room judges what the pool has for snapshots.
func (r *run) room(ctx context.Context, p *pool) report.Room {
	facts := snapper.PoolRoom{Pool: p.name, Disks: p.disks, FillWarning: int(r.Config.Limits.FillWarning), FillCritical: int(r.Config.Limits.FillCritical)}
	if slices.Contains(r.Config.PoolIgnore, "full") {
		facts.FillWarning, facts.FillCritical = 0, 0
	}
	ctx, cancel := r.World.Timeout(ctx, spaceTimeout)
	defer cancel()
	var err error
	if facts.Size, facts.Allocated, err = p.Space(ctx); err != nil {
		r.problem(report.Notice, "pool %s: how full it is, zpool does not tell: %v", p.name, err)
	}
	room := snapper.JudgeRoom(facts)
	room.At = r.start
	return room
}

// tellRoom tells a fault, as a warning where it is worth a mail.
func (r *run) tellRoom(p *pool, fault string, mail bool) { //nolint:revive // it is the severity
	severity := report.Notice
	if mail {
		severity = report.Warning
	}
	if fault != "" {
		r.problem(severity, "pool %s: %s", p.name, fault)
	}
}
