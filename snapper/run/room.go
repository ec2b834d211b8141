package run

import (
	"context"
	"slices"
	"time"

	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// spaceTimeout is how long zpool may take to tell how full a pool is, while all else is done.
const spaceTimeout = 5 * time.Second

// reportRoom tells which pools are too full for the next snapshots. What the last run told, too,
// is no news that is worth a mail: check and the metrics say it for as long as it is so.
func (r *run) reportRoom(ctx context.Context, pools []*pool) {
	if r.Final {
		return
	}
	ctx, cancel := r.World.Timeout(ctx, spaceTimeout)
	defer cancel()
	eachPool(r.World, readable(pools), func(p *pool) {
		facts := snapper.PoolRoom{Pool: p.name, Disks: p.disks, FillWarning: int(r.Config.Limits.FillWarning), FillCritical: int(r.Config.Limits.FillCritical)}
		if slices.Contains(r.Config.PoolIgnore, "full") {
			facts.FillWarning, facts.FillCritical = 0, 0
		}
		var err error
		if facts.Size, facts.Allocated, err = p.Space(ctx); err != nil {
			r.problem(report.Notice, "pool %s: how full it is, zpool does not tell: %v", p.name, err)
		}
		room := snapper.JudgeRoom(facts)
		p.room = &room
	})
	for i := range r.report.Pools {
		entry := &r.report.Pools[i]
		at := slices.IndexFunc(pools, func(p *pool) bool { return p.name == entry.Pool })
		if at < 0 || pools[at].room == nil {
			continue
		}
		entry.Room = pools[at].room
		before := r.previous.RoomOf(entry.Pool)
		for _, fault := range []struct {
			text        string
			mail, known bool
		}{
			{entry.Room.Full, entry.Room.FullCritical, before.FullCritical},
			{entry.Room.Short, true, before.Short != ""},
		} {
			switch {
			case fault.text == "":
			case fault.mail && !fault.known:
				r.problem(report.Warning, "pool %s: %s", entry.Pool, fault.text)
			default:
				r.problem(report.Notice, "pool %s: %s", entry.Pool, fault.text)
			}
		}
	}
}
