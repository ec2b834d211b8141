package main

// poolMutants are the mutants of the verdicts about pools.
var poolMutants = []mutant{
	{"checker/poolverdict.go", `b.state().severity() - a.state().severity()`, `a.state().severity() - b.state().severity()`, "report the least severe verdict of a pool"},
	{"checker/poolverdict.go", `&& !pool.Missing && !excluded`, `&& !pool.Missing`, "alarm about a pool under maintenance"},
	{"checker/poolverdict.go", `len(pool.MissingRoots) > 0 && !pool.Missing`, `len(pool.MissingRoots) > 0 && pool.Problem == ""`, "report an incomplete pool as ok during a long scan"},
	{"checker/poolhealth.go", `!slices.Contains(faultedStates, w) && !slices.Contains(otherStates, w)`, `false`, "report a pool in an unknown state as ok"},
	{"checker/poolhealth.go", `pool.ZFSState == suspendedState || h.State != suspendedState`, `true`, "ignore a suspension that only zpool reports"},
	{"checker/poolhealth.go", `failing <= healthMissing`, `false`, "alarm when zpool fails once"},
	{"checker/poolhealth.go", `case h.ReadAt.IsZero():`, `case h.ReadAt.IsZero() && failing > healthMissing:`, "report a pool that was never read as ok"},
	{"checker/scan/health.go", `began && !remembered`, `began && !remembered && false`, "never notice that zpool fails if the failure cannot be saved"},
	{"checker/scan/health.go", `began && !remembered`, `began || remembered`, "alarm immediately although this process remembers the last success"},
	{"checker/poolhealth.go", `now.Sub(t).Abs() > p.MaxScrubAge`, `now.Sub(t) > p.MaxScrubAge`, "believe a scrub that ended in the future"},
	{"checker/poolhealth.go", `case old(h.LastScrub):`, `case old(s.End):`, "count a canceled scrub"},
	{"checker/poolhealth.go", `case s.UnderWay() && !s.Start.IsZero():`, `case false:`, "alarm about an old scrub while a scrub runs"},
	{"checker/poolhealth.go", `s.UnderWay() && !s.Start.IsZero() && now.Sub(s.Start).Abs() > longestScrub`, `false`, "wait for ever for a scrub"},
	{"checker/pooldamage.go", `h.Damage == nil || h.DataErrors == 0`, `h.Damage == nil`, "call a repaired disk damaged"},
	{"checker/pooldamage.go", `d.Counted != 0 && d.Counted != h.DataErrors`, `false`, "report the place of old errors as the place of new ones"},
	{"checker/pooldamage.go", `if words == "" {`, `if false {`, "not say which user can find new errors"},
	{"checker/pooldamage.go", `case !h.Damage.Exact:`, `case false:`, "name one snapshot although ZFS does not list all"},
	{"checker/poolhealth.go", `percent >= float64(l.percent)`, `percent > float64(l.percent)`, "alarm only above a pool's limit"},
	{"checker/report.go", `if d.Damaged == "" {`, `if false {`, "ignore the damage in root's report"},
	{"checker/scan/health.go", `!s.due(last) || zfs.CheckPool(s.Kstat, pool) != nil`, `!s.due(last)`, "ask a pool that is suspended"},
	{"checker/scan/health.go", `since < 0 || since >= checker.HealthInterval`, `since >= checker.HealthInterval`, "not ask zpool after the clock was ahead"},
	{"checker/scan/health.go", `next.LastScrub, next.LastScrubErrors = last.LastScrub, last.LastScrubErrors`, `next.LastScrubErrors = last.LastScrubErrors`, "forget the last scrub when the next begins"},
	{"checker/scan/health.go", `next.LastScrub, next.LastScrubErrors = last.LastScrub, last.LastScrubErrors`, `next.LastScrub = last.LastScrub`, "forget the errors of the last scrub when the next begins"},
	{"checker/scan/health.go", `next.Problem == "" || next.FailingSince.After(now)`, `true`, "never notice that zpool has failed for long"},
	{"checker/scan/health.go", `next.Problem == "" || next.FailingSince.After(now)`, `next.Problem == ""`, "wait for a time in the future"},
	{"checker/scan/health.go", `!samePool(h.GUID, guid)`, `false`, "use the state of another pool of that name"},
	{"checker/scan/health.go", `last != nil && !samePool(last.GUID, guid)`, `false`, "use this process's state of another pool of that name"},
	{"checker/scan/health.go", `d != nil && samePool(d.GUID, guid)`, `d != nil`, "report another pool's errors for this pool"},
	{"checker/scan/health.go", `other != nil && !s.due(other)`, `false`, "ask zpool once for each check that waits"},
	{"internal/zfs/zpooltext.go", `if !s.named || !s.stated || !s.counted {`, `if !s.named || !s.stated {`, "accept half a status as complete"},
	{"internal/zfs/zpooltext.go", `	default:
		s.unknown(line)
		return
	}
	when, timeErr`, `	default:
		return
	}
	when, timeErr`, "ignore a line of zpool's output that is not understood"},
	{"internal/zfs/zpool.go", `if command.ExitCode(err) == usage {`, `if command.ExitCode(err) == -usage {`, "fail with a zpool without JSON"},
	{"internal/zfs/zpool.go", `h.Scrub.State != ScanFinished &&`, `h.Scrub.State == "" &&`, "let a canceled scrub silence the lack of one"},
	{"internal/zfs/damage.go", `if !strings.HasPrefix(place, "/") {`, `if !strings.HasPrefix(place, "/") || object.MatchString(place) {`, "mistake a file's name for an object's"},
	{"internal/zfs/damage.go", `strings.TrimSuffix(point, "/")+"/"`, `point`, "mistake one container's file for another's"},
	{"exporter/collector.go", `boolValue(holds)`, `boolValue(row.Verdict == p.Verdict)`, "show only the worst fault of a pool"},
	{"deploy/prometheus/snapwatch.rules.yml", `max by (job, cluster, site, instance, pool) (snapwatch:pool_state:settled{state="full"})
            and on (job, cluster, site, instance, pool) snapwatch:pool_status:settled{state="full"} >= 2`, `max by (job, cluster, site, instance, pool) (snapwatch:pool_state:settled{state="full"})
            and on (job, cluster, site, instance, pool) snapwatch:pool_status:settled{state="full"} >= 3`, "only warn about a pool that is far too full"},
	// Mutants of a run's reports about free space in pools.
	{"snapper/room.go", `min(d.Written, d.RefReservation)`, `d.RefReservation`, "take what is kept free for what a snapshot reserves"},
	{"snapper/room.go", `d.Available - min(d.Available, d.UsedByRefReservation)`, `d.Available`, "count a volume's own room as free for its snapshots"},
	{"snapper/room.go", `if free >= 2*reserves {`, `if free >= reserves {`, "say that there is no room when it is too late"},
	{"snapper/room.go", `d.State.Alive() && d.Ignored == ""`, `d.Ignored == ""`, "want room for snapshots that nobody takes"},
	{"snapper/room.go", `words := shortage(below[parent])`, `words := ""`, "not see that a quota leaves less room"},
	{"snapper/run/round.go", `room.FullCritical && !before.FullCritical`, `room.FullCritical`, "mail of a full pool each quarter of an hour"},
	{"snapper/run/records.go", `latest.RoomsAt(now)`, `map[string]report.Room{}`, "forget that there was no room on a pool that another run holds"},
}
