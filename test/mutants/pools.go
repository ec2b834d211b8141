package main

// poolMutants are the mutants of the verdicts about pools.
var poolMutants = []mutant{
	{"checker/poolverdict.go", `b.state().severity() - a.state().severity()`, `a.state().severity() - b.state().severity()`, "say of a pool what alarms least"},
	{"checker/poolverdict.go", `&& !pool.Missing && !excluded`, `&& !pool.Missing`, "alarm of a pool under maintenance"},
	{"checker/poolverdict.go", `len(pool.MissingRoots) > 0 && !pool.Missing`, `len(pool.MissingRoots) > 0 && pool.Problem == ""`, "say ok of an incomplete pool while a scan takes long"},
	{"checker/poolhealth.go", `!slices.Contains(faultedStates, w) && !slices.Contains(otherStates, w)`, `false`, "say ok of a pool in a state that nobody knows"},
	{"checker/poolhealth.go", `pool.ZFSState == suspendedState || h.State != suspendedState`, `true`, "pass over a suspended pool where only zpool says so"},
	{"checker/poolhealth.go", `failing <= healthMissing`, `false`, "alarm when zpool fails once"},
	{"checker/poolhealth.go", `case h.ReadAt.IsZero():`, `case h.ReadAt.IsZero() && failing > healthMissing:`, "say ok of a pool of which nothing was ever read"},
	{"checker/scan/health.go", `began && !remembered`, `began && !remembered && false`, "never see that zpool fails where that cannot be remembered"},
	{"checker/scan/health.go", `began && !remembered`, `began || remembered`, "alarm at once though this process remembers"},
	{"checker/poolhealth.go", `case old(h.LastScrub):`, `case old(s.End):`, "believe a scrub that was canceled"},
	{"checker/poolhealth.go", `case s.UnderWay():`, `case false:`, "alarm while a scrub mends the alarm"},
	{"checker/poolhealth.go", `s.UnderWay() && now.Sub(s.Start) > longestScrub`, `false`, "wait for ever for a scrub"},
	{"checker/pooldamage.go", `h.Damage == nil || h.DataErrors == 0`, `h.Damage == nil`, "call a disk damaged that was mended"},
	{"checker/pooldamage.go", `d.Counted != 0 && d.Counted != h.DataErrors`, `false`, "tell the place of old errors as that of new ones"},
	{"checker/pooldamage.go", `if words == "" {`, `if false {`, "not say who can find errors that came since"},
	{"checker/pooldamage.go", `case !h.Damage.Exact:`, `case false:`, "name one snapshot where ZFS does not tell all"},
	{"checker/poolhealth.go", `percent >= float64(l.percent)`, `percent > float64(l.percent)`, "wait until a pool has more than its limit"},
	{"checker/report.go", `if d.Damaged == "" {`, `if false {`, "not believe root's report"},
	{"checker/scan/health.go", `!s.due(last) || zfs.CheckPool(s.Kstat, pool) != nil`, `!s.due(last)`, "ask a pool that is suspended"},
	{"checker/scan/health.go", `since < 0 || since >= checker.HealthInterval`, `since >= checker.HealthInterval`, "ask nothing after the clock was ahead"},
	{"checker/scan/health.go", `next.LastScrub, next.LastScrubErrors = last.LastScrub, last.LastScrubErrors`, `next.LastScrubErrors = last.LastScrubErrors`, "forget the last scrub when the next begins"},
	{"checker/scan/health.go", `next.LastScrub, next.LastScrubErrors = last.LastScrub, last.LastScrubErrors`, `next.LastScrub = last.LastScrub`, "forget the errors of the last scrub when the next begins"},
	{"checker/scan/health.go", `next.Problem == "" || next.FailingSince.After(now)`, `true`, "never see that zpool has failed for long"},
	{"checker/scan/health.go", `next.Problem == "" || next.FailingSince.After(now)`, `next.Problem == ""`, "wait for a time that is ahead"},
	{"checker/scan/health.go", `!samePool(h.GUID, guid)`, `false`, "believe what was known of another pool of that name"},
	{"checker/scan/health.go", `last != nil && !samePool(last.GUID, guid)`, `false`, "believe what this process knew of another pool of that name"},
	{"checker/scan/health.go", `d != nil && samePool(d.GUID, guid)`, `d != nil`, "take another pool's errors for this one's"},
	{"checker/scan/health.go", `other != nil && !s.due(other)`, `false`, "ask zpool once for each check that waits"},
	{"internal/zfs/zpooltext.go", `if !s.named || !s.stated || !s.counted {`, `if !s.named || !s.stated {`, "take half a status for a whole one"},
	{"internal/zfs/zpooltext.go", `	default:
		s.unknown(line)
		return
	}
	when, timeErr`, `	default:
		return
	}
	when, timeErr`, "pass over what is not understood"},
	{"internal/zfs/zpool.go", `if command.ExitCode(err) == usage {`, `if command.ExitCode(err) == -usage {`, "not know a zpool without JSON"},
	{"internal/zfs/zpool.go", `h.Scrub.State != ScanFinished &&`, `h.Scrub.State == "" &&`, "let a canceled scrub silence the lack of one"},
	{"internal/zfs/damage.go", `if !strings.HasPrefix(place, "/") {`, `if !strings.HasPrefix(place, "/") || object.MatchString(place) {`, "take a file's name for an object's"},
	{"internal/zfs/damage.go", `strings.TrimSuffix(point, "/")+"/"`, `point`, "take one container's file for another's"},
	{"deploy/prometheus/snapwatch.rules.yml", `max by (job, cluster, site, instance, pool) (snapwatch:pool_state:settled{state="full"})
            and on (job, cluster, site, instance, pool) snapwatch:pool_status:settled >= 2`, `max by (job, cluster, site, instance, pool) (snapwatch:pool_state:settled{state="full"})
            and on (job, cluster, site, instance, pool) snapwatch:pool_status:settled >= 3`, "only warn of a pool that is far too full"},
}
