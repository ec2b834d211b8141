//go:build deploy

package sim

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// samples contains the values of each Prometheus series by tick; NaN means that the series has no
// value at this tick.
type samples map[string][]float64

// record is the record of a simulated week: the values that Prometheus scrapes from the exporters,
// and the verdicts of check.
type record struct {
	w      *World
	ticks  int
	series samples
	tests  []string
	// stale has, by disk and severity, the number of consecutive runs of check that found the disk
	// stale. wait is the number of runs of check in the time "for" of the alert rule, after which
	// the alert fires. After a clock error, the test cannot know for some runs of check whether the
	// alert fires. blind is the number of such runs that will still follow.
	stale       map[string]int
	wait, blind int
	// silent is true, by dataset, if the rules raised no alert about the disk when the disk was
	// last read. If silent is true, the rules raise no alert about the disk while the disk cannot
	// be read.
	silent map[string]bool
	// stopped has, by dataset, an entry for each disk whose newest snapshot is a _stopped one: this
	// snapshot, and the tick of the first run of check that saw the snapshot.
	stopped map[string]stoppedSince
}

type stoppedSince struct {
	guid uint64
	tick int
}

func (r *record) set(tick int, name, labels string, value float64) {
	key := fmt.Sprintf(`%s{job="snapwatch",%s}`, name, labels)
	if r.series[key] == nil {
		r.series[key] = make([]float64, r.ticks)
		for i := range r.series[key] {
			r.series[key][i] = math.NaN()
		}
	}
	r.series[key][tick] = value
}

// secondsAt returns a time in seconds since the start of the week, because the time of a promtool
// test begins at 0.
func (r *record) secondsAt(t time.Time) float64 { return float64(t.Unix() - r.begin().Unix()) }

func (r *record) begin() time.Time { return r.w.Start.Add(Tick + 10*time.Minute) }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// host adds to the record the series that the exporter of one simulated host serves at a tick.
func (r *record) host(tick int, target string, report checker.Report, owns func(vmid int) bool) {
	r.set(tick, "snapwatch_time_seconds", target, r.secondsAt(report.Now))
	for _, p := range report.Pools {
		for _, row := range checker.PoolVerdicts() {
			state, holds := p.Holds(row.Verdict)
			r.set(tick, "snapwatch_pool_state", target+fmt.Sprintf(",pool=%q,state=%q", p.Name, row.Name), truth(holds))
			r.set(tick, "snapwatch_pool_status", target+fmt.Sprintf(",pool=%q,state=%q", p.Name, row.Name), float64(state))
		}
	}
	for _, d := range report.Disks {
		labels := target + fmt.Sprintf(",pool=%q,dataset=%q,disk=%q,vmid=\"%d\"", zfs.Pool(d.Dataset), d.Dataset, d.Name(), d.VMID)
		if d.Newest != nil {
			r.set(tick, "snapwatch_disk_newest_snapshot_timestamp_seconds", labels, r.secondsAt(d.Newest.Creation))
		}
		for _, row := range checker.Verdicts() {
			r.set(tick, "snapwatch_disk_state", labels+fmt.Sprintf(",state=%q", row.Name), truth(row.Verdict == d.Verdict))
		}
		r.set(tick, "snapwatch_disk_newest_snapshot_suffix", labels+`,suffix="stopped"`, truth(d.Suffix() == zfs.Stopped.String()))
		r.set(tick, "snapwatch_disk_created_timestamp_seconds", labels, r.secondsAt(d.Created))
		r.set(tick, "snapwatch_disk_max_initial_receive_seconds", labels, r.w.policy.MaxInitialReceive.Range.End)
		r.set(tick, "snapwatch_disk_max_stopped_age_seconds", labels, r.w.policy.MaxStoppedAge.Range.End)
		r.set(tick, "snapwatch_disk_limit_seconds", labels+`,severity="warning"`, d.Warning.Range.End)
		r.set(tick, "snapwatch_disk_limit_seconds", labels+`,severity="critical"`, d.Critical.Range.End)
		cluster, origin := "", ""
		r.set(tick, "snapwatch_disk_owned", labels, truth(owns(d.VMID)))
		if name, copied := strings.CutPrefix(d.Dataset, "vault/"); copied {
			cluster, origin = "east", name
		}
		r.set(tick, "snapwatch_disk_info", labels+fmt.Sprintf(",id=\"guest/%d\",node=%q,origin_cluster=%q,origin_dataset=%q", d.VMID, d.Running.Own(), cluster, origin), 1)
	}
}

// lookAt returns the report of a node's own exporter.
func (w *World) lookAt(n *node) checker.Report {
	now := n.clock(w.now)
	pools := map[string]*checker.Pool{"tank": {Name: "tank", ReadAt: now}, "ssd": {Name: "ssd", ReadAt: now}}
	for name, p := range pools {
		if w.tick < n.pools[name].suspended {
			p.Problem = "suspended"
		}
	}
	for _, name := range sortedNames(n.sets) {
		d, p := n.sets[name], pools[zfs.Pool(name)]
		k := checker.Disk{Dataset: name, VMID: w.parse(name).vmid, Template: w.parse(name).kind == zfs.TemplateDisk, GUID: d.guid, Created: d.created, Receiving: d.seeding, PendingReceive: d.token, Running: d.running, ReadAt: now, HostClock: later(now, d.changed), Problem: p.Problem}
		if s, any := d.newestManaged(); any {
			k.Newest = &s
		}
		p.Disks = append(p.Disks, k)
	}
	return checker.Assemble([]checker.Pool{*pools["ssd"], *pools["tank"]}, w.policy, now).WithGuests(w.policy)
}

func (r *record) tick(report checker.Report) {
	w, tick := r.w, r.w.tick
	if w.now.Before(r.begin()) {
		return // this check of C happened before the recorded week begins
	}
	vault := `instance="c",cluster="vault",site="vault",role="replica"`
	r.set(tick, "up", vault, 1)
	r.host(tick, vault, report, func(int) bool { return false })
	for _, n := range w.nodes {
		target := fmt.Sprintf(`instance=%q,cluster="east",site="office",role="primary"`, n.name)
		if w.tick < n.down {
			r.set(tick, "up", target, 0)
			continue
		}
		r.set(tick, "up", target, 1)
		r.host(tick, target, w.lookAt(n), func(vmid int) bool {
			g := w.guests[vmid]
			return g != nil && !g.gone && w.nodes[g.home] == n
		})
		r.set(tick, "snapwatch_run_expected", target, 1)
		r.set(tick, "snapwatch_run_last_success_timestamp_seconds", target, r.secondsAt(n.report.last.LastSuccess))
	}
	r.expect(tick, report)
}

// owned returns the newest managed snapshot of the disk of which d is a copy, nil if the owner does
// not have that disk.
func (w *World) owned(d checker.Disk) *zfs.Snapshot {
	src := w.source(w.guests[d.VMID], strings.TrimPrefix(d.Dataset, "vault/"))
	if src == nil {
		return nil
	}
	newest, _ := src.newestManaged()
	return &newest
}

// lagSeen reports whether Prometheus has had time to see that a copy lags for longer than the
// limit. If the copy's newest snapshot is a _stopped one, Prometheus counts the lag from its first
// scrape of this snapshot.
func (r *record) lagSeen(tick int, d checker.Result) bool {
	if d.Newest == nil {
		return false
	}
	if class, _ := d.Newest.Class(); class != zfs.Stopped {
		return true
	}
	known := r.stopped[d.Dataset]
	if known.guid != d.Newest.GUID {
		known = stoppedSince{d.Newest.GUID, tick}
		r.stopped[d.Dataset] = known
	}
	const limit = 26 // in ticks: six hours, plus the delay of scrapes and evaluations
	return tick-known.tick > limit
}

// expect records which alerts of the alert rules must fire, to agree with the report of check.
func (r *record) expect(tick int, report checker.Report) {
	w := r.w
	if w.c.skew != 0 {
		r.stale, r.blind = map[string]int{}, r.wait // check reads C's clock, the rules use Prometheus' own
		return
	}
	var stale, fire, other []string
	count := map[string]int{}
	for _, d := range report.Disks {
		dataset := fmt.Sprintf("dataset=%q", d.Dataset)
		r.silent[d.Dataset] = r.isSilent(d)
		if old := d.Newest != nil && w.now.Sub(d.Newest.Creation).Seconds() > d.Warning.Range.End; d.Verdict == checker.Stale || (old && !r.silent[d.Dataset]) {
			stale = append(stale, dataset+`,severity="warning"`)
			if w.now.Sub(d.Newest.Creation).Seconds() > d.Critical.Range.End {
				stale = append(stale, dataset+`,severity="critical"`)
			}
		}
		switch {
		case d.Verdict == checker.Never && d.Level > checker.Within:
			other = append(other, `alertname="SnapwatchNever",`+dataset)
		case d.Verdict == checker.Missing:
			other = append(other, `alertname="SnapwatchMissing",`+dataset)
		case d.Verdict == checker.Orphaned:
			other = append(other, `alertname="SnapwatchOrphaned",`+dataset)
		case d.Verdict == checker.Receiving && d.Level > checker.Within:
			other = append(other, `alertname="SnapwatchReceivingLong",`+dataset)
		}
		// The command check knows since when a copy has lagged. The alert rules know only the
		// difference in age between the owner's newest snapshot and the copy's newest snapshot, so
		// the rules do not alarm for a guest that ran for only a few hours.
		src := w.owned(d.Disk)
		if d.Compared.Outcome == checker.Lagging && src != nil && src.Creation.Sub(d.Newest.Creation) > 6*time.Hour && r.lagSeen(tick, d) {
			r.ask(tick, fmt.Sprintf(`count by (severity) (ALERTS{alertname="SnapwatchLag",instance="c",%s,severity="warning"})`, dataset), []string{`severity="warning"`})
			if d.Compared.State == checker.Critical {
				r.ask(tick, fmt.Sprintf(`count by (severity) (ALERTS{alertname="SnapwatchLag",instance="c",%s,severity="critical"})`, dataset), []string{`severity="critical"`})
			}
		}
	}
	for _, s := range stale {
		if count[s] = r.stale[s] + 1; count[s] > r.wait {
			fire = append(fire, s)
		}
	}
	r.ask(tick, `count by (dataset, severity) (ALERTS{alertname="SnapwatchStale",instance="c"})`, stale)
	if r.blind--; r.blind < 0 {
		r.ask(tick, `count by (dataset, severity) (ALERTS{alertname="SnapwatchStale",instance="c",alertstate="firing"})`, fire)
	}
	r.ask(tick, `count by (alertname, dataset) (max by (alertname, dataset) (ALERTS{alertname=~"SnapwatchNever|SnapwatchMissing|SnapwatchOrphaned|SnapwatchReceivingLong",instance="c"}))`, other)
	for _, n := range w.nodes {
		if w.tick >= n.down && n.skew == 0 && w.now.Sub(n.report.last.LastSuccess) > 45*time.Minute && n.report.last.LastSuccess.Before(w.now) {
			r.ask(tick, fmt.Sprintf(`count by (alertname) (ALERTS{alertname="SnapwatchRunLate",instance=%q})`, n.name), []string{`alertname="SnapwatchRunLate"`})
		}
	}
	r.stale = count
}

// isSilent reports whether the alert rules raise no alert about the disk's age. For a disk that
// cannot be read, or whose age cannot be trusted, isSilent returns the result of the disk's last
// good reading.
func (r *record) isSilent(d checker.Result) bool {
	switch d.Verdict {
	case checker.Missing, checker.Receiving, checker.Excluded, checker.Stopped, checker.Orphaned:
		return true
	case checker.Unreadable, checker.Future:
		return r.silent[d.Dataset]
	}
	return false
}

func (r *record) ask(tick int, expr string, want []string) {
	text := fmt.Sprintf("      - {expr: '%s', eval_time: %dm, exp_samples: [", expr, tick*15)
	for _, labels := range want {
		text += fmt.Sprintf("{labels: '{%s}', value: 1},", labels)
	}
	r.tests = append(r.tests, text+"]}")
}

// file returns the recorded week as a test file for promtool.
func (r *record) file(rules string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [%q]\nevaluation_interval: 15m\ntests:\n  - interval: 15m\n    input_series:\n", rules)
	for key, values := range r.series {
		fmt.Fprintf(&b, "      - {series: '%s', values: '%s'}\n", key, runs(values))
	}
	fmt.Fprintf(&b, "    promql_expr_test:\n%s\n", strings.Join(r.tests, "\n"))
	return b.String()
}

// runs returns the values of a series in promtool's notation, in which one item stands for equal
// values that follow one another.
func runs(values []float64) string {
	var words []string
	same := func(a, b float64) bool { return a == b || math.IsNaN(a) && math.IsNaN(b) }
	for i := 0; i < len(values); {
		n := 1
		for i+n < len(values) && same(values[i], values[i+n]) {
			n++
		}
		switch {
		case math.IsNaN(values[i]):
			words = append(words, fmt.Sprintf("_x%d", n))
		case n == 1:
			words = append(words, fmt.Sprintf("%.0f", values[i]))
		default:
			words = append(words, fmt.Sprintf("%.0fx%d", values[i], n-1))
		}
		i += n
	}
	return strings.Join(words, " ")
}

// At every run of check on C, the command check and the alert rules agree about every disk, except
// that the alert rules wait for some time before they fire. Prometheus' own engine evaluates the
// rules.
func TestRulesAgree(t *testing.T) {
	rules, err := filepath.Abs("../../deploy/prometheus/snapwatch.rules.yml")
	require.NoError(t, err)
	var asked atomic.Int64
	t.Cleanup(func() { t.Logf("%d weeks from seed %d on, %d questions", *manyWeeks, *firstSeed, asked.Load()) })
	for i := range *manyWeeks {
		seed := *firstSeed + i
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			setup, steps := anyWeek(seed)
			w := NewWorld(setup)
			r := &record{w: w, ticks: weeks, series: samples{}, stale: map[string]int{}, silent: map[string]bool{}, stopped: map[string]stoppedSince{}, wait: staleFor(t, rules)}
			w.observe = r.tick
			w.Play(weeks, steps)
			require.Empty(t, w.Fail, "%s", w.Story())
			path := filepath.Join(t.TempDir(), "week.yml")
			require.NoError(t, os.WriteFile(path, []byte(r.file(rules)), 0o644))
			out, err := exec.Command("promtool", "test", "rules", path).CombinedOutput()
			require.NoError(t, err, "%s\n%s", clip(string(out)), w.Story())
			asked.Add(int64(len(r.tests)))
		})
	}
}

// staleFor returns the number of further runs of check after which the alert rule for stale disks
// fires.
func staleFor(t *testing.T, rules string) int {
	t.Helper()
	text, err := os.ReadFile(rules)
	require.NoError(t, err)
	found := regexp.MustCompile(`(?s)alert: SnapwatchStale\n.*?\n {8}for: (\w+)`).FindSubmatch(text)
	require.NotNil(t, found)
	wait, err := time.ParseDuration(string(found[1]))
	require.NoError(t, err)
	return int((wait + Tick - 1) / Tick)
}

func clip(s string) string { return s[:min(len(s), 3000)] }
