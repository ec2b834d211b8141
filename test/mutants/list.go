package main

import "slices"

var suites = []suite{
	{"snapper/", [][]string{{"./snapper", "./snapper/run", "-rapid.checks", "30"}, {"./snapper/index"}, {"./test/retention"}, {"./test/sim", "-weeks", "40"}}},
	{"internal/report/", [][]string{{"./internal/report"}}},
	{"internal/quiesce/", [][]string{{"./internal/quiesce"}}},
	{"internal/pve/", [][]string{{"-run", "ParseConfig", "./internal/pve"}}},
	{"internal/zfs/", [][]string{{"./internal/zfs"}, {"-run", "Judge", "./snapper"}}},
	{"checker/", [][]string{{"./checker/..."}, {"./test/sim", "-weeks", "40"}}},
	{"exporter/page/", [][]string{{"./exporter/page"}}},
	{"exporter/", [][]string{{"-run", "Configur|OtherDatasets|BeingWritten|WhoWaitsIs|NoTurn|AnOwnerThatIsSilent|CannotBeReadKeeps|SaysWhoLives|ANodeTells", "./exporter"}}},
	{"drill/", [][]string{{"./drill/..."}}},
	{"internal/crontab/", [][]string{{"./internal/crontab"}}},
	{"cmd/", [][]string{{"-run", "TestScripts/(otherwords|cronlines|cronnever|register|ended)$", "./cmd/snapwatch"}}},
	{"deploy/", [][]string{{"-short", "-tags", "deploy", "-run", "Rules|EveryAlert", "./deploy"}, {"-tags", "deploy", "-run", "TestTheSameAlerts.*/faults,_plain$", "./deploy"}, {"-tags", "deploy", "-run", "RulesAgree", "./test/sim", "-weeks", "2"}}},
}

// mutants lists the breaks of the code that the tests must catch. Each mutant is a mistake that a
// person could make.
var mutants = slices.Concat([]mutant{
	// Mutants of the code with which the exporter reads its changed configuration or keeps the old
	// one.
	{"exporter/configfile.go", `if !reflect.DeepEqual(last.config, config.Default()) {`, `if false {`, "not report that the configuration file is gone"},
	{"exporter/configfile.go", `return ago < 0 || ago >= configSettled`, `return ago < 0 || ago >= 0`, "read a file that is being written"},
	{"exporter/configfile.go", `if f.current.Load().problem == "" && sameFile`, `if sameFile`, "not read a refused file again"},
	{"exporter/store.go", ` && slices.Equal(roots, p.roots)`, ``, "serve the state of other datasets"},
	// Mutants of the last known states, which the exporter keeps for disks that it can no longer
	// read and nodes that no longer answer.
	{"exporter/kept.go", `if failed(*d) && was != nil`, `if false && was != nil`, "end an alert because a disk cannot be read"},
	{"exporter/asking.go", `				e.Failure = node.Failure
`, ``, "trust the last answer about a copy for ever"},
	{"checker/scan/guestconfig.go", ` && !slices.Contains(others, v.Storage)`, ` && len(others) >= 0`, "miss what is on no ZFS storage"},
	{"checker/compare.go", `if last.Outcome == Lagging || last.Outcome == Diverged {`, `if false {`, "forget that a copy is behind when its owner is silent"},
	{"checker/owned.go", `if n.Failure != "" && moved[`, `if false && moved[`, "let a silent node claim a copy of a guest that moved"},
	{"checker/runnotes.go", `age > r.Limit && (r.Up == 0 || r.Up > r.Limit)`, `age > r.Limit`, "take snap for late when the host has just been started"},
	{"internal/crontab/period.go", `if !anyDay && !anyWeekday {`, `if !anyDay && !anyWeekday && false {`, "require both days of a line in cron"},
	// Mutants of the exporter's page.
	{"exporter/page/sites.go", `			if d.State != checker.OK {
				c.State = checker.Critical`, `			if d.State != checker.OK {
				c.State = checker.OK`, "hide on the page that a guest runs although its copies say that it is off"},
	{"exporter/page/guests.go", `d.Problem != "" || d.Unlisted != ""`, `false`, "show the last state of a disk in place of the reason why it is unreadable"},
	{"exporter/page/guests.go", `, worse(a.was, b.was), `, `, `, "sort stale guests of an unreadable pool behind fresh ones"},
	{"exporter/page/rows.go", `if !g.well() || g.Open {`, `if g.State == checker.Critical || g.Open {`, "fold guests with warnings"},
	{"exporter/page/rows.go", `g.State == checker.OK && g.proofState() == checker.OK`, `g.State == checker.OK`, "fold guests whose proof failed"},
	// Mutants of the code with which the exporter answers several requests together.
	{"exporter/together.go", `deadline.Sub(b.deadline).Abs() <= similar`, `true`, "cut off a patient request at an urgent request's deadline"},
	{"exporter/together.go", `deadline.Before(b.deadline)`, `false`, "answer after the deadline"},
	{"exporter/together.go", `len(b.request.Disks)+len(request.Disks) <= checker.MaxCompareDisks`, `true`, "look up more disks together than one request may name"},
	// Mutants of the notifications of changes.
	{"checker/changes.go", `blind := r.Failure != "" || r.NoDisk()`, `blind := r.Failure != ""`, "end an alert when a check finds no disk at all"},
	{"checker/changes.go", `was.State == is.State && was.Kind == is.Kind`, `was.State == is.State`, "not notify of a change from one fault to another"},
	{"checker/changes.go", `cmp.Or(n.Subject, n.Text)`, `n.Text`, "end and begin a note each time its number changes"},
	{"checker/changes.go", ` || ago < 0)`, `)`, "never remind after the clock was ahead"},
	// Mutants of the conclusions about a guest's state.
	{"snapper/state.go", `return e.ListErr == nil && e.Listed == "stopped" && e.ProcessErr`, `return !aliveStatus[e.Listed] && e.ProcessErr`, "treat an unknown guest as stopped"},
	{"snapper/state.go", `e.Listed == "stopped" && e.ProcessErr == nil && !e.Process`, `e.Listed == "stopped" && !e.Process`, "believe a stop though the process could not be looked at"},
	{"snapper/state.go", `return e.Process || aliveStatus[e.Listed]`, `return aliveStatus[e.Listed]`, "believe Proxmox's list alone"},
	{"snapper/state.go", `if !e.SeenStopped {`, `if false {`, "believe a single look"},
	{"snapper/state.go", `if e.Rebooting {`, `if false {`, "mistake a reboot for a stop"},
	{"snapper/state.go", `if why := gate.closed(); why != "" {`, `if why := gate.closed(); false {`, "believe stops while the host boots"},
	{"snapper/state.go", `if e.HAStarted && !e.StoppedLastRun && gate.Shutdown == nil {`, `if false {`, "believe immediately that a high-availability guest stopped"},
	{"snapper/state.go", `if e.Config.Lock != "" && e.Config.Lock != "suspended" {`, `if false {`, "believe a stop under a configuration lock"},
	{"snapper/state.go", `case e.RunState == "prelaunch" && e.Config.Lock == "backup", `, `case `, "mistake the backup of a stopped guest for a start"},
	{"snapper/state.go", `"running": true, "paused": true,`, `"running": true,`, "treat a paused guest as off"},
	{"snapper/state.go", `return Disputed`, `return states[0]`, "decide between two guests that claim a disk"},
	{"snapper/node.go", `case zfs.WithinAny(d.Name, replicas):`, `case false:`, "treat a configured replica as an own disk"},
	{"snapper/node.go", `asked := e.Config.Lock == "backup" || unlabelled[vmid]`, `asked := unlabelled[vmid]`, "not ask QEMU about a backup"},
	{"snapper/decide.go", `if !d.LooksDone {`, `if false {`, "never look twice"},
	// Mutants of the actions that follow from a guest's state and a disk's label.
	{"snapper/actions.go", `{Adopt, Recheck, Final, AdoptPeer, Leave}`, `{Adopt, Recheck, Final, AdoptPeer, Final}`, "take over a foreign label"},
	{"snapper/actions.go", `{Adopt, Recheck, Final, AdoptPeer, Leave}`, `{Adopt, Leave, Final, AdoptPeer, Leave}`, "miss a guest that ran between two runs"},
	{"snapper/actions.go", `Unknown:      {Warn, Warn, Warn, Warn, Warn},`, `Unknown:      {Warn, Warn, Final, Warn, Warn},`, "take a last snapshot of a guest in an unknown state"},
	{"snapper/actions.go", `Running:      {Start, Start, Periodic, Start, Start},`, `Running:      {Start, Periodic, Periodic, Start, Start},`, "not label a guest that was started"},
	{"snapper/actions.go", `UnknownAlive: {Warn, Warn, Periodic, Warn, Warn},`, `UnknownAlive: {Warn, Warn, Warn, Warn, Warn},`, "stop snapshots while pvesh hangs"},
	{"snapper/decide.go", `if d.Inconsistent || d.ResumeToken {`, `if d.Inconsistent {`, "label a disk whose receive is not finished"},
	{"snapper/decide.go", `if action == AdoptPeer && !p.policy.AdoptPeerLabels {`, `if false {`, "adopt a peer's label without the option"},
	{"snapper/decide.go", `return d.Written
	}
	return d.WrittenSinceStopped`, `return d.Written
	}
	return d.Written`, "use the data written since an unmanaged snapshot"},
	{"snapper/decide.go", `!p.stale(newest) && writtenSince(d, newest) == 0`, `!p.stale(newest)`, "not notice that a stopped disk was written"},
	{"snapper/decide.go", `newest.class == zfs.Stopped && !p.stale(newest)`, `!p.stale(newest)`, "accept any newest snapshot as a _stopped one"},
	// Mutants of the ownership of a disk.
	{"snapper/decide.go", `word != Own && d.Running.Source == zfs.SourceLocal`, `false && word != Own`, "believe every local label"},
	{"snapper/ownership.go", `case d.History.Since > own:`, `case false:`, "accept a history that does not reach back as proof"},
	{"snapper/ownership.go", `case made > 0, len(d.Guests) > 0 && d.State.Alive():`, `case made > 0:`, "not notice that a guest runs on a copy"},
	{"snapper/ownership.go", `case d.Checked.Elsewhere:`, `case false:`, "mistake the disk of a guest that came back for a copy"},
	{"snapper/node.go", `why != "" && (d.State == Stopped || d.State == Template)`, `false && why != ""`, "end a disk that an unread configuration may name"},
	{"snapper/run/prune.go", `if why := guests.MayBeUsed(*d); why != "" {`, `if why := guests.MayBeUsed(*d); false && why != "" {`, "prune a disk that an unread configuration may name"},
	{"internal/pve/config.go", `c.Volumes = append(c.Volumes, rawVolumes(id.Kind, line)...)`, ``, "not notice a disk that a guest's args name"},
	{"snapper/run/locks.go", `if !l.looked[vmid] && `, `if false && `, "forget a waiting guest between two runs of cron"},
	{"snapper/bookmarks.go", `wanted = !any || at > s.CreateTXG`, `wanted = !any || false && at > s.CreateTXG`, "count an unmanaged bookmark as a day's bookmark"},
	// Mutants of the snapshots that a run takes.
	{"snapper/due.go", `RefuseReceiving: class == zfs.Stopped,`, `RefuseReceiving: false,`, "snapshot a stopped disk during a receive"},
	{"snapper/due.go", `started := (whole || t.action == Start) && any`, `started := (whole || false) && any`, "take no snapshot when a guest is started"},
	{"snapper/due.go", `started := (whole || t.action == Start) && any`, `started := (whole && false || t.action == Start) && any`, "snapshot a part of a group at a start"},
	{"snapper/groups.go", `takes <= min(budget, 2*longest)/freezeShare`, `takes <= budget/freezeShare`, "freeze a group for longer than it may be locked"},
	{"snapper/groups.go", `if t.disk.State != Running {`, `if false {`, "freeze a guest that Proxmox is changing"},
	{"snapper/run/quiesce.go", `case f.ended.Left[id] != "":`, `case false:`, "call a snapshot consistent although nobody saw its guest thawed"},
	{"snapper/run/quiesce.go", `case f.ended.Early != "":`, `case false:`, "call a snapshot consistent that was taken after the thaw"},
	{"snapper/run/quiesce.go", `if len(lacks) == 0 {`, `if true {`, "call a snapshot consistent that lacks a disk"},
	{"snapper/whole.go", `case d != nil:`, `case false:`, "call a snapshot consistent that another guest writes to"},
	{"snapper/protection.go", `withoutPartition.ReplaceAllString(name, "")`, `name`, "not report a disk that is named by a partition's path"},
	{"internal/report/report.go", `r.LastSuccess.After(now)`, `false`, "keep a last success from the future"},
	{"internal/report/report.go", `return Run{}, fmt.Errorf("%s: %w", filepath.Join(stateDir, name), err)`, `return r, fmt.Errorf("%s: %w", filepath.Join(stateDir, name), err)`, "use half of a report"},
	{"snapper/run/quiesce.go", `return !slices.Contains(before, key) })`, `return len(before) == 0 })`, "call a fault reported because of another fault"},
	{"snapper/run/quiesce.go", `"no snapshot of "+l.Dataset)`, `"no snapshot")`, "call a missing disk reported because of another missing disk"},
	{"internal/report/quiesced.go", `slices.Concat(have.Faults, q.Faults)`, `have.Faults`, "report the fault of a second round in each run"},
	{"snapper/whole.go", `lacks = append(lacks, Lack{Dataset: v.String()})`, ``, "call a guest complete that has a disk elsewhere"},
	{"snapper/run/round.go", `	r.tell()
	r.record(`, `	r.record(`, "record a fault as reported before the report"},
	{"internal/quiesce/watchdog.go", `case thawed < frozen:`, `case false:`, "believe in a freeze that lapsed"},
	{"internal/quiesce/watchdog.go", `	case errors.Is(err, ErrLapsed): //`, `	case false: //`, "forget a guest that says that it is frozen"},
	{"internal/quiesce/watchdog.go", `		go func() {
			h := g.freezeNext(`, `		func() {
			h := g.freezeNext(`, "thaw a guest only after the call that freezes another guest has ended"},
	{"internal/quiesce/window.go", `if w.since.IsZero() {`, `if false {`, "thaw a guest that somebody else froze"},
	{"snapper/run/freeze.go", `f.needed(u.Freezes, ready)`, `u.Freezes`, "freeze a guest that gets no snapshot"},
	{"snapper/run/freeze.go", `if err == nil && !lease.held() {`, `if false {`, "freeze a guest whose lock was released"},
	{"snapper/run/quiesce.go", ` && !due(u, l.Dataset)`, ``, "not report a due disk that got no snapshot"},
	{"internal/quiesce/owned.go", `if n.Left() {`, `if false {`, "freeze a guest whose earlier freeze has not ended"},
	{"internal/quiesce/owned.go", `endNote(t.note, t.Err == nil || errors.Is(t.Err, ErrGone))`, `endNote(t.note, true)`, "forget a guest that is left frozen"},
	{"internal/quiesce/watchdog.go", `		if err := h.another(id, o); err != nil {`, `		if err := h.another(id, o); false {`, "believe in a freeze of a guest that was started again"},
	{"internal/quiesce/owned.go", `process == o.Process:`, `process != "":`, "wait for ever for the agent of a guest that was started again"},
	{"snapper/run/run.go", `		r.hooks.settleWithoutPlan(ctx)
`, ``, "owe a hook while /etc/pve cannot be read"},
	{"snapper/run/hookowed.go", `case view.Evidence[vmid].Alive():`, `case false:`, "run after_stop of a guest that runs again"},
	{"snapper/run/hookowed.go", `case why == retried, why == waits && now.Sub(o.Since) < maxOwed:`, `case why == retried, why == waits:`, "keep a due hook for ever"},
	{"snapper/run/hookowed.go", `	h.problem(report.Warning, format, args...)
	h.tell()
`, `	h.problem(report.Warning, format, args...)
`, "forget a hook that was given up, before the report"},
	{"snapper/run/hooknotes.go", `(t.late || t.owed.End() != nil)`, `(t.owed.End() != nil)`, "forget a due hook"},
	{"snapper/run/hooknotes.go", `	h.tell()
	if t.owed != nil`, `	if t.owed != nil`, "forget a failed hook before the report"},
	{"snapper/run/hooknotes.go", `!t.stuck && `, ``, "start a hook while a killed hook is still running"},
	{"snapper/run/hooknotes.go", `list = append(list, s.of(g.VMID).lock)`, `_ = g`, "start a hook while a hook of a killed run works"},
	{"snapper/run/apply.go", `	r.hooks.oweAll(afterSnapshot, dueFor(ready), owed)
`, ``, "forget after_snapshot where a run is killed between the snapshot and the hook"},
	{"snapper/run/prune.go", `			owe(plan.Destroys)
`, ``, "forget after_prune where prune is killed"},
	{"snapper/run/destroy.go", `		before(due[:n])
`, ``, "forget after_prune for snapshots that are destroyed in place of held ones"},
	{"snapper/run/captures.go", `newPacking(look.Config, c.node, view.Cluster.Storages)`, `newPacking(config, c.node, view.Cluster.Storages)`, "keep the configuration from the start of the run"},
	{"snapper/outcome.go", `return o.Err == nil && o.Left == "" || o.NoSpace`, `return o.Left == ""`, "destroy a bookmark after a failed snapshot"},
	{"snapper/due.go", `plan.Bookmark = class == zfs.Stopped || firstOfDay(`, `plan.Bookmark = firstOfDay(`, "bookmark no _stopped snapshot"},
	{"snapper/due.go", `if d.State != Running ||`, `if false ||`, "destroy while Proxmox works on the guest"},
	{"snapper/due.go", `t.snapshot && (!due || c > class)`, `t.snapshot && (!due || c < class)`, "use the shortest class that is due"},
	{"snapper/due.go", `if !taken {`, `if taken || !taken {`, "use a snapshot name that exists"},
	{"snapper/outcome.go", `o.Err != nil || o.Left`, `o.Left`, "destroy after a failed snapshot"},
	{"snapper/outcome.go", `|| d.AfterNew && o.Snapshot == "" {`, `{`, "destroy a snapshot whose new keeper was not made"},
	// Mutants of the snapshots and bookmarks that a run destroys.
	{"snapper/retention.go", `m.class == zfs.Stopped || i == newestPast {`, `m.class == zfs.Stopped || i == newestPast && false {`, "destroy the newest snapshot because of one from the future"},
	{"snapper/retention.go", `!named || m.future || m.class == zfs.Stopped`, `!named || m.class == zfs.Stopped`, "destroy snapshots of the future"},
	{"snapper/retention.go", `return w.CreateTXG > m.CreateTXG && !w.future`, `return !w.future`, "accept an older snapshot as the successor of a _stopped one"},
	{"snapper/bucket.go", `return bucket{year: year, part: week}`, `return bucket{year: t.Year() + 0*year, part: week}`, "split the week of the new year"},
	{"snapper/retention.go", `if i < n || isOwn && own <= n {`, `if i+1 < n || isOwn && own < n {`, "keep one bucket too few"},
	{"snapper/retention.go", `if i < n || isOwn && own <= n {`, `if i < n {`, "let buckets without a snapshot of the class displace buckets with one"},
	{"snapper/retention.go", `if !seen || m.counts(class) && !list[before].counts(class) {`, `if !seen || false && list[before].counts(class) {`, "keep a shorter class in a bucket that has the class itself"},
	{"snapper/plan.go", `OldestFirst(p.plan.Destroys)`, ``, "destroy on the same first disks in each run"},
	{"snapper/run/apply.go", `r.destroyMore(ctx, pools, func([]snapper.Destroy) {})`, ``, "let snapshots with holds use up the limit of destroys"},
	{"internal/report/interrupted.go", `i.Token == next.Token &&`, `true &&`, "mistake a healthy receive for the interrupted one"},
	{"internal/report/interrupted.go", `return !i.Ahead(now) &&`, `return true &&`, "count from a time in the future"},
	{"internal/report/sighting.go", `age <= sightingFor`, `true`, "mistake two short locks, days apart, for one long lock"},
	{"internal/report/sighting.go", `now.Sub(s.Last) > loneFor {`, `false {`, "mistake two short locks, a day apart, for one long lock"},
	{"snapper/run/report.go", `success = success && !b.Grows()`, `success = success && (true || !b.Grows())`, "call it a success while old snapshots pile up"},
	{"snapper/index/turns.go", `cmp.Or(cmp.Compare(x.turns[a.Name].number, x.turns[b.Name].number), cmp.Compare(a.Name, b.Name))`, `cmp.Compare(a.Name, b.Name)`, "list the same disks first in each run"},
	{"snapper/decide.go", `|| age < -futureSlack)`, `)`, "never renew a last snapshot that a clock dated ahead"},
	{"snapper/state.go", `if held < -futureSlack {`, `if false {`, "stay silent about a lock dated in the future"},
	{"snapper/due.go", `p.future++`, ``, "stay silent about snapshots from the future"},
	{"snapper/index/turns.go", `alone := x.turns[d.Name].whole`, `alone := false`, "let one very long listing displace the other disks of its turn"},
	{"snapper/run/records.go", `latest.BacklogsAt(`, `r.previous.BacklogsAt(`, "lose a count that a run of another pool wrote meanwhile"},
	{"snapper/run/destroy.go", `n := min(len(due), r.mayDestroy(snapper.Plan{}))`, `n := len(due)`, "destroy more than a run may"},
	{"snapper/run/destroy.go", `case othersFirst && p.pinned(d.Dataset):`, `case othersFirst && false:`, "try all that is held before others have their turn"},
	{"snapper/due.go", `return t.Add(-time.Second)`, `return t`, "give both passes of a repeated hour the same names"},
	{"snapper/pruning.go", `if m.class == zfs.Stopped { //`, `if regular = append(regular, m.Snapshot); m.class == zfs.Stopped { //`, "count a _stopped snapshot as a day's first on a copy"},
	{"snapper/run/prune.go", `d.Replicated = cluster.ReplicatedHere`, `d.Replicated = true || cluster.ReplicatedHere`, "leave to pvesr the snapshots that syncoid sent"},
	{"snapper/relay.go", `return slices.Contains(parents, zfs.Parent(d.Name)) &&`, `return (true || slices.Contains(parents, zfs.Parent(d.Name))) &&`, "wait for bookmarks that no run makes"},
	{"snapper/state.go", `|| !atWork(e.Config.ID):`, `|| false:`, "stay silent about a lock that a migration left"},
	{"snapper/bucket.go", `hour: t.Hour(), offset: offset}`, `hour: t.Hour(), offset: 0 * offset}`, "lose an hour when the clock is set back"},
	{"snapper/retention.go", `marked := marks.hold(m.GUID) ||`, `marked := true ||`, "destroy a _stopped snapshot that has no bookmark"},
	{"snapper/retention.go", `w.Creation.Before(now.Add(-grace))`, `w.Creation.Before(now)`, "give receivers no time"},
	{"snapper/bookmarks.go", `days[:max(0, len(days)-b.Keep)]`, `days[:max(0, len(days)-b.Keep+1)]`, "keep one bookmark too few"},
	{"snapper/bookmarks.go", `return ours && class != zfs.Stopped && !s.Creation.After(now.Add(futureSlack)) && zfs.DayOf(s.Name) == today`, `return ours && class != zfs.Stopped && zfs.DayOf(s.Name) == today`, "let a snapshot from the future use the day's bookmark"},
	{"snapper/bookmarks.go", `kept := days[max(0, len(days)-b.Keep):]`, `kept := days[len(days):]`, "keep no day's first bookmark of a guest that is off"},
	{"snapper/bookmarks.go", `len(stopped)-keepStoppedBookmarks)]`, `len(stopped)-1)]`, "keep one bookmark of a _stopped snapshot beside the days' first"},
	{"snapper/due.go", ` && firstOfDay(d.Bookmarks, p.now)`, ``, "bookmark every snapshot that somebody else rotates away at once"},
	{"snapper/bookmarks.go", `return strings.Compare(zfs.DayOf(x.first.Name), zfs.DayOf(y.first.Name))`, `return 0 * strings.Compare(zfs.DayOf(x[0].Name), zfs.DayOf(y[0].Name))`, "make room for another bookmark with each one destroyed"},
	{"snapper/bookmarks.go", `if d.n == 1 {`, `if d.n > 0 {`, "destroy somebody else's bookmarks, one at each run"},
	{"snapper/bookmarks.go", `Have: slices.Concat(b.Have, list), Keep`, `Have: b.Have, Keep`, "wait for ever for the bookmark of a _stopped snapshot"},
	{"snapper/decide.go", `if d.InUse {`, `if false {`, "mistake a running guest's disk for a copy, and report success"},
	{"snapper/run/snapshots.go", `p.hangs.Store(true)`, `p.hangs.Store(false)`, "begin a step on a pool that hangs"},
	// Mutants of the steps of a run, and of the order of these steps.
	{"snapper/run/apply.go", `	defer lease.giveUp()
	for _, l := range looks {`, `	lease.giveUp()
	for _, l := range looks {`, "release the lock of a stopped guest too early"},
	{"snapper/run/locks.go", `		cancel()
		release()`, `		cancel()
		_ = release`, "never release locks after the snapshots"},
	{"snapper/run/locks.go", `looks[vmid] = snapper.LastLook{LockErr: err}`, `looks[vmid] = snapper.LastLook{}`, "treat a guest as stopped whose lock somebody else holds"},
	{"snapper/run/freeze.go", `	defer lease.giveUp()`, `	lease.giveUp()`, "release the lock of a guest before the freeze"},
	{"snapper/run/locks.go", `	cancel := world.After(limit, func() {`, `	cancel := world.After(1000*limit, func() {`, "hold the lock of a guest for as long as a program takes"},
	{"snapper/run/locks.go", `if why := looks[vmid].Waits(); why != "" {`, `if why := looks[vmid].Waits(); false {`, "snapshot a guest while it is rolled back"},
	{"snapper/living.go", `	case l.RollingBack:`, `	case false:`, "continue with a guest whose rollback takes long"},
	{"snapper/run/snapshots.go", `		if !lease.held() {`, `		if false {`, "begin a program again when the lock of its guest is given up"},
	{"snapper/run/histories.go", `		if !p.carriedOut {`, `		if false {`, "record bookmarks as checked although the plan was not carried out"},
	{"snapper/due.go", `|| d.BookmarksUnread {`, `{`, "rotate a disk whose bookmarks could not be read"},
	{"snapper/living.go", `	case l.BusyRuns < maxBusyRuns:`, `	case true:`, "wait for ever for an unexplained lock"},
	{"snapper/plan.go", `p.plan.Ask.Looks = nil`, ``, "look twice before the received labels are known"},
	{"snapper/run/round.go", `view.LooksDone = true
		return view`, `return view`, "look again and again at guests whose state cannot be read"},
	{"snapper/run/apply.go", `; why != "" {`, `; false {`, "skip the last look under the lock"},
	{"snapper/run/guests.go", `e.SeenStopped = slices.Contains(stopped, vmid)`, `e.SeenStopped = true`, "believe one look at a guest that crashed between the two"},
	{"snapper/run/round.go", `return r.askRunStates(ctx, second, pools, names)`, `view.LooksDone = true
	_ = second
	for vmid, e := range view.Evidence {
		e.SeenStopped = true
		view.Evidence[vmid] = e
	}
	return view`, "plan by the first look"},
	{"snapper/run/round.go", `		view = seen
`, `		_ = seen
`, "pass the first look's result to the next run"},
	{"snapper/run/apply.go", `p.destroyAbandoned(ctx, plan.ForPool(p.name).AbandonedOfStops)`, ``, "leave the abandoned bookmarks of guests that stopped"},
	{"snapper/run/apply.go", `p.destroyAbandoned(ctx, plan.ForPool(p.name).Abandoned)`, ``, "leave the abandoned bookmarks of guests that run"},
	{"snapper/decide.go", `case masked && d.ReceivedProblem != "":`, `case false:`, "treat a guest as stopped although its received labels could not be read"},
	{"snapper/run/snapshots.go", `plan.Allowed(outcomes)`, `plan.Allowed(nil)`, "destroy although the snapshot was not taken"},
	{"snapper/run/pool.go", `p.Bookmarks(ctx, names, func`, `p.Bookmarks(ctx, listed, func`, "not read the bookmarks of a disk without snapshots"},
	{"snapper/node.go", `if len(g.storagesOf(d)) == 0 {`, `if false {`, "mistake another cluster's disk for the own guest's of that VMID"},
	{"snapper/owners.go", `uses || !v.Unused(), true`, `true, true`, "treat an unused disk as a disk that the guest runs on"},
	{"snapper/ownership.go", `d.Sign != "" || d.Running.Value == zfs.LabelStopped`, `d.Sign != ""`, "mistake each receive for a guest that ran between two runs"},
	{"snapper/run/unblock.go", `err == nil && now.Text != before.Text`, `err == nil && now.Text == ""`, "make room for a rollback of a guest that Proxmox has changed"},
	{"snapper/run/unblock.go", `len(users) > 1`, `false`, "make room for a rollback on a disk that two guests use"},
	{"snapper/run/histories.go", `case p.renamed(dataset, c.GUID):`, `case false:`, "know a disk under its old names"},
	{"snapper/run/histories.go", `case c.Gone.IsZero() || away < 0:`, `case false:`, "forget the owner of a disk that one listing lacks"},
	{"snapper/abandoned.go", `		return Discarded, fmt.Sprintf(`, `		return Good, fmt.Sprintf(`, "keep bookmarks of a discarded history"},
	{"snapper/abandoned.go", `b.CreateTXG > sound && !d.hasGUID(b.GUID)`, `b.CreateTXG > d.Checked.TXG && !d.hasGUID(b.GUID)`, "accept the remembered state as proof that no disk was set back"},
	{"snapper/abandoned.go", `case b.CreateTXG < h.Since:`, `case false:`, "call a bookmark good that is older than the history"},
	{"snapper/abandoned.go", `		if j.Standing == Unproven {
			unproven = append(unproven, j)
			continue
		}`, `		if j.Standing == Unproven {
			unproven = append(unproven, j)
		}`, "destroy unproven bookmarks"},
	{"snapper/abandoned.go", `s.TXG <= lost.TXG {`, `false {`, "mistake a set-back of the origin for one of the promoted clone"},
	{"snapper/abandoned.go", `if unfinished ||`, `if`, "forget a bookmark that could not be destroyed"},
	{"internal/zfs/history.go", `case ok && strings.Contains(from, "@") && strings.HasPrefix(to, "@"): // of a snapshot`, `case false:`, "mistake the rename of a snapshot for one of a dataset"},
	{"snapper/abandoned.go", `|| d.BookmarksUnread ||`, `||`, "treat unread bookmarks as no bookmarks"},
	{"snapper/abandoned.go", `		case any:
`, `		case false:
`, "discard a bookmark whose snapshot was received again"},
	{"internal/zfs/history.go", `return s.Base < txg && txg < s.TXG`, `return s.Base <= txg && txg < s.TXG`, "discard the bookmark of the base"},
	{"internal/zfs/history.go", `dataset, swapped := p.swaps[clone]`, `dataset, swapped := p.setBackBy(clone)`, "mistake an aborted receive for a set-back"},
}, copyMutants, poolMutants, runMutants, drillMutants)
