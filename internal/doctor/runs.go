package doctor

import (
	"strings"
	"time"

	"snapwatch/internal/text"
)

func systemd(f Facts) []Finding {
	if f.Starts.SystemdErr == nil {
		return nil
	}
	return fail("systemd", "systemctl is-system-running; journalctl -b", "does not answer, so no unit was examined: %v", f.Starts.SystemdErr)
}

func starts(f Facts) []Finding {
	const topic = "cron or timer"
	s := f.Starts
	on := s.Timer || len(s.Cron)+len(s.Unclear) > 0
	switch {
	case f.Role == "replica" && on:
		return fail(topic, "snapwatch cron remove; systemctl disable --now snapwatch.timer", "snap is started here, but role: replica forbids it")
	case !f.primary():
		return nil
	case s.CronErr != nil:
		return warn(topic, "correct this error", "not all lines of cron could be read: %v", s.CronErr)
	case !on && len(s.Idle) > 0:
		return fail(topic, "correct the line, or run snapwatch cron install", "nothing runs snap on this node: %s", strings.Join(s.Idle, "; "))
	case !on:
		return warn(topic, "at a terminal, run: snapwatch snap f48 h24 d30", "nothing runs snap on this node")
	case len(s.Unclear) > 0:
		return warn(topic, "write the line as snapwatch cron install does, or remove it", "%s", strings.Join(s.Unclear, "; "))
	case s.Timer && len(s.Cron) > 0:
		return warn(topic, "snapwatch cron remove, or systemctl disable --now snapwatch.timer",
			"cron and snapwatch.timer both run snap, and the later run finds the pools locked: %s", strings.Join(s.Cron, "; "))
	case s.Timer:
		return append(ok(topic, "snapwatch.timer is enabled"), finalize(s)...)
	case len(s.Cron) > 1:
		return warn(topic, "keep one of the lines: each line destroys snapshots that its own retention does not keep", "several lines of cron run snap: %s", strings.Join(s.Cron, "; "))
	case s.ProgramErr != nil:
		return fail(topic, "run snapwatch cron install with the same arguments to write the line again", "cron's line starts %s: %v", s.Program, s.ProgramErr)
	case s.CronDaemon != "active" && s.CronDaemon != "":
		return fail(topic, "apt install cron; systemctl enable --now cron", "cron.service is %s", s.CronDaemon)
	}
	return append(ok(topic, "%s", s.Cron[0]), finalize(s)...)
}

func finalize(s Starts) []Finding {
	if s.Finalize == "active" || s.Finalize == "absent" || s.Finalize == "" {
		return nil
	}
	return warn("host shutdown", "systemctl enable --now snapwatch-finalize.service",
		"snapwatch-finalize.service is %s: while this host is off, check alarms about the copies of its guests", s.Finalize)
}

// The constant `future` is the time by which the date of a run or a snapshot may be ahead of the
// clock without a finding, because clocks are sometimes set back a little.
const future = 5 * time.Minute

func lastRun(f Facts) []Finding {
	const topic = "last run"
	if !f.primary() || !f.Starts.Timer && len(f.Starts.Cron)+len(f.Starts.Unclear) == 0 {
		return nil
	}
	age := f.Now.Sub(f.LastRun.End)
	switch {
	case f.LastRun.Err != nil:
		return warn(topic, "snapwatch snap --dry-run -v", "no report: %v", f.LastRun.Err)
	case age > f.LastRun.Limit:
		return fail(topic, "journalctl -u cron -u snapwatch.service; is the host's mail read?", "ended %s ago, limit %s", short(age), short(f.LastRun.Limit))
	case age < -future:
		return warn(topic, "timedatectl", "ended %s in the future: the clock was wrong then or is wrong now", short(-age))
	case !f.LastRun.Success:
		return warn(topic, "snapwatch snap --dry-run -v", "failed: %s", f.LastRun.FirstWords)
	}
	return ok(topic, "%s ago, successful", short(age))
}

func clock(f Facts) []Finding {
	const topic = "clock"
	for _, d := range f.Disks {
		if ahead := d.Newest.Sub(f.Now); ahead > future {
			return warn(topic, "timedatectl, here and on the node that took the snapshot", "the newest snapshot of %s is %s in the future", d.Dataset, short(ahead))
		}
	}
	if f.Clock.ZoneErr != nil {
		return warn(topic, "write TZ as a name, such as TZ=Europe/Berlin, or remove it", "this time zone can't be used, so times are UTC: %v", f.Clock.ZoneErr)
	}
	if f.Clock.Synchronized == "no" {
		return warn(topic, "timedatectl; install chrony", "not synchronized: ages of snapshots from other sites may be wrong")
	}
	return ok(topic, "no snapshot is in the future")
}

func others(f Facts) []Finding {
	var all []Finding
	if f.Others.OldCron != "" {
		all = warn("pve-zfs-snap", "remove that line (root's crontab: crontab -e)", "cron still runs it: %s", f.Others.OldCron)
	}
	var autumn []string
	for _, d := range f.Disks {
		autumn = append(autumn, d.Autumn...)
	}
	if len(autumn) > 0 {
		all = append(all, warn("sanoid", "zfs destroy the snapshots that no copy needs (docs/migrating.md)",
			"no program rotates the snapshots that sanoid takes in the night when clocks go back: %s there for ever, such as %s", text.Are(len(autumn), "snapshot"), autumn[0])...)
	}
	switch {
	case !f.Others.Sanoid || !f.Others.SanoidRuns:
	case f.primary():
		all = append(all, warn("sanoid", "remove the guests' disks from /etc/sanoid/sanoid.conf: both programs rotate snapshots of the same names (docs/migrating.md)",
			"sanoid is configured and runs in addition to snap")...)
	default:
		all = append(all, warn("sanoid", "set autosnap = no for every received dataset: a snapshot taken here makes a dead replication look fresh",
			"sanoid is configured and runs on a host that receives")...)
	}
	return all
}

func locks(f Facts) []Finding {
	if f.LocksErr == nil {
		return nil
	}
	return fail("locks", "install -d -m 1777 /run/lock", "some users cannot lock a pool's listing, so their check is UNKNOWN: %v", f.LocksErr)
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
