package doctor

import "time"

func systemd(f Facts) []Finding {
	if f.Starts.SystemdErr == nil {
		return nil
	}
	return fail("systemd", "systemctl is-system-running; journalctl -b", "does not answer, so no unit was looked at: %v", f.Starts.SystemdErr)
}

func starts(f Facts) []Finding {
	const topic = "cron or timer"
	s := f.Starts
	on := s.Timer || s.Cron != ""
	switch {
	case f.Role == "replica" && on:
		return fail(topic, "snapwatch cron remove; systemctl disable --now snapwatch.timer", "snap is registered, and role: replica refuses it")
	case !f.primary():
		return nil
	case !on:
		return warn(topic, "at a terminal: snapwatch snap f48 h24 d30", "nothing runs snap on this node")
	case s.Timer && s.Cron != "":
		return warn(topic, "snapwatch cron remove, or systemctl disable --now snapwatch.timer", "cron and snapwatch.timer both run snap; the later one finds the pools locked")
	case s.Timer:
		return append(ok(topic, "snapwatch.timer is enabled"), finalize(s)...)
	case s.ProgramErr != nil:
		return fail(topic, "snapwatch cron install with the same words writes the line anew", "cron's line starts %s: %v", s.Program, s.ProgramErr)
	case s.CronDaemon != "active" && s.CronDaemon != "":
		return fail(topic, "apt install cron; systemctl enable --now cron", "cron.service is %s", s.CronDaemon)
	}
	return append(ok(topic, "%s", s.Cron), finalize(s)...)
}

func finalize(s Starts) []Finding {
	if s.Finalize == "active" || s.Finalize == "absent" || s.Finalize == "" {
		return nil
	}
	return warn("host shutdown", "systemctl enable --now snapwatch-finalize.service",
		"snapwatch-finalize.service is %s: while this host is off, the copies of its guests alarm", s.Finalize)
}

// late is how old the last run may be: two intervals and some.
const late = 45 * time.Minute

func lastRun(f Facts) []Finding {
	const topic = "last run"
	if !f.primary() || !f.Starts.Timer && f.Starts.Cron == "" {
		return nil
	}
	age := f.Now.Sub(f.LastRun.End)
	switch {
	case f.LastRun.Err != nil:
		return warn(topic, "snapwatch snap --dry-run -v", "no report: %v", f.LastRun.Err)
	case age > late:
		return fail(topic, "journalctl -u cron -u snapwatch.service; is the host's mail read?", "ended %s ago, every 15 minutes one should", short(age))
	case !f.LastRun.Success:
		return warn(topic, "snapwatch snap --dry-run -v", "was no success: %s", f.LastRun.FirstWords)
	}
	return ok(topic, "%s ago, a success", short(age))
}

func clock(f Facts) []Finding {
	const topic = "clock"
	for _, d := range f.Disks {
		if ahead := d.Newest.Sub(f.Now); ahead > 5*time.Minute {
			return warn(topic, "timedatectl, here and on the node that took it", "the newest snapshot of %s is from %s in the future", d.Dataset, short(ahead))
		}
	}
	if f.Clock.ZoneErr != nil {
		return warn(topic, "write TZ as a name, such as TZ=Europe/Berlin, or take it out", "this time zone can't be used, so times are UTC: %v", f.Clock.ZoneErr)
	}
	if f.Clock.Synchronized == "no" {
		return warn(topic, "timedatectl; install chrony", "not synchronized: ages between sites can't be believed")
	}
	return ok(topic, "no snapshot is from the future")
}

func others(f Facts) []Finding {
	var all []Finding
	if f.Others.OldCron != "" {
		all = warn("pve-zfs-snap", "crontab -e, and remove it", "root's crontab still runs it: %s", f.Others.OldCron)
	}
	var autumn []string
	for _, d := range f.Disks {
		autumn = append(autumn, d.Autumn...)
	}
	if len(autumn) > 0 {
		all = append(all, warn("sanoid", "zfs destroy those that no copy needs (docs/migrating.md)",
			"nobody rotates what it takes in the night when clocks go back: %d snapshots stay for ever, such as %s", len(autumn), autumn[0])...)
	}
	switch {
	case !f.Others.Sanoid || !f.Others.SanoidRuns:
	case f.primary():
		all = append(all, warn("sanoid", "take the guests' disks out of /etc/sanoid/sanoid.conf: both rotate snapshots of the same names (docs/migrating.md)",
			"it is configured and runs beside snap")...)
	default:
		all = append(all, warn("sanoid", "autosnap = no for everything that is received: a snapshot taken here makes a dead replication look fresh",
			"it is configured and runs on a host that receives")...)
	}
	return all
}

func locks(f Facts) []Finding {
	if f.LocksErr == nil {
		return nil
	}
	return fail("locks", "install -d -m 1777 /run/lock", "not every user can lock a pool's listing, so check says UNKNOWN: %v", f.LocksErr)
}

func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return d.Round(time.Hour).String()
	case d >= time.Minute:
		return d.Round(time.Minute).String()
	}
	return d.Round(time.Second).String()
}
