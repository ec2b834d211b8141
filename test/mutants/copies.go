package main

// copyMutants are the mutants of the verdicts about copies, of the alert rules, and of commands
// that a person types.
var copyMutants = []mutant{
	// Mutants of the verdicts about a copy.
	{"checker/judge.go", `class != zfs.Stopped || c.pendingLong() || c.labelledRunning()`, `class != zfs.Stopped || c.labelledRunning()`, "stay silent while a receive is pending"},
	{"checker/judge.go", `warning.exceeded(max(0, c.now.Sub(d.PendingSince)))`, `warning.exceeded(0)`, "never alarm for a receive that is pending"},
	{"checker/judge.go", `c.disk.NoSnap.Excludes() && c.disk.Owned == Owned`, `c.disk.NoSnap.Excludes()`, "let a received label silence a copy"},
	{"checker/judge.go", `c.disk.BareClone() && c.disk.Owned == NotOwned`, `c.disk.BareClone()`, "mistake a guest's linked clone for a trial"},
	{"checker/filter.go", `p.Problem != "" && f.mayHold(p.Name)`, `false`, "accept a pool that was not read"},
	{"checker/compare.go", `o.Newest.GUID == d.Newest.GUID && o.Alive &&`, `false &&`, "accept a _stopped snapshot as proof while the guest runs"},
	{"checker/compare.go", `case o.Presence == Absent && o.NeverHad:`, `case false:`, "believe a snapshot that the owner never had"},
	{"checker/clusters.go", `				e.Foreign = true`, `				e.Foreign = false`, "ask one cluster about another's disk"},
	{"checker/scan/inventory.go", `later || s.Forgot(*d, now)`, `later`, "remember what was forgotten"},
	{"checker/scan/seenreading.go", `d.pool == pool.Name && `, ``, "treat a disk in a pool that was split off as the renamed disk"},
	{"checker/scan/seenreading.go", ` && !d.at.Before(disk.Since)`, ``, "accept an older reading of a disk as its new name"},
	{"checker/scan/inventory.go", ` && !disk.lookedFor(pool)`, ` && pool.ReadAt.IsZero()`, "call a disk missing that appeared after its pool was last read"},
	{"checker/scan/poolnames.go", `		moved.Disks[to] = disk`, `		_ = to`, "forget missing disks when their pool is imported under another name"},
	{"checker/scan/inventory.go", `names[disk.Pool] == ""`, `names[disk.Pool] != ""`, "call a pool missing under its old name"},
	{"checker/judge.go", `ahead > clockSlack {`, `ahead > 100*clockSlack {`, "believe a snapshot of the future"},
	{"checker/judge.go", `return c.disk.HostClock.After(c.now.Add(clockSlack))`, `return false && c.disk.HostClock.After(c.now.Add(clockSlack))`, "trust a clock that was set back"},
	{"checker/withowners.go", `c.Outcome == OutcomeOrphaned && (d.Verdict == Stale || d.Verdict == Never)`, `d.Verdict == Stale || d.Verdict == Never`, "call any stale disk orphaned"},
	{"checker/judge.go", `	case Stopped:
		return c.stopped()
	case Stale:
		return c.stale()`, `	case Stopped:
		return c.stale()
	case Stale:
		return c.stopped()`, "swap two verdicts"},
	{"checker/scan/cache.go", `return k.Changed != 0`, `return true`, "keep in the cache file an entry that only a name identifies"},
	{"checker/scan/cache.go", `> minChangeAge {`, `> 0 {`, "cache a snapshot list that may still change within the same second"},
	{"checker/scan/cache.go", `ok && found.key == key`, `ok && found.key.GUID == key.GUID`, "use the cache entry of a dataset that has changed"},
	{"checker/judge.go", `!c.disk.Gone || excluded {`, `!c.disk.Gone || !excluded {`, "not report a missing disk"},
	{"checker/verdict.go", `[3]State{Warning, Warning, Critical}, [3]string{"yellow", "yellow", "red"},
		"its newest managed snapshot is older than a limit"`, `[3]State{Warning, Warning, Warning}, [3]string{"yellow", "yellow", "red"},
		"its newest managed snapshot is older than a limit"`, "never call a stale disk critical"},
	{"checker/policy.go", `	case critical.exceeded(age):
		return BeyondCritical, critical
	case`, `	case critical.exceeded(age) && !warning.exceeded(age):
		return BeyondCritical, critical
	case`, "ask for the warning first"},
	{"checker/lag.go", `max(0, e.Newest.Creation.Sub(d.Newest.Creation))`, `max(0, d.Newest.Creation.Sub(e.Newest.Creation))`, "measure the lag backwards"},
	{"checker/lag.go", `max(0, e.Now.Sub(e.BehindSince))`, `max(0, e.BehindSince.Sub(e.Now))`, "measure backwards how long a copy has been behind"},
	{"checker/scan/lag.go", `found && len(before) > 0 && !ahead`, `found && !ahead`, "trust a history whose beginning is lost"},
	{"checker/scan/lag.go", `found && len(before) > 0 && !ahead`, `found && len(before) > 0 && (!ahead || ahead)`, "let a snapshot from the future say since when a copy lags"},
	{"checker/compare.go", `case o.Presence == Absent && !d.Newest.Creation.Before(o.Newest.Creation):`, `case false:`, "not see that a copy diverged"},
	{"checker/ownership.go", `e.Owned == Owned && !e.isReplica(d)`, `e.Owned != NotOwned && !e.isReplica(d)`, "treat a node that does not know the guest as the owner"},
	{"checker/compare.go", `	case len(failed) > 0:`, `	case false:`, "call a disk orphaned while a node does not answer"},
	{"checker/withowners.go", `d.Compared, d.State, d.Evidence = &c, Worst(d.State, c.State),`, `d.Compared, d.State, d.Evidence = &c, c.State,`, "let a comparison make a verdict better"},
	{"checker/withowners.go", `case d.Verdict == Stopped && c.Alive:`, `case false:`, "call a disk stopped whose guest lives"},
	{"checker/lag.go", `return e.About != nil && d.Newest != nil && e.About.GUID != d.Newest.GUID`, `return false`, "compare an answer with another snapshot than the one asked about"},
	{"checker/guestpoint.go", `if last.Sub(first) > apartFor {`, `if last.Sub(first) > 100*apartFor {`, "treat one time of two clocks as the same moment"},
	{"checker/guestpoint.go", `best == nil || first.After(newest)`, `best == nil || first.Before(newest)`, "name an older restore point than the newest"},
	{"checker/guestapart.go", `return min(c.age, max(0, c.now.Sub(since)))`, `return c.age`, "call a guest torn as soon as the guest starts after days"},
	{"checker/judgeguest.go", `if !c.snapshots || !c.agreed {
		return match{}, false
	}
	level := Within`, `if !c.snapshots {
		return match{}, false
	}
	level := Within`, "call a guest stopped although one disk has run since"},
	{"checker/guestquestion.go", `d.Looked == nil || d.Looked.Among != among`, `d.Looked == nil || among == ""`, "use a result for other disks than the ones looked up"},
	{"checker/owned.go", `warning.exceeded(max(0, age)))`, `!warning.exceeded(-age))`, "call a new disk missing"},
	{"checker/owned.go", `copies[d.Dataset] || d.Newest`, `d.Newest`, "count two copies of one disk as two disks"},
	{"checker/scan/guestlook.go", `if best || before {`, `if best || before || row != nil {`, "accept an older restore point than the newest"},
	{"checker/scan/guestcache.go", `if !e.sensible(disks) {`, `if false {`, "call a guest torn by a line of the cache that makes no sense"},
	{"checker/scan/guests.go", `g.eachPool(ctx, g.toList, g.scanner.listing,`, `g.eachPool(ctx, g.toList, g.scanner.asking,`, "list guests' disks beside a scan"},
	{"checker/scan/guestconfig.go", `switch sum {
	case known.Sum: `, `switch sum {
	case known.Sum, sum: `, "mistake a guest's new configuration for the one before"},
	{"checker/scan/owners.go", `if d.Left.IsZero() || d.Left.After(now) {`, `if true {`, "never report long enough that no owner has the disk"},
	{"checker/former.go", `if n.Failure != "" || len(n.Unread) > 0 {`, `if len(n.Unread) > 0 {`, "call a disk missing that a silent node may have"},
	{"checker/keptconfig.go", ` || here[name] == 0 && !certain[storageName(v)]`, ` || here[name] == 0 && !certain[storageName(v)] && name == ""`, "miss a disk that ZFS does not hold"},
	{"checker/scan/guestconfig.go", `for at := len(kept); at > 0; at-- {`, `for at := len(kept); at == len(kept); at-- {`, "forget a guest's configuration for a reference to one that was not sent"},
	{"checker/scan/owners.go", `len(n.Unread) > 0 && d.Left.IsZero()`, `false`, "call a disk gone that a node could not read"},
	{"checker/keptconfig.go", `found[name]--; found[name] >= 0`, `found[name]--; here[name] > 0`, "mistake the disk of one storage for the disk of another"},
	{"checker/owned.go", `origin[0] == cluster && `, ``, "count another cluster's disk as this guest's"},
	{"checker/owned.go", `(ignored || d.BareClone()) && `, `ignored && `, "mistake a trial clone for the disk"},
	{"checker/owned.go", `p.expects(stand) || g.Alive`, `g.Alive`, "expect no copy of a guest that is off"},
	{"exporter/node.go", `!known && l != nil`, `!known && l != nil && vmid == 0`, "call each guest dead"},
	{"checker/keptconfig.go", `!warning.exceeded(max(0, now.Sub(k.Since)))`, `!warning.exceeded(max(0, now.Sub(time.Time{})))`, "call a new disk missing from the configuration"},
	{"checker/explainguest.go", `!e.doubtful() && e.Point != nil && len(e.Lacking) == 0 && `, `!e.doubtful() && e.Point != nil && `, "start a guest that lacks a disk"},
	{"checker/explainguest.go", `return !e.doubtful() && `, `return `, "start a guest from a damaged disk"},
	{"checker/scan/guestcache.go", `was.Oldest && was.GUID`, `was.GUID`, "miss a newer restore point after the other disk caught up"},
	{"checker/scan/guestcache.go", `lasting && k.Lasting && k.Key == key && d.Newest`, `lasting && k.Lasting && k.Key.GUID == key.GUID && d.Newest`, "use the common restore point from before a change"},
	{"checker/scan/inventory.go", `		d.Gone = true`, `		d.Gone = false`, "forget disks that are gone"},
	{"checker/judge.go", `if c.disk.Unlisted != "" && !c.boundSuffices() {`, `if false {`, "let an old bound silence a disk"},
	{"checker/judge.go", `return warning.onlyMost() && critical.onlyMost()`, `return warning.onlyMost() || critical.onlyMost()`, "let a bound silence a disk that is too young"},
	{"checker/scan/cache.go", `h.GUID != 0 && e.key.GUID == h.GUID`, `true`, "use another dataset's snapshot as a bound"},
	{"checker/scan/merge.go", `worth(before) > worth(d)`, `false`, "let a second look spoil the first"},
	{"checker/scan/merge.go", `		case has:
			theirs[name] = our`, `		case has:
			_ = our`, "save no entry of a disk that another process saved"},
	{"checker/scan/shared.go", `!at.Before(asked.Add(-sharedBefore)) && `, ``, "share a listing of any age"},
	{"checker/compare.go", `d.Newest.Creation.After(o.ReadAt):`, `d.Newest.Creation.Before(o.ReadAt):`, "call a copy diverged that is newer than what its owner read"},
	{"checker/scan/newest.go", `managed && (!any || n.CreateTXG > best.CreateTXG)`, `managed && (!any || n.CreateTXG < best.CreateTXG)`, "use the oldest snapshot as the newest"},
	{"checker/poolverdict.go", `add(PoolUnreadable, BeyondWarning, pool.Problem)`, `add(PoolUnreadable, Within, pool.Problem)`, "never call a pool that hangs unreadable"},
	// Mutants of the verdicts on proofs.
	{"checker/proof.go", `case record != nil && len(record.Open) > 0:`, `case false:`, "not tell that a drill failed"},
	{"checker/proof.go", `0 < ahead && ahead <= clockSlack {`, `0 < ahead {`, "believe a proof from the future"},
	{"checker/proof.go", `l.Range != nil && needed && `, `l.Range != nil && `, "demand a proof of a guest without a restore point"},
	{"checker/proof.go", `!copied || record == nil && all.Problem != ""`, `!copied`, "take a record of drills that cannot be read for an empty one"},
	{"checker/proof.go", `copied && g.Verdict != GuestExcluded`, `g.Verdict != GuestExcluded`, "demand a proof of this host's own guest"},
	{"checker/proof.go", `	record.Good = nil
`, ``, "take another cluster's proof"},
	{"checker/proof.go", `if d.Created.IsZero() || d.Created.After(now) {`, `if d.Created.After(now) {`, "end a fault by a disk that cannot be read"},
	{"checker/proof.go", `range slices.Concat(g.Disks, g.Others)`, `range g.Disks`, "end a fault by a second copy"},
	{"checker/filter.go", `n.proofOf != 0 && (!f.whole() || !f.guest(n.proofOf))`, `n.proofOf != 0`, "not tell a requested guest's failed proof"},
	{"checker/proofsfile.go", `file.check()`, `nil`, "read a record of drills of a newer version"},
	{"drill/proof.go", `if d.Reach == Nothing || d.Wrong`, `if d.Wrong`, "end a failure by a drill that could not look"},
	// Mutants of the alert rules.
	{"deploy/prometheus/snapwatch.rules.yml", `snapwatch:disk_state:settled{state=~"missing|receiving|excluded|stopped|orphaned"}`, `snapwatch:disk_state:settled{state=~"missing|receiving|excluded|orphaned"}`, "call stopped guests stale"},
	{"deploy/prometheus/snapwatch.rules.yml", `(time() - snapwatch:disk_newest_snapshot_timestamp_seconds:origin)
          >`, `(time() - snapwatch:disk_newest_snapshot_timestamp_seconds:origin)
          <`, "call fresh disks stale"},
	{"deploy/prometheus/snapwatch.rules.yml", `expr: max by (origin_cluster, origin_dataset, disk) (snapwatch:disk_newest`, `expr: min by (origin_cluster, origin_dataset, disk) (snapwatch:disk_newest`, "compare with the oldest copy"},
	{"deploy/prometheus/snapwatch.rules.yml", `last_over_time(snapwatch_run_limit_seconds[10m])`, `last_over_time(snapwatch_no_limit_seconds[10m])`, "not go by the line in cron"},
	{"internal/report/report.go", `3 * cmp.Or(period, 15*time.Minute)`, `300 * cmp.Or(period, 15*time.Minute)`, "wait days for a run that fails"},
	{"deploy/prometheus/snapwatch.rules.yml", `<= time() + 300
          or on`, `> 0
          or on`, "believe a time from the future"},
	{"deploy/prometheus/snapwatch.rules.yml", `resets(snapwatch_start_timestamp_seconds[30m])) > 2`, `resets(snapwatch_start_timestamp_seconds[30m])) > 200`, "not notice two exporters with the same labels"},
	{"deploy/prometheus/snapwatch.rules.yml", `snapwatch:disk_lag_seconds:told
          >`, `0 * snapwatch:disk_lag_seconds:told
          >`, "ignore the lag that an exporter reports"},
	{"deploy/prometheus/snapwatch.rules.yml", `max by (job, cluster, site, instance, pool) (snapwatch:pool_state:settled{state=~"missing|unreadable|suspended|faulted"})`, `max by (job, cluster, site, instance, pool) (snapwatch:pool_state:settled{state=~"missing"})`, "not notice a pool that cannot be read"},
	{"deploy/prometheus/snapwatch.rules.yml", `snapwatch:disk_state:settled{state="missing"})
        for: 10m`, `snapwatch:disk_state:settled{state="missing"})
        for: 10d`, "wait days for a disk that is gone"},
	{"deploy/prometheus/snapwatch.rules.yml", `snapwatch:disk_silent:settled{state!="stopped"}`, `snapwatch:disk_silent:settled`, "let a _stopped snapshot hide the lag of a copy"},
	{"deploy/prometheus/snapwatch.rules.yml", `last_over_time(snapwatch_disk_max_stopped_age_seconds[10m])`, `10 * last_over_time(snapwatch_disk_max_stopped_age_seconds[10m])`, "wait most of a year for a guest that is off"},
	{"deploy/prometheus/snapwatch.rules.yml", `(last_over_time(snapwatch_disk_newest_snapshot_timestamp_seconds[10m]))
            or on`, `(snapwatch_disk_newest_snapshot_timestamp_seconds)
            or on`, "let a lost scrape begin the wait again"},
	// Mutants of the commands that a person types, and the lines of cron.
	{"cmd/snapwatch/regular.go", `*to.keep, *to.config, *to.node = *from.keep, *from.config, *from.node`, `_, _ = to, from`, "destroy by a retention that was typed only once"},
	{"cmd/snapwatch/regular.go", `case len(unclear) > 0:`, `case false:`, "rotate by other words while a line of cron is not understood"},
	{"cmd/snapwatch/regular.go", `if err == nil && len(lines) == 0 {`, `if false {`, "ignore a timer whose command is unknown"},
	{"internal/crontab/crontab.go", `if words[i].expands {`, `if false {`, "ignore a line of cron whose program is a variable"},
	{"cmd/snapwatch/cronlines.go", `case system && perm&0o022 != 0:`, `case false:`, "trust a line of a file that cron ignores"},
	{"internal/crontab/ignored.go", `!f.has(m[1])`, `false`, "trust a file with a line that cron does not understand"},
	{"internal/crontab/crontab.go", `strings.EqualFold(strings.Fields(line)[0], atBoot)`, `false`, "treat an @reboot line as a regular one"},
	{"cmd/snapwatch/cronregister.go", `args = own[0].Args`, `_ = own`, "lose the other flags of a registered line"},
	{"cmd/snapwatch/environment.go", `return config.Load(named)`, `return config.LoadDefault(named)`, "register a configuration that does not exist"},
	{"cmd/snapwatch/cron.go", `line.Problem == "" && !line.Beside {`, `line.Problem == "" {`, "remove a line of cron that also does other work"},
	{"internal/crontab/crontab.go", `case len(found) > 1:`, `case false:`, "trust a line that starts the program twice"},
	{"internal/crontab/crontab.go", `case unsure >= 0:`, `case false:`, "treat a variable as a word of the retention"},
	{"snapper/unblocking.go", `if pin.Held {`, `if false {`, "destroy snapshots although one of them has a hold"},
	{"cmd/snapwatch/regular.go", `if done.Unlisted {`, `if false {`, "register a run that Proxmox did not answer"},

	// Mutants of the lines that describe a guest or a report to people.
	{"checker/guestline.go", `range slices.Concat(g.Disks, g.Others) {`, `range g.Disks {`, "show nothing of a copy that does not count and alarms"},
	{"checker/guestline.go", `g.State != OK && (g.Alone || g.Because == "" && g.Verdict != GuestStopped)`, `false`, "show a guest that alarms without its reason"},
	{"checker/guestfacts.go", `case volume.Locked:`, `case false:`, "call a key loaded that is not"},
	{"checker/guestfacts.go", `case most <= volume.Available:`, `case true:`, "promise room that is not there"},
	{"checker/summary.go", `	causes := badPools(r)
`, `	causes := []cause{badGuests(r)}
	causes = append(causes, badPools(r)...)
`, "count the guests before the pool that they are on"},
}
