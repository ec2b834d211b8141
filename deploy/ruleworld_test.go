//go:build deploy

package deploy_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// A world contains simulated series that Prometheus scrapes from many targets for some hours, and
// the alerts that must fire. For every alert rule, the world has a target with the fault, and a
// target without the fault that has the same instance on another site. The test also scrapes the
// series of a world in other ways ([variants]): the same alerts must fire if targets are scraped
// twice, or if single scrapes are lost or wrong.
type world struct {
	series []series
	// want contains the labels of the alerts that must fire for the series.
	want []labels
	// step is the time between two scrapes of the series in minutes, and scrapes the number of
	// scrapes.
	step, scrapes int
}

// series is one simulated series: its value at the first scrape is first, and grows by step each
// minute.
type series struct {
	name        string
	labels      labels
	first, step float64
	// alternate is added to the series' value at every second scrape.
	alternate float64
	// flag is true for a simulated series whose values are 0 or 1, and may be wrong in single
	// scrapes.
	flag bool
	// from is the first scrape at which the series has a value. until is the first scrape at which
	// the series has no value any more, 0 if the series has values to the end.
	from, until int
	// lost reports whether the series has no value at a scrape. wrong reports whether the series has
	// a wrong value at a scrape.
	lost, wrong func(scrape int) bool
}

// values returns the series' values at all scrapes in the notation of promtool.
func (s series) values(w world) string {
	until := s.until
	if until == 0 {
		until = w.scrapes
	}
	words := []string{fmt.Sprintf("_x%d", s.from)}
	if s.from == 0 {
		words = nil
	}
	for i := s.from; i < until; i++ {
		value := s.first + s.step*float64(i*w.step) + s.alternate*float64(i%2)
		switch {
		case s.lost != nil && s.lost(i):
			words = append(words, "stale")
			continue
		case s.flag && s.wrong != nil && s.wrong(i):
			value = 1 - value
		}
		words = append(words, fmt.Sprintf("%g", value))
	}
	if until < w.scrapes {
		words = append(words, "stale")
	}
	return strings.Join(words, " ")
}

func (l labels) with(more ...string) labels {
	l = maps.Clone(l)
	for _, word := range more {
		key, value, _ := strings.Cut(word, "=")
		l[key] = value
	}
	return l
}

func (l labels) String() string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(l)) {
		if l[key] != "" {
			words = append(words, fmt.Sprintf("%s=%q", key, l[key]))
		}
	}
	return "{" + strings.Join(words, ",") + "}"
}

// place is a simulated target that Prometheus scrapes.
type place struct {
	*world
	labels labels
}

// target adds a simulated target that answers scrapes. The name of the target's site is made of the
// cluster and the role.
func (w *world) target(instance, cluster, role string, more ...string) place {
	p := place{w, labels{"job": "snapwatch", "instance": instance, "cluster": cluster, "site": cluster + "-" + role, "role": role}.with(more...)}
	p.flag("up", 1)
	p.add("snapwatch_start_timestamp_seconds", 1000)
	return p
}

// add adds a series of the target with one constant value.
func (p place) add(name string, first float64, more ...string) {
	p.world.series = append(p.world.series, series{name: name, labels: p.labels.with(more...), first: first})
}

func (p place) flag(name string, value float64, more ...string) {
	p.world.series = append(p.world.series, series{name: name, labels: p.labels.with(more...), first: value, flag: true})
}

// id returns those of the target's labels that every alert about the target has.
func (p place) id() labels {
	id := labels{}
	for _, key := range []string{"job", "cluster", "site", "instance"} {
		id[key] = p.labels[key]
	}
	return id
}

// fires adds an alert of the target to the alerts that must fire.
func (p place) fires(name, severity string, more ...string) {
	p.world.want = append(p.world.want, p.id().with(append(more, "alertname=Snapwatch"+name, "alertstate=firing", "severity="+severity)...))
}

// hours returns a time in seconds that is n hours before the first scrape of the simulated
// series.
func hours(n float64) float64 { return -3600 * n }

// disk is a disk of a simulated target. If the field `ended` is not set, the disk's newest snapshot
// is always new. Otherwise `ended` is the time of the newest snapshot.
type disk struct {
	pool, state string
	// The field `later` is the disk's state from the scrape laterFrom on, "" if the state does not
	// change.
	later     string
	laterFrom int
	// origin is the cluster from which a copy comes, "" for a disk of the target's own guest.
	origin string
	ended  *float64
	// none is true if the simulated disk has no snapshot.
	none bool
	// The field `early` is the scrape from which on every scrape finds a new newest snapshot of the
	// disk, 0 for never. Before the scrape `early`, the newest snapshot is from the time in the field
	// `ended`.
	early int
	// ahead is true if the disk's newest snapshot is from the next year at a single scrape: the first
	// scrape after the scrape `early`.
	ahead bool
	// The field `until` is the scrape from which the exporter serves no series about the disk any
	// more.
	until int
}

// laterFrom is the default scrape at which a simulated disk changes its state.
const laterFrom = 40

// aYear is the length of a year in seconds, longer than the simulated time of any test.
const aYear = 365 * 86400

func at(t float64) *float64 { return &t }

func (d disk) labels() []string {
	pool := d.pool
	if pool == "" {
		pool = "tank"
	}
	return []string{"pool=" + pool, "dataset=" + pool + "/vm-1-disk-0", "disk=vm-1-disk-0", "vmid=1"}
}

// alertLabels returns the labels of an alert about the disk d, without the labels of the disk's
// target.
func (p place) alertLabels(d disk) []string {
	if d.origin == "" {
		return append(d.labels(), "origin_cluster="+p.labels["cluster"], "origin_dataset=tank/vm-1-disk-0", "owner=yes")
	}
	return append(d.labels(), "origin_cluster="+d.origin, "origin_dataset=tank/vm-1-disk-0", "owner=no")
}

func (p place) disk(d disk) {
	is := d.labels()
	begin := len(p.world.series)
	defer func() {
		for i := range p.world.series[begin:] {
			if s := &p.world.series[begin+i]; d.until > 0 && (s.until == 0 || s.until > d.until) {
				s.until = d.until
			}
		}
	}()
	if !d.none {
		s := series{name: "snapwatch_disk_newest_snapshot_timestamp_seconds", labels: p.labels.with(is...), step: 60}
		if d.ended != nil {
			old := s
			old.first, old.step, old.until = *d.ended, 0, d.early
			p.world.series = append(p.world.series, old)
			s.from = d.early
		}
		if d.ahead {
			jump := s
			jump.first, jump.step, jump.until = aYear, 0, s.from+1
			p.world.series = append(p.world.series, jump)
			s.from++
		}
		if d.ended == nil || d.early > 0 {
			p.world.series = append(p.world.series, s)
		}
	}
	states := []string{"fresh", "stale", "never", "missing", "unreadable", "receiving", "excluded", "stopped", "future", "orphaned"}
	if d.state == "damaged" { // promtool allows only a limited number of series
		states = append(states, d.state)
	}
	for _, state := range states {
		p.flag("snapwatch_disk_state", truth(state == d.state), append(is, "state="+state)...)
		if d.later != "" {
			first := &p.world.series[len(p.world.series)-1]
			then := *first
			first.until = cmp.Or(d.laterFrom, laterFrom)
			then.from, then.first = first.until, truth(state == d.later)
			p.world.series = append(p.world.series, then)
		}
	}
	p.add("snapwatch_disk_newest_snapshot_suffix", truth(d.state == "stopped"), append(is, "suffix=stopped")...)
	p.flag("snapwatch_disk_owned", truth(d.origin == ""), is...)
	p.add("snapwatch_disk_created_timestamp_seconds", hours(1000), is...)
	p.add("snapwatch_disk_max_stopped_age_seconds", -hours(720), is...)
	p.add("snapwatch_disk_max_initial_receive_seconds", -hours(168), is...)
	p.add("snapwatch_disk_limit_seconds", 1800, append(is, "severity=warning")...)
	p.add("snapwatch_disk_limit_seconds", 3600, append(is, "severity=critical")...)
	origin := ""
	if d.origin != "" {
		origin = "tank/vm-1-disk-0"
	}
	p.add("snapwatch_disk_info", 1, append(is, "id=qemu/1", "node=a", "origin_cluster="+d.origin, "origin_dataset="+origin)...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// pools adds a simulated host for each verdict on a pool.
func (w *world) pools(own func(cluster, state string) (place, disk)) {
	levels := func(a place, name string, status int) {
		a.fires(name, "warning", "pool=tank")
		if status == 2 {
			a.fires(name, "critical", "pool=tank")
		}
	}
	verdicts := []string{"suspended", "unreadable", "missing", "faulted", "incomplete", "errors", "degraded", "scrub", "full", "ok"}
	for _, verdict := range verdicts {
		for status := range 3 {
			a, d := own(fmt.Sprintf("pool-%s-%d", verdict, status), "fresh")
			a.disk(d)
			for _, v := range verdicts {
				a.flag("snapwatch_pool_state", truth(v == verdict), "pool=tank", "state="+v)
				a.add("snapwatch_pool_status", truth(v == verdict)*float64(status), "pool=tank", "state="+v)
			}
			a.add("snapwatch_pool_fill_ratio", 0.95, "pool=tank") // the value is constant
			switch verdict {
			case "suspended", "unreadable", "missing", "faulted":
				a.fires("PoolUnreadable", "critical", "pool=tank")
			case "incomplete":
				a.fires("PoolIncomplete", "critical", "pool=tank")
			case "degraded":
				a.fires("PoolDegraded", "warning", "pool=tank")
			case "scrub":
				levels(a, "PoolScrub", status)
			case "errors":
				levels(a, "PoolErrors", status)
			case "full":
				levels(a, "PoolFull", status)
			}
		}
	}
}

// faults returns a test world of simulated series with two targets for each alert: one with the
// fault and one without. The name of each cluster says what its targets test.
func faults() *world {
	w := &world{step: 1, scrapes: 181}
	own := func(cluster, state string) (place, disk) {
		a, d := w.target("a", cluster, "primary"), disk{state: state}
		return a, d
	}
	both := func(p place, name string, d disk) {
		p.fires(name, "warning", p.alertLabels(d)...)
		p.fires(name, "critical", p.alertLabels(d)...)
	}

	// All copies of the disk are equally old, so no copy lags.
	a, d := own("stale", "stale")
	d.ended = at(hours(10))
	a.disk(d)
	both(a, "Stale", d)
	c := w.target("c", "stale", "replica")
	d = disk{state: "stale", origin: "stale", ended: at(hours(10))}
	c.disk(d)
	both(c, "Stale", d)
	a, d = own("stale-well", "fresh")
	a.disk(d)
	a, d = own("stale-off", "stopped")
	d.ended = at(hours(10))
	a.disk(d)
	// The age of a disk grows even while the disk cannot be read.
	a, d = own("stale-unreadable", "unreadable")
	d.ended = at(hours(10))
	a.disk(d)
	both(a, "Stale", d)
	unreadable := func(p place, d disk) {
		p.fires("DiskUnreadable", "warning", d.labels()...)
		p.fires("DiskUnreadable", "critical", d.labels()...)
	}
	unreadable(a, d)

	// An unreadable disk of a stopped guest remains silent, but only until the critical limit.
	a, d = own("off-unreadable", "stopped")
	d.ended, d.later = at(hours(10)), "unreadable"
	a.disk(d)
	unreadable(a, d)
	a, d = own("old-unreadable", "stale")
	d.ended, d.later = at(hours(10)), "unreadable"
	a.disk(d)
	both(a, "Stale", d)
	unreadable(a, d)
	// The exporter of the disk's host was restarted, and has forgotten the disk's newest snapshot.
	a, d = own("forgot-unreadable", "stale")
	d.ended, d.later = at(hours(10)), "unreadable"
	a.disk(d)
	for i := range w.series {
		if s := &w.series[i]; s.labels["cluster"] == "forgot-unreadable" && s.name == "snapwatch_disk_newest_snapshot_timestamp_seconds" {
			s.until = 70
		}
	}
	both(a, "Stale", d)
	unreadable(a, d)
	// The newest snapshot of the disk was never known to the exporter.
	a, d = own("none-unreadable", "unreadable")
	d.none = true
	a.disk(d)
	unreadable(a, d)
	// A disk that the configuration ignores raises only a warning while it is unreadable.
	a, d = own("ignored-unreadable", "excluded")
	d.ended, d.later = at(hours(10)), "unreadable"
	a.disk(d)
	a.fires("DiskUnreadable", "warning", d.labels()...)
	a, d = own("old-future", "stale")
	d.ended, d.later = at(hours(10)), "future"
	a.disk(d)
	both(a, "Stale", d)
	a.fires("Future", "warning", d.labels()...)

	// The replication of the disk broke while the guest was off. The guest is running again since
	// the first scrape.
	a, d = own("lag", "fresh")
	a.disk(d)
	c = w.target("c", "lag", "replica")
	d = disk{state: "stopped", origin: "lag", ended: at(hours(10))}
	c.disk(d)
	both(c, "Lag", d)
	// The guest started again after being off for three days, and the replication of its disk
	// worked 40 minutes later.
	a, d = own("lag-well", "fresh")
	d.ended, d.early = at(hours(72)), 130
	a.disk(d)
	c = w.target("c", "lag-well", "replica")
	c.disk(disk{state: "stopped", origin: "lag-well", ended: at(hours(72)), early: 170})
	// The replication broke 40 minutes before the guest was shut down. The alerts about the copy's
	// age and about the copy's lag must fire.
	a, d = own("shutdown", "stopped")
	d.ended = at(hours(10))
	a.disk(d)
	c = w.target("c", "shutdown", "replica")
	d = disk{state: "stale", origin: "shutdown", ended: at(hours(10) - 2400)}
	c.disk(d)
	both(c, "Stale", d)
	both(c, "Lag", d)

	// At one scrape, the clock of the disk's owner was ahead by a year.
	a, d = own("ahead", "fresh")
	d.ended, d.early, d.ahead = at(hours(10)), 5, true
	a.disk(d)
	c = w.target("c", "ahead", "replica")
	d = disk{state: "stopped", origin: "ahead", ended: at(hours(10))}
	c.disk(d)
	both(c, "Lag", d)
	// The newest snapshot of one copy is from the next year. The lag of the other copies must not be
	// measured from this snapshot.
	a, d = own("future-copy", "fresh")
	a.disk(d)
	c = w.target("c", "future-copy", "replica")
	d = disk{state: "stopped", origin: "future-copy", ended: at(hours(10))}
	c.disk(d)
	both(c, "Lag", d)
	b := w.target("b", "future-copy", "replica")
	d = disk{state: "future", origin: "future-copy", ended: at(aYear)}
	b.disk(d)
	b.fires("Future", "warning", d.labels()...)
	a, d = own("future-alone", "stopped")
	d.ended = at(hours(10))
	a.disk(d)
	b = w.target("b", "future-alone", "replica")
	d = disk{state: "future", origin: "future-alone", ended: at(aYear)}
	b.disk(d)
	b.fires("Future", "warning", d.labels()...)
	// The newest snapshot of a copy now has a time in the next year. The alert about the copy's lag
	// must fire in spite of this time.
	a, d = own("future-behind", "fresh")
	a.disk(d)
	c = w.target("c", "future-behind", "replica")
	d = disk{state: "stale", later: "future", origin: "future-behind", ended: at(hours(10)), early: laterFrom, ahead: true, until: laterFrom + 1}
	c.disk(d)
	d.ended, d.early, d.ahead, d.until = at(aYear), 0, false, 0
	c.disk(d)
	both(c, "Lag", d)
	c.fires("Future", "warning", d.labels()...)
	// The exporter of the disk's owner goes down after the paging alert began to fire.
	w.target("b", "lag-owner", "primary")
	a, d = own("lag-owner", "fresh")
	d.until = 110
	a.disk(d)
	a.fires("ExporterDown", "warning")
	for i := range w.series {
		if s := &w.series[i]; s.name == "up" && s.labels.String() == a.labels.String() {
			on := *s
			on.until = d.until
			s.first, s.from = 0, d.until
			w.series = append(w.series, on)
		}
	}
	c = w.target("c", "lag-owner", "replica")
	d = disk{state: "stopped", origin: "lag-owner", ended: at(hours(10))}
	c.disk(d)
	both(c, "Lag", d)

	// The exporter knows the lag from the owner's answer; the owner is not a target here.
	compared := func(cluster, outcome, state string, lag float64) (place, disk) {
		w.target("a", cluster, "primary").disk(disk{state: "fresh"})
		c := w.target("c", cluster, "replica")
		d := disk{state: state, origin: cluster}
		if state != "fresh" {
			d.ended = at(hours(10))
		}
		c.disk(d)
		for _, o := range []string{"in sync", "lagging", "diverged", "no owner", "two owners", "owner unreachable", "owner unreadable", "orphaned"} {
			c.flag("snapwatch_disk_comparison", truth(o == outcome), append(d.labels(), "outcome="+o)...)
		}
		if lag >= 0 {
			c.add("snapwatch_disk_lag_seconds", lag, d.labels()...)
		}
		return c, d
	}
	c, d = compared("told-lag", "lagging", "fresh", 2000)
	c.fires("Lag", "warning", c.alertLabels(d)...)
	compared("told-well", "in sync", "fresh", 60)
	c, d = compared("told-diverged", "diverged", "fresh", -1)
	c.fires("Diverged", "critical", d.labels()...)
	for _, outcome := range []string{"two owners", "no owner", "owner unreadable"} {
		c, d = compared("told-"+strings.ReplaceAll(outcome, " ", "-"), outcome, "fresh", -1)
		c.fires("OwnerUnclear", "warning", append(d.labels(), "outcome="+outcome)...)
	}
	for node, up := range map[string]float64{"https://a": 1, "https://b": 0} {
		c.flag("snapwatch_owner_answers", up, "node="+node)
		if up == 0 {
			c.fires("OwnerSilent", "warning", "node="+node)
		}
	}
	// The disk's owner answered that the guest is alive, and then stopped answering.
	c, d = compared("told-alive", "owner unreachable", "stale", -1)
	d.ended, d.later, d.laterFrom = at(hours(10)), "stopped", 110
	for i := range w.series {
		if s := &w.series[i]; s.labels["cluster"] == "told-alive" && s.labels["instance"] == "c" {
			s.until = map[bool]int{true: d.laterFrom}[s.name == "snapwatch_disk_state"]
		}
	}
	c.disk(d)
	both(c, "Stale", d)
	both(c, "Lag", d)
	// If the owner does not use the disk any more, its copy raises only a warning at any age.
	c, d = compared("orphaned", "orphaned", "orphaned", -1)
	c.fires("Orphaned", "warning", d.labels()...)

	c = w.target("c", "unseen", "replica")
	c.disk(disk{state: "fresh", origin: "unseen"})
	w.want = append(w.want, labels{
		"alertname": "SnapwatchLagNotMeasurable", "alertstate": "firing", "severity": "warning",
		"origin_cluster": "unseen", "origin_dataset": "tank/vm-1-disk-0", "disk": "vm-1-disk-0",
	})
	// A second target with the role replica does not count as an owner.
	c = w.target("d", "unseen", "replica")
	c.disk(disk{state: "fresh", origin: "unseen"})
	a, d = own("seen", "fresh")
	a.disk(d)
	c = w.target("c", "seen", "replica")
	c.disk(disk{state: "fresh", origin: "seen"})

	a, d = own("never", "never")
	d.none = true
	a.disk(d)
	both(a, "Never", d)

	for state, name := range map[string]string{"missing": "Missing", "damaged": "Damaged", "unreadable": "DiskUnreadable", "future": "Future"} {
		severity := "warning"
		if state == "missing" || state == "damaged" {
			severity = "critical"
		}
		a, d = own(state, state)
		a.disk(d)
		a.fires(name, severity, d.labels()...)
		if state == "unreadable" {
			a.fires(name, "critical", d.labels()...)
		}
		a, d = own(state+"-well", "fresh")
		a.disk(d)
	}
	for state, name := range map[string]string{"torn": "GuestTorn", "incomplete": "GuestIncomplete", "damaged": "", "whole": ""} {
		for status, severity := range map[float64]string{1: "warning", 2: "critical"} {
			c = w.target("c", fmt.Sprintf("guest-%s-%s", state, severity), "replica")
			c.disk(disk{state: "stopped"})
			is := []string{"origin_cluster=east", "vmid=1"}
			for _, s := range []string{"torn", "incomplete", "damaged", "stale", "whole"} {
				c.flag("snapwatch_guest_state", truth(s == state), append(is, "state="+s)...)
			}
			// The proof does not depend on the guest's state. Where no drill was made, there are no series.
			if proof := map[string]string{"whole warning": "failed", "whole critical": "old", "damaged warning": "fresh", "damaged critical": "none"}[state+" "+severity]; proof != "" {
				for _, s := range []string{"failed", "old", "fresh", "none"} {
					c.flag("snapwatch_guest_proof_state", truth(s == proof), append(is, "state="+s)...)
				}
				if name := map[string]string{"failed": "GuestProofFailed", "old": "GuestProofOld"}[proof]; name != "" {
					c.fires(name, "warning", is...)
				}
			}
			if state == "whole" {
				c.add("snapwatch_guest_status", 0, is...)
				continue
			}
			c.add("snapwatch_guest_status", status, is...)
			if state == "damaged" { // its disk speaks for it
				continue
			}
			c.fires(name, "warning", is...)
			if severity == "critical" {
				c.fires(name, "critical", is...)
			}
		}
	}
	for severity, absent := range map[string]float64{"warning": 2, "critical": 1, "none": 0} {
		c = w.target("c", "absent-"+severity, "replica")
		c.disk(disk{state: "stopped"})
		for _, s := range []string{"warning", "critical"} {
			c.add("snapwatch_absent_disks", truth(s == severity)*absent, "severity="+s)
		}
		if absent > 0 {
			c.fires("Absent", severity)
		}
	}
	a, d = own("receiving", "receiving")
	d.none = true
	a.disk(d)
	a.fires("ReceivingLong", "warning", d.labels()...)
	a, d = own("stopped", "stopped")
	d.ended = at(hours(721))
	a.disk(d)
	a.fires("StoppedVeryLong", "warning", d.labels()...)

	w.pools(own)

	c = w.target("c", "empty", "replica")
	c.fires("NoDisks", "warning")

	for cluster, skew := range map[string]float64{"clock": 600, "clock-behind": -600, "clock-well": 100} {
		a = w.target("a", cluster, "primary")
		a.world.series = append(a.world.series, series{name: "snapwatch_time_seconds", labels: a.labels, first: skew, step: 60})
		if cluster != "clock-well" {
			a.fires("ClockSkew", "warning")
		}
	}

	runs := func(cluster, job string, last *float64, expected float64) place {
		a := w.target("a", cluster, "primary")
		a.flag("snapwatch_"+job+"_expected", expected)
		if last != nil {
			a.add("snapwatch_"+job+"_last_success_timestamp_seconds", *last)
		}
		return a
	}
	ever := func(p place, metric string) {
		p.world.series = append(p.world.series, series{name: metric, labels: p.labels, step: 60})
	}
	runs("late", "run", at(hours(1)), 1).fires("RunLate", "critical")
	ever(runs("late-well", "run", nil, 1), "snapwatch_run_last_success_timestamp_seconds")
	// Cron starts snap hourly, and the host was off for a night.
	a = runs("hourly", "run", at(2*3600), 1)
	a.add("snapwatch_run_limit_seconds", 3*3600)
	a = runs("hourly-late", "run", at(hours(2)), 1)
	a.add("snapwatch_run_limit_seconds", 3*3600)
	a.fires("RunLate", "critical")
	a = runs("booted", "run", at(hours(10)), 1)
	a.add("snapwatch_run_limit_seconds", 3*3600)
	a.add("snapwatch_boot_timestamp_seconds", 3600)
	a = runs("booted-late", "run", at(hours(10)), 1)
	a.add("snapwatch_boot_timestamp_seconds", hours(1))
	a.fires("RunLate", "critical")
	// The alert rules ignore a host's boot time in the future.
	a = runs("booted-ahead", "run", at(hours(10)), 1)
	a.add("snapwatch_boot_timestamp_seconds", aYear)
	a.fires("RunLate", "critical")
	a = runs("prune-daily", "prune", at(hours(30)), 1)
	a.add("snapwatch_prune_limit_seconds", 2*86400+4*3600)
	a = runs("prune-daily-late", "prune", at(hours(54)), 1)
	a.add("snapwatch_prune_limit_seconds", 2*86400+4*3600)
	a.fires("PruneLate", "warning")
	a = runs("prune-booted", "prune", at(hours(30)), 1)
	a.add("snapwatch_boot_timestamp_seconds", 3600)
	runs("first", "run", nil, 1).fires("RunNever", "critical")
	for cluster, missing := range map[string]float64{"unregistered": 1, "registered": 0} {
		a = w.target("a", cluster, "primary")
		a.flag("snapwatch_run_unregistered", missing)
		if missing == 1 {
			a.fires("SnapNotRegistered", "critical")
		}
	}
	runs("prune", "prune", at(hours(7)), 1).fires("PruneLate", "warning")
	runs("prune-never", "prune", nil, 1).fires("PruneLate", "warning")
	ever(runs("prune-well", "prune", nil, 1), "snapwatch_prune_last_success_timestamp_seconds")
	runs("prune-none", "prune", nil, 0)

	a = w.target("a", "unprotected", "primary")
	a.flag("snapwatch_run_unprotected_disks", 1, "reason=storage")
	a.flag("snapwatch_run_unprotected_disks", 0, "reason=name")
	a.fires("RunningDiskUnprotected", "warning", "reason=storage")
	a = w.target("a", "narrow", "primary")
	a.flag("snapwatch_run_short_of_room", 1, "pool=tank")
	a.flag("snapwatch_run_short_of_room", 0, "pool=ssd")
	a.fires("PoolFull", "warning", "pool=tank")
	a = w.target("a", "locked", "primary")
	a.flag("snapwatch_run_locked_guests", 2)
	a.fires("GuestLocked", "warning")
	a = w.target("a", "frozen", "primary")
	a.flag("snapwatch_run_left_frozen", 1)
	a.fires("GuestLeftFrozen", "critical")
	a = w.target("a", "thawed", "primary")
	a.flag("snapwatch_run_left_frozen", 0)
	a = w.target("a", "locked-well", "primary")
	a.flag("snapwatch_run_locked_guests", 0)
	a = w.target("a", "over", "primary")
	a.flag("snapwatch_maintenance_expired", 1)
	a.fires("MaintenanceExpired", "warning")
	a = w.target("a", "over-well", "primary")
	a.flag("snapwatch_maintenance_expired", 0)
	c = w.target("c", "unmet", "replica")
	c.disk(disk{state: "stopped"})
	c.flag("snapwatch_expect_unmet", 1)
	c.fires("ExpectUnmet", "critical")
	c = w.target("c", "met", "replica")
	c.disk(disk{state: "stopped"})
	c.flag("snapwatch_expect_unmet", 0)
	c = w.target("c", "unmet-unread", "replica")
	c.disk(disk{state: "stopped"})
	c.flag("snapwatch_expect_unmet", 1)
	c.flag("snapwatch_pool_state", 1, "pool=tank", "state=suspended")
	c.fires("PoolUnreadable", "critical", "pool=tank")
	a = w.target("a", "refused", "primary")
	a.flag("snapwatch_config_last_reload_successful", 0)
	a.fires("ConfigRefused", "warning")
	a = w.target("a", "refused-well", "primary")
	a.flag("snapwatch_config_last_reload_successful", 1)
	a = w.target("a", "forgetful", "primary")
	a.flag("snapwatch_memory_kept", 0)
	a.fires("MemoryNotKept", "warning")
	a = w.target("a", "forgetful-well", "primary")
	a.flag("snapwatch_memory_kept", 1)

	// A target is down on each of two sites: on one site another target answers, and on the other
	// site no target answers.
	down := func(p place) place {
		for i := range w.series {
			if s := &w.series[i]; s.name == "up" && s.labels.String() == p.labels.String() {
				s.first = 0
			}
		}
		return p
	}
	w.target("b", "down", "primary")
	down(w.target("a", "down", "primary")).fires("ExporterDown", "warning")
	c = w.target("d", "down", "replica")
	c.disk(disk{state: "stopped"})
	c = down(w.target("c", "down", "replica"))
	c.disk(disk{state: "stopped"})
	c.fires("ReplicaExporterDown", "critical")
	a = down(w.target("a", "dark", "primary"))
	a.fires("ExporterDown", "warning")
	w.want = append(w.want, labels{"alertname": "SnapwatchReplicationSiteDown", "alertstate": "firing", "severity": "critical", "job": "snapwatch", "site": "dark-primary"})

	gone := func(p place) place {
		for i := range w.series {
			if s := &w.series[i]; s.labels.String() == p.labels.String() {
				s.until = 20
			}
		}
		return p
	}
	w.target("b", "left", "primary")
	gone(w.target("a", "left", "primary")).fires("TargetGone", "warning")
	c = w.target("d", "left", "replica")
	c.disk(disk{state: "stopped"})
	gone(w.target("c", "left", "replica")).fires("TargetGone", "critical")

	a = w.target("a", "two", "primary", "host=1")
	a.fires("TargetAmbiguous", "warning")
	a = w.target("a", "two", "primary", "host=2")
	w.series[len(w.series)-1].first = 2000
	a = w.target("a", "roles", "primary")
	a.fires("TargetAmbiguous", "warning")
	c = w.target("a", "roles", "replica", "site=roles-primary")
	c.disk(disk{state: "stopped"})

	// Prometheus scrapes two hosts with the same labels, and so mixes their series.
	a = w.target("a", "alike", "primary")
	w.series[len(w.series)-1].alternate = 1000
	a.fires("TargetAmbiguous", "warning")
	// An exporter that is restarted often must not count as several exporters with the same
	// labels.
	a = w.target("a", "restarted", "primary")
	w.series[len(w.series)-1].step = 60
	w.target("a", "misspelt", "Primary", "site=misspelt-primary").fires("TargetAmbiguous", "warning")
	a = w.target("a", "job", "primary", "job=other")
	a.fires("TargetAmbiguous", "warning")

	for instance, up := range map[string]float64{"prometheus-1": 0, "prometheus-2": 1} {
		f := place{w, labels{"job": "federate", "instance": instance}}
		f.flag("up", up)
		if up == 0 {
			w.want = append(w.want, labels{"alertname": "SnapwatchFederationDown", "alertstate": "firing", "severity": "critical", "job": "federate", "instance": instance})
		}
	}
	w.want = append(w.want, labels{"alertname": "SnapwatchWatchdog", "alertstate": "firing", "severity": "none"})
	return w
}

// copies returns a test world of simulated series that lasts longer than a day, in which C lacks
// required copies.
func copies() *world {
	w := &world{step: 5, scrapes: 12*28 + 1}
	for _, cluster := range []string{"lacks", "has"} {
		w.target("a", cluster, "primary", "copies_of="+cluster).disk(disk{state: "fresh"})
		c := w.target("c", cluster, "replica", "copies_of="+cluster)
		if cluster == "has" {
			c.disk(disk{state: "fresh", origin: cluster})
			continue
		}
		c.disk(disk{state: "fresh", origin: "has"})
		w.want = append(w.want, labels{
			"alertname": "SnapwatchCopyMissing", "alertstate": "firing", "severity": "warning",
			"origin_cluster": cluster, "origin_dataset": "tank/vm-1-disk-0", "disk": "vm-1-disk-0",
		})
	}
	// The replica is down for a quarter of an hour after 20 hours, and another target has the
	// required copy.
	w.target("a", "away", "primary", "copies_of=away").disk(disk{state: "fresh"})
	c := w.target("c", "away", "replica", "copies_of=away")
	c.disk(disk{state: "fresh", origin: "has"})
	for i := range w.series {
		if s := &w.series[i]; s.labels.String() != "" && s.labels["instance"] == "c" && s.labels["cluster"] == "away" && s.until == 0 {
			back := *s
			s.until, back.from = 240, 243
			w.series = append(w.series, back)
			if s.name == "up" {
				off := *s
				off.from, off.until, off.first = 240, 243, 0
				w.series = append(w.series, off)
			}
		}
	}
	w.target("d", "away", "replica", "copies_of=away").disk(disk{state: "fresh", origin: "away"})
	w.want = append(w.want, labels{
		"alertname": "SnapwatchCopyMissing", "alertstate": "firing", "severity": "warning",
		"origin_cluster": "away", "origin_dataset": "tank/vm-1-disk-0", "disk": "vm-1-disk-0",
	})
	// An owner that the exporter asks has not answered for more than a day.
	c.flag("snapwatch_owner_answers", 0, "node=https://a")
	c.fires("OwnerSilent", "warning", "node=https://a")
	c.fires("OwnerSilent", "critical", "node=https://a")
	// The alert SnapwatchCopyMissing must fire although a second target with the label copies_of does
	// not answer.
	dead := w.target("dead", "lacks", "replica", "copies_of=lacks")
	for i := range w.series {
		if s := &w.series[i]; s.name == "up" && s.labels["instance"] == "dead" {
			s.first = 0
		}
	}
	dead.fires("ReplicaExporterDown", "critical")
	w.want = append(w.want, labels{"alertname": "SnapwatchWatchdog", "alertstate": "firing", "severity": "none"})
	return w
}

// byRole contains the alerts that depend on the role of a target. The role label is not varied in
// tests of alerts that depend on it.
var byRole = []string{"NoDisks", "LagNotMeasurable", "ReplicaExporterDown", "ExporterDown", "TargetGone", "TargetAmbiguous", "ReplicationSiteDown"}

// variants returns functions that change a test world: afterwards the world has the series that
// Prometheus would store if it scraped the same targets in a different way.
func variants() map[string]func(world) world {
	each := func(change func(series, world) []series) func(world) world {
		return func(w world) world {
			var all []series
			for _, s := range w.series {
				all = append(all, change(s, w)...)
			}
			w.series = all
			return w
		}
	}
	doubled := func(one, other string) func(world) world {
		return each(func(s series, _ world) []series {
			twin := s
			s.labels, twin.labels = s.labels.with(one), s.labels.with(other)
			return []series{s, twin}
		})
	}
	hourly := func(w world, minute int) func(int) bool {
		return func(scrape int) bool { return scrape*w.step%60 == minute/w.step*w.step }
	}
	// split ends a series each hour and continues its values with other labels.
	split := func(s series, w world, other func(labels) labels) (all []series) {
		until := s.until
		if until == 0 {
			until = w.scrapes
		}
		hour := 60 / w.step
		for from, turn := s.from, 0; from < until; turn++ {
			part := s
			part.from, part.until = from, min(until, (from/hour+1)*hour)
			if turn%2 == 1 {
				part.labels = other(s.labels)
			}
			all = append(all, part)
			from = part.until
		}
		return all
	}
	all := map[string]func(world) world{
		"plain":                func(w world) world { return w },
		"C listed twice":       each(listedTwice),
		"an HA pair federated": doubled("prometheus_replica=a", "prometheus_replica=b"),
		"half of an HA pair is blind": each(func(s series, _ world) []series {
			twin := s
			s.labels, twin.labels, twin.first = s.labels.with("prometheus_replica=a"), s.labels.with("prometheus_replica=b"), 0
			if s.name != "up" {
				return []series{s}
			}
			return []series{s, twin}
		}),
		"a sample an hour is lost":  each(func(s series, w world) []series { s.lost = hourly(w, 35); return []series{s} }),
		"a sample an hour is wrong": each(func(s series, w world) []series { s.wrong = hourly(w, 50); return []series{s} }),
		"a label changes": each(func(s series, w world) []series {
			return split(s, w, func(l labels) labels { return l.with("rack=2") })
		}),
		"another label of a disk does": each(nodeChanges(split)),
		"a role changes": func(w world) world {
			keep := map[string]bool{} // the clusters for which the role decides
			for _, l := range w.want {
				if slices.Contains(byRole, strings.TrimPrefix(l["alertname"], "Snapwatch")) {
					keep[l["cluster"]], keep[l["origin_cluster"]] = true, true
					keep[strings.TrimSuffix(l["site"], "-primary")] = true
				}
			}
			other := map[string]string{"primary": "replica", "replica": "primary"}
			return each(func(s series, w world) []series {
				if keep[s.labels["cluster"]] || s.labels["role"] == "replica" || !hasDisk(w, s.labels) {
					return []series{s}
				}
				return split(s, w, func(l labels) labels { return l.with("role=" + other[l["role"]]) })
			})(w)
		},
		"targets at fault are gone": targetsGone,
		"two sites of the same names": func(w world) world {
			for _, s := range w.series {
				s.labels = elsewhere(s.labels)
				w.series = append(w.series, s)
			}
			for _, l := range w.want {
				if l["alertname"] != "SnapwatchWatchdog" {
					w.want = append(w.want, elsewhere(l))
				}
			}
			return w
		},
	}
	all["at once"] = func(w world) world {
		for _, name := range []string{"a label changes", "another label of a disk does", "a sample an hour is lost", "a sample an hour is wrong", "an HA pair federated"} {
			w = all[name](w)
		}
		return w
	}
	return all
}

// targetsGone removes the targets with faults from Prometheus' service discovery hours before the
// last scrape.
func targetsGone(w world) world {
	sick := map[string]bool{}
	for _, l := range w.want {
		sick[l["cluster"]], sick[l["origin_cluster"]], sick[strings.TrimSuffix(l["site"], "-primary")] = true, true, true
	}
	delete(sick, "")
	want := map[string]labels{}
	for i := range w.series {
		s := &w.series[i]
		l := s.labels
		if !sick[l["cluster"]] {
			continue
		}
		if end := w.scrapes - max(120/w.step, w.scrapes/4); s.until == 0 || s.until > end {
			s.until = end
		}
		s.from = min(s.from, s.until)
		if l["job"] != "snapwatch" {
			continue
		}
		gone := place{labels: l}.id().with("alertname=SnapwatchTargetGone", "alertstate=firing", "severity=warning")
		if l["role"] == "replica" {
			want[gone.String()+"critical"] = gone.with("severity=critical")
		} else {
			want[gone.String()] = gone
		}
		dark := labels{"alertname": "SnapwatchReplicationSiteDown", "alertstate": "firing", "severity": "critical", "job": l["job"], "site": l["site"]}
		want[dark.String()] = dark
	}
	for key := range want {
		if _, both := want[key+"critical"]; both {
			delete(want, key)
		}
	}
	for _, l := range w.want {
		if l["alertname"] == "SnapwatchWatchdog" || l["job"] == "federate" {
			want[l.String()] = l
		}
	}
	w.want = slices.Collect(maps.Values(want))
	return w
}

// listedTwice adds each series of a replica a second time, as if Prometheus scraped the replica
// also with the label copies_of.
func listedTwice(s series, _ world) []series {
	twin := s
	twin.labels = s.labels.with("copies_of=elsewhere")
	return []series{s, twin}
}

func hasDisk(w world, target labels) bool {
	return slices.ContainsFunc(w.series, func(s series) bool {
		return s.name == "snapwatch_disk_info" && s.labels["cluster"] == target["cluster"] && s.labels["instance"] == target["instance"]
	})
}

// nodeChanges changes the node labels of series as if the guests of all disks moved to another
// node and back.
func nodeChanges(split func(series, world, func(labels) labels) []series) func(series, world) []series {
	return func(s series, w world) []series {
		if s.name != "snapwatch_disk_info" {
			return []series{s}
		}
		return split(s, w, func(l labels) labels { return l.with("node=b") })
	}
}

func elsewhere(l labels) labels {
	l = maps.Clone(l)
	if l["cluster"]+l["site"]+l["origin_cluster"] == "" {
		l["instance"] = "other-" + l["instance"]
	}
	for _, key := range []string{"cluster", "site", "origin_cluster", "copies_of"} {
		if l[key] != "" {
			l[key] = "other-" + l[key]
		}
	}
	return l
}

// file returns the simulated series and the expected alerts as a test for promtool. In the last 45
// minutes of the series, every wanted alert must fire all the time, and no other alert may fire.
func (w world) file(t *testing.T) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [%q]\nevaluation_interval: %dm\ntests:\n  - interval: %dm\n    input_series:\n", abs(t, "prometheus/snapwatch.rules.yml"), w.step, w.step)
	for key, values := range w.joined() {
		fmt.Fprintf(&b, "      - {series: '%s', values: '%s'}\n", key, values)
	}
	last := (w.scrapes - 1) * w.step
	fmt.Fprintf(&b, "    promql_expr_test:\n      - expr: 'count_over_time(ALERTS{alertstate=\"firing\"}[45m]) >= bool %d'\n        eval_time: %dm\n        exp_samples:\n", 45/w.step, last)
	for _, l := range w.want {
		fmt.Fprintf(&b, "          - {labels: '%s', value: 1}\n", l)
	}
	return b.String()
}

// joined returns the values of all series by their labels; the parts of a series that was split
// are joined.
func (w world) joined() map[string]string {
	parts := map[string][]series{}
	for _, s := range w.series {
		key := s.name + s.labels.String()
		parts[key] = append(parts[key], s)
	}
	all := map[string]string{}
	for key, list := range parts {
		words := slices.Repeat([]string{"_"}, w.scrapes+1)
		for _, s := range list {
			at := s.from
			for i, word := range strings.Fields(s.values(w)) {
				if i == 0 && s.from > 0 {
					continue
				}
				if words[at] == "_" || words[at] == "stale" {
					words[at] = word
				}
				at++
			}
		}
		all[key] = shorter(words)
	}
	return all
}

// shorter returns the words, with promtool's short notation in place of repeated values of a
// series.
func shorter(words []string) string {
	var out []string
	for i := 0; i < len(words); {
		n := 1
		for i+n < len(words) && words[i+n] == words[i] {
			n++
		}
		switch {
		case words[i] == "_":
			out = append(out, fmt.Sprintf("_x%d", n))
		case n == 1 || words[i] == "stale":
			out = append(out, slices.Repeat([]string{words[i]}, n)...)
		default:
			out = append(out, fmt.Sprintf("%sx%d", words[i], n-1))
		}
		i += n
	}
	return strings.Join(out, " ")
}

// In every way of scraping, every alert must fire for its fault, and only for a fault.
func TestTheSameAlertsFireHoweverTargetsAreScraped(t *testing.T) {
	tested := map[string]bool{}
	for name, make := range map[string]func() *world{"faults": faults, "copies": copies} {
		for _, l := range make().want {
			tested[l["alertname"]] = true
		}
		for variant, change := range variants() {
			t.Run(name+", "+variant, func(t *testing.T) {
				if testing.Short() && variant != "at once" && variant != "targets at fault are gone" {
					t.Skip("each alone is played at night")
				}
				t.Parallel()
				file := write(t, t.TempDir()+"/world.yml", change(*make()).file(t))
				tool(t, "promtool", "test", "rules", file)
			})
		}
	}
	alerts, _ := rules(t)
	for _, a := range alerts {
		// The alerts NoTargets, which needs a Prometheus without targets, and PoolFilling, which
		// needs days, are tested in snapwatch.rules.test.yml.
		if a.Alert != "SnapwatchNoTargets" && a.Alert != "SnapwatchPoolFilling" {
			assert.True(t, tested[a.Alert], "%s is in no world", a.Alert)
		}
	}
}

// The alert SnapwatchWatchdog must end if Prometheus' relabelling drops a label or metric of
// disks that the alert rules need, for all targets or for one target.
func TestTheWatchdogEndsWhereTheRulesAreBlind(t *testing.T) {
	needed := []string{"disk_newest_snapshot_timestamp_seconds", "disk_info", "disk_limit_seconds", "disk_state", "disk_newest_snapshot_suffix"}
	for _, dropped := range append(needed, "", "disk_created_timestamp_seconds") {
		for _, instance := range []string{"a", "b", ""} {
			w := &world{step: 5, scrapes: 13}
			for _, name := range []string{"a", "b"} {
				p := w.target(name, name, "primary")
				p.disk(disk{state: "fresh"})
				p.add("snapwatch_disk_newest_snapshot_age_seconds", 60, disk{}.labels()...)
			}
			w.series = slices.DeleteFunc(w.series, func(s series) bool {
				return s.name == "snapwatch_"+dropped && (instance == "" || s.labels["instance"] == instance)
			})
			if !slices.Contains(needed, dropped) {
				w.want = []labels{{"alertname": "SnapwatchWatchdog", "alertstate": "firing", "severity": "none"}}
			}
			t.Run(dropped+" of "+instance, func(t *testing.T) {
				t.Parallel()
				tool(t, "promtool", "test", "rules", write(t, t.TempDir()+"/world.yml", w.file(t)))
			})
		}
	}
}
