package main

import "slices"

var suites = []suite{
	{"snapper/", [][]string{{"./snapper", "./snapper/run", "-rapid.checks", "30"}, {"./snapper/index"}, {"./test/retention"}, {"./test/sim", "-weeks", "40"}}},
	{"internal/report/", [][]string{{"./internal/report"}}},
	{"internal/quiesce/", [][]string{{"./internal/quiesce"}}},
	{"internal/pve/", [][]string{{"-run", "ParseConfig", "./internal/pve"}}},
	{"internal/zfs/", [][]string{{"./internal/zfs"}, {"-run", "Judge", "./snapper"}}},
	{"checker/", [][]string{{"./checker/..."}, {"./test/sim", "-weeks", "40"}}},
	{"exporter/", [][]string{{"-run", "Configur|OtherDatasets|BeingWritten|WhoWaitsIs|NoTurn|AnOwnerThatIsSilent|CannotBeReadKeeps", "./exporter"}}},
	{"internal/crontab/", [][]string{{"./internal/crontab"}}},
	{"cmd/", [][]string{{"-run", "TestScripts/(otherwords|cronlines|register|ended)$", "./cmd/snapwatch"}}},
	{"deploy/", [][]string{{"-short", "-tags", "deploy", "-run", "Rules|EveryAlert", "./deploy"}, {"-tags", "deploy", "-run", "TestTheSameAlerts.*/faults,_plain$", "./deploy"}, {"-tags", "deploy", "-run", "RulesAgree", "./test/sim", "-weeks", "2"}}},
}

// mutants are the breaks of the code; a person could make each of them by mistake.
var mutants = slices.Concat([]mutant{
	// The choice of the configuration in force.
	{"exporter/configfile.go", `if !reflect.DeepEqual(last.config, config.Default()) {`, `if false {`, "not say that the configuration is gone"},
	{"exporter/configfile.go", `return ago < 0 || ago >= configSettled`, `return ago < 0 || ago >= 0`, "read a file that is being written"},
	{"exporter/configfile.go", `if f.current.Load().problem == "" && sameFile`, `if sameFile`, "not read a refused file again"},
	{"exporter/store.go", ` && slices.Equal(roots, p.roots)`, ``, "serve what was read of other datasets"},
	// The state that is kept of a disk or node that can no longer be read or asked.
	{"exporter/kept.go", `if failed(*d) && was != nil`, `if false && was != nil`, "end an alert by a disk that cannot be read"},
	{"exporter/asking.go", `				e.Failure = node.Failure
`, ``, "believe for ever that a copy is well"},
	{"checker/compare.go", `if last.Outcome == Lagging || last.Outcome == Diverged {`, `if false {`, "forget that a copy is behind when its owner is silent"},
	{"checker/owned.go", `if n.Failure != "" && moved[`, `if false && moved[`, "let a silent node claim a copy of a guest that moved"},
	{"internal/crontab/period.go", `if !anyDay && !anyWeekday {`, `if !anyDay && !anyWeekday && false {`, "take either day of a line in cron for both"},
	// Requests that the exporter answers together.
	{"exporter/together.go", `deadline.Sub(b.deadline).Abs() <= similar`, `true`, "let who is in haste cut off who has time"},
	{"exporter/together.go", `deadline.Before(b.deadline)`, `false`, "answer when nobody listens any more"},
	{"exporter/together.go", `len(b.request.Disks)+len(request.Disks) <= checker.MaxCompareDisks`, `true`, "look up more together than one may ask"},
	// The notifications of changes.
	{"checker/changes.go", `blind := r.Failure != "" || len(r.Disks) == 0`, `blind := r.Failure != ""`, "end what a check that finds nothing does not see"},
	{"checker/changes.go", `was.State == is.State && was.Kind == is.Kind`, `was.State == is.State`, "not tell that something else is wrong"},
	{"checker/changes.go", `ago >= remind || ago < 0`, `ago >= remind`, "never remind after the clock was ahead"},
	// The conclusions about a guest's state.
	{"snapper/state.go", `return e.ListErr == nil && e.Listed == "stopped" && e.ProcessErr`, `return !aliveStatus[e.Listed] && e.ProcessErr`, "take an unknown guest for stopped"},
	{"snapper/state.go", `e.Listed == "stopped" && e.ProcessErr == nil && !e.Process`, `e.Listed == "stopped" && !e.Process`, "believe a stop though the process could not be looked at"},
	{"snapper/state.go", `return e.Process || aliveStatus[e.Listed]`, `return aliveStatus[e.Listed]`, "believe Proxmox's list alone"},
	{"snapper/state.go", `if !e.SeenStopped {`, `if false {`, "believe one look"},
	{"snapper/state.go", `if e.Rebooting {`, `if false {`, "take a reboot for a stop"},
	{"snapper/state.go", `if why := gate.closed(); why != "" {`, `if why := gate.closed(); false {`, "believe stops while the host boots"},
	{"snapper/state.go", `if e.HAStarted && !e.StoppedLastRun && gate.Shutdown == nil {`, `if false {`, "believe at once that a high-availability guest stopped"},
	{"snapper/state.go", `if e.Config.Lock != "" && e.Config.Lock != "suspended" {`, `if false {`, "believe a stop under a configuration lock"},
	{"snapper/state.go", `case e.RunState == "prelaunch" && e.Config.Lock == "backup", `, `case `, "take the backup of a stopped guest for a start"},
	{"snapper/state.go", `"running": true, "paused": true,`, `"running": true,`, "take a paused guest for none that lives"},
	{"snapper/state.go", `return Disputed`, `return states[0]`, "decide between two guests that claim a disk"},
	{"snapper/node.go", `case zfs.WithinAny(d.Name, replicas):`, `case false:`, "treat a configured replica as one's own"},
	{"snapper/node.go", `asked := e.Config.Lock == "backup" || unlabelled[vmid]`, `asked := unlabelled[vmid]`, "not ask QEMU about a backup"},
	{"snapper/decide.go", `if !d.LooksDone {`, `if false {`, "never look twice"},
	// The actions that follow from a guest's state and a disk's label.
	{"snapper/actions.go", `{Adopt, Recheck, Final, AdoptPeer, Leave}`, `{Adopt, Recheck, Final, AdoptPeer, Final}`, "take over a foreign label"},
	{"snapper/actions.go", `{Adopt, Recheck, Final, AdoptPeer, Leave}`, `{Adopt, Leave, Final, AdoptPeer, Leave}`, "miss a guest that ran between two runs"},
	{"snapper/actions.go", `Unknown:      {Warn, Warn, Warn, Warn, Warn},`, `Unknown:      {Warn, Warn, Final, Warn, Warn},`, "end what is unknown"},
	{"snapper/actions.go", `Running:      {Start, Start, Periodic, Start, Start},`, `Running:      {Start, Periodic, Periodic, Start, Start},`, "announce no start"},
	{"snapper/actions.go", `UnknownAlive: {Warn, Warn, Periodic, Warn, Warn},`, `UnknownAlive: {Warn, Warn, Warn, Warn, Warn},`, "stop snapshots while pvesh hangs"},
	{"snapper/decide.go", `if d.Inconsistent || d.ResumeToken {`, `if d.Inconsistent {`, "label a disk whose receive is not finished"},
	{"snapper/decide.go", `if action == AdoptPeer && !p.policy.AdoptPeerLabels {`, `if false {`, "adopt a peer's label unasked"},
	{"snapper/decide.go", `return d.Written
	}
	return d.WrittenSinceStopped`, `return d.Written
	}
	return d.Written`, "ask what was written since somebody else's snapshot"},
	{"snapper/decide.go", `!p.stale(newest) && writtenSince(d, newest) == 0`, `!p.stale(newest)`, "not see that a stopped disk was written"},
	{"snapper/decide.go", `newest.class == zfs.Stopped && !p.stale(newest)`, `!p.stale(newest)`, "take any last snapshot for a _stopped one"},
	// The ownership of a disk.
	{"snapper/decide.go", `word != Own && d.Running.Source == zfs.SourceLocal`, `false && word != Own`, "believe every local label"},
	{"snapper/ownership.go", `case d.History.Since > own:`, `case false:`, "take a history that does not reach back for a proof"},
	{"snapper/ownership.go", `case made > 0, len(d.Guests) > 0 && d.State.Alive():`, `case made > 0:`, "not see that a guest runs on a copy"},
	{"snapper/ownership.go", `case d.Checked.Elsewhere:`, `case false:`, "take the disk of a guest that came back for a copy"},
	{"snapper/node.go", `why != "" && (d.State == Stopped || d.State == Template)`, `false && why != ""`, "end a disk that an unread configuration may name"},
	{"snapper/run/prune.go", `if why := guests.MayBeUsed(*d); why != "" {`, `if why := guests.MayBeUsed(*d); false && why != "" {`, "prune what an unread configuration may name"},
	{"internal/pve/config.go", `c.Volumes = append(c.Volumes, rawVolumes(id.Kind, line)...)`, ``, "not see that a guest uses what its args name"},
	{"snapper/run/locks.go", `if !l.looked[vmid] && `, `if false && `, "forget who waits for a lock between two lines of cron"},
	{"snapper/bookmarks.go", `wanted = !any || at > s.CreateTXG`, `wanted = !any || false && at > s.CreateTXG`, "take somebody else's bookmark for a day's"},
	// The snapshots that a run takes.
	{"snapper/due.go", `RefuseReceiving: class == zfs.Stopped,`, `RefuseReceiving: false,`, "drop the receive guard"},
	{"snapper/due.go", `started := (whole || t.action == Start) && any`, `started := (whole || false) && any`, "take no snapshot at a start"},
	{"snapper/due.go", `started := (whole || t.action == Start) && any`, `started := (whole && false || t.action == Start) && any`, "snapshot a part of a group at a start"},
	{"snapper/groups.go", `if t.disk.State != Running {`, `if false {`, "freeze a guest that Proxmox works on"},
	{"snapper/run/quiesce.go", `case f.ended.Early != "":`, `case false:`, "call a snapshot consistent that came after the thaw"},
	{"snapper/run/quiesce.go", `if len(lacks) == 0 {`, `if true {`, "call a snapshot consistent that lacks a disk"},
	{"snapper/whole.go", `case d != nil:`, `case false:`, "call a snapshot consistent that another guest writes to"},
	{"snapper/protection.go", `withoutPartition.ReplaceAllString(name, "")`, `name`, "not miss a disk that is named by a partition's path"},
	{"internal/report/report.go", `r.LastSuccess.After(now)`, `false`, "carry on a success of the future"},
	{"internal/report/report.go", `return Run{}, fmt.Errorf("%s: %w", filepath.Join(stateDir, name), err)`, `return r, fmt.Errorf("%s: %w", filepath.Join(stateDir, name), err)`, "use the half of a report"},
	{"snapper/run/quiesce.go", `return !slices.Contains(before, key) })`, `return len(before) == 0 })`, "take a fault for told because of another one"},
	{"snapper/run/quiesce.go", `"no snapshot of "+l.Dataset)`, `"no snapshot")`, "take a disk that is missing for told because of another one"},
	{"internal/report/quiesced.go", `slices.Concat(have.Faults, q.Faults)`, `have.Faults`, "tell the fault of a second round in each run"},
	{"snapper/whole.go", `lacks = append(lacks, Lack{Dataset: v.String()})`, ``, "call a guest whole that has a disk elsewhere"},
	{"snapper/run/run.go", `	r.tell()
	if !o.DryRun && !o.Final {`, `	if !o.DryRun && !o.Final {`, "keep a fault as told before it is"},
	{"internal/quiesce/watchdog.go", `case thawed < frozen:`, `case false:`, "believe in a freeze that lapsed"},
	{"internal/quiesce/owned.go", `if n.Left() {`, `if false {`, "freeze a guest whose earlier freeze has not ended"},
	{"internal/quiesce/owned.go", `endNote(t.note, t.Err == nil || errors.Is(t.Err, ErrGone))`, `endNote(t.note, true)`, "forget a guest that is left frozen"},
	{"internal/quiesce/watchdog.go", `		if err := h.another(id, o); err != nil {`, `		if err := h.another(id, o); false {`, "believe in a freeze of a guest that was started again"},
	{"internal/quiesce/owned.go", `process == o.Process:`, `process != "":`, "wait for ever for the agent of a guest that was started again"},
	{"snapper/run/hookowed.go", `case view.Evidence[vmid].Alive():`, `case false:`, "run after_stop of a guest that runs again"},
	{"snapper/run/hookowed.go", `case why == waits && now.Sub(o.Since) < maxOwed:`, `case why == waits:`, "owe a hook for ever"},
	{"snapper/run/hookowed.go", `	h.problem(report.Warning, format, args...)
	h.tell()
`, `	h.problem(report.Warning, format, args...)
`, "forget what is given up before that is told"},
	{"snapper/run/hooknotes.go", `(t.late || t.owed.End() != nil)`, `(t.owed.End() != nil)`, "forget a hook that is owed"},
	{"snapper/run/hooknotes.go", `	h.tell()
	if t.owed != nil`, `	if t.owed != nil`, "forget that a hook failed before that is told"},
	{"snapper/run/hooknotes.go", `list = append(list, s.of(g.VMID).lock)`, `_ = g`, "start a hook beside one that its run has left behind"},
	{"snapper/run/apply.go", `	r.hooks.oweAll(afterSnapshot, dueFor(ready), owed)
`, ``, "forget after_snapshot where a run is killed between the snapshot and the hook"},
	{"snapper/run/prune.go", `			r.hooks.oweAll(afterPrune, losingIn(whole), owed)
`, ``, "forget after_prune where prune is killed"},
	{"snapper/run/captures.go", `newPacking(look.Config, c.node)`, `newPacking(config, c.node)`, "keep the configuration from the start of the run"},
	{"snapper/outcome.go", `return o.Err == nil && o.Left == "" || o.NoSpace`, `return o.Left == ""`, "destroy a bookmark after a failed snapshot"},
	{"snapper/due.go", `plan.Bookmark = class == zfs.Stopped || firstOfDay(`, `plan.Bookmark = firstOfDay(`, "bookmark no _stopped snapshot"},
	{"snapper/due.go", `if d.State != Running ||`, `if false ||`, "destroy while Proxmox works on the guest"},
	{"snapper/due.go", `t.snapshot && (!due || c > class)`, `t.snapshot && (!due || c < class)`, "take the shortest class that is due"},
	{"snapper/due.go", `if !taken {`, `if taken || !taken {`, "take a name that is taken"},
	{"snapper/outcome.go", `o.Err != nil || o.Left`, `o.Left`, "destroy after a failed snapshot"},
	{"snapper/outcome.go", `|| d.AfterNew && o.Snapshot == "" {`, `{`, "destroy what counts on a snapshot that was not made"},
	// The snapshots and bookmarks that a run destroys.
	{"snapper/retention.go", `m.class == zfs.Stopped || i == newestPast {`, `m.class == zfs.Stopped || i == newestPast && false {`, "let the newest go because of one from the future"},
	{"snapper/retention.go", `!named || m.future || m.class == zfs.Stopped`, `!named || m.class == zfs.Stopped`, "destroy snapshots of the future"},
	{"snapper/retention.go", `return w.CreateTXG > m.CreateTXG && !w.future`, `return !w.future`, "take an older snapshot for a _stopped one's successor"},
	{"snapper/bucket.go", `return bucket{year: year, part: week}`, `return bucket{year: t.Year() + 0*year, part: week}`, "split the week of the new year"},
	{"snapper/retention.go", `if i < n || isOwn && own <= n {`, `if i+1 < n || isOwn && own < n {`, "keep one bucket too few"},
	{"snapper/retention.go", `if i < n || isOwn && own <= n {`, `if i < n {`, "let buckets with none of a class push out those that have one"},
	{"snapper/retention.go", `if !seen || m.counts(class) && !list[before].counts(class) {`, `if !seen || false && list[before].counts(class) {`, "keep a shorter one where one of the class is there"},
	{"snapper/plan.go", `OldestFirst(p.plan.Destroys)`, ``, "destroy on the same first disks in each run"},
	{"snapper/run/apply.go", `r.destroyMore(ctx, pools)`, ``, "let what is held take the others' turn"},
	{"internal/report/interrupted.go", `i.Token == next.Token &&`, `true &&`, "count a healthy receive as the one that was seen before"},
	{"internal/report/interrupted.go", `return !i.Ahead(now) &&`, `return true &&`, "count from a time that is still to come"},
	{"internal/report/sighting.go", `age <= sightingFor`, `true`, "take two short locks, days apart, for one"},
	{"internal/report/sighting.go", `now.Sub(s.Last) > loneFor {`, `false {`, "take two short locks, a day apart, for one"},
	{"snapper/run/report.go", `success = success && !b.Grows()`, `success = success && (true || !b.Grows())`, "call it a success while old snapshots pile up"},
	{"snapper/index/turns.go", `cmp.Or(cmp.Compare(x.turns[a.Name].number, x.turns[b.Name].number), cmp.Compare(a.Name, b.Name))`, `cmp.Compare(a.Name, b.Name)`, "list the same disks first in each run"},
	{"snapper/decide.go", `|| age < -futureSlack)`, `)`, "never renew a last snapshot that a clock dated ahead"},
	{"snapper/state.go", `if held < -futureSlack {`, `if false {`, "keep silent on a lock since a time to come"},
	{"snapper/due.go", `p.future++`, ``, "keep silent on snapshots from the future"},
	{"snapper/index/turns.go", `alone := x.turns[d.Name].whole`, `alone := false`, "let a list without an end keep those of its turn from theirs"},
	{"snapper/run/destroy.go", `r.latest().BacklogsAt(`, `r.previous.BacklogsAt(`, "lose what a run of another pool counted meanwhile"},
	{"snapper/run/destroy.go", `due = due[:min(len(due), r.mayDestroy(snapper.Plan{}))]`, ``, "destroy more than a run may"},
	{"snapper/due.go", `return t.Add(-time.Second)`, `return t`, "give both passes of a repeated hour the same names"},
	{"snapper/pruning.go", `if m.class == zfs.Stopped { //`, `if regular = append(regular, m.Snapshot); m.class == zfs.Stopped { //`, "take a _stopped snapshot for a day's first on a copy"},
	{"snapper/run/prune.go", `d.Replicated = cluster.ReplicatedHere`, `d.Replicated = true || cluster.ReplicatedHere`, "leave what syncoid carried on to pvesr"},
	{"snapper/relay.go", `return slices.Contains(parents, zfs.Parent(d.Name)) &&`, `return (true || slices.Contains(parents, zfs.Parent(d.Name))) &&`, "wait for bookmarks that nobody makes"},
	{"snapper/state.go", `|| !atWork(e.Config.ID):`, `|| false:`, "keep quiet of a lock that a migration left"},
	{"snapper/bucket.go", `hour: t.Hour(), offset: offset}`, `hour: t.Hour(), offset: 0 * offset}`, "lose an hour of the long night"},
	{"snapper/retention.go", `marked := marks.hold(m.GUID) ||`, `marked := true ||`, "let a _stopped snapshot go without its bookmark"},
	{"snapper/retention.go", `w.Creation.Before(now.Add(-grace))`, `w.Creation.Before(now)`, "give receivers no time"},
	{"snapper/bookmarks.go", `days[:max(0, len(days)-b.Keep)]`, `days[:max(0, len(days)-b.Keep+1)]`, "keep one bookmark too few"},
	{"snapper/bookmarks.go", `return ours && class != zfs.Stopped && !s.Creation.After(now.Add(futureSlack)) && zfs.DayOf(s.Name) == today`, `return ours && class != zfs.Stopped && zfs.DayOf(s.Name) == today`, "let the future take the day's bookmark"},
	{"snapper/bookmarks.go", `kept := days[max(0, len(days)-b.Keep):]`, `kept := days[len(days):]`, "keep no day's first bookmark of a guest that is off"},
	{"snapper/bookmarks.go", `len(stopped)-keepStoppedBookmarks)]`, `len(stopped)-1)]`, "keep one bookmark of a _stopped snapshot beside the days' first"},
	{"snapper/due.go", ` && firstOfDay(d.Bookmarks, p.now)`, ``, "bookmark every snapshot that somebody else rotates away at once"},
	{"snapper/bookmarks.go", `return strings.Compare(zfs.DayOf(x[0].Name), zfs.DayOf(y[0].Name))`, `return 0 * strings.Compare(zfs.DayOf(x[0].Name), zfs.DayOf(y[0].Name))`, "make room again with each bookmark that goes"},
	{"snapper/bookmarks.go", `if len(day) == 1 {`, `if len(day) > 0 {`, "destroy somebody else's bookmarks, one at each run"},
	{"snapper/bookmarks.go", `Have: slices.Concat(b.Have, list), Keep`, `Have: b.Have, Keep`, "let no _stopped snapshot go without its bookmark, which never comes"},
	{"snapper/decide.go", `if d.InUse {`, `if false {`, "take a running guest's disk for a copy, and call that a success"},
	{"snapper/run/snapshots.go", `p.hangs.Store(true)`, `p.hangs.Store(false)`, "begin a step behind one that hangs"},
	// The steps of a run, and their order.
	{"snapper/run/apply.go", `	defer lease.giveUp()
	for _, l := range looks {`, `	lease.giveUp()
	for _, l := range looks {`, "give the lock of a guest that stopped up at once"},
	{"snapper/run/locks.go", `		cancel()
		release()`, `		cancel()
		_ = release`, "never give locks up after the snapshots"},
	{"snapper/run/locks.go", `looks[vmid] = snapper.LastLook{LockErr: err}`, `looks[vmid] = snapper.LastLook{}`, "take a guest for stopped whose lock another has"},
	{"snapper/run/freeze.go", `	defer lease.giveUp()`, `	lease.giveUp()`, "give the lock of a guest up before it is frozen"},
	{"snapper/run/locks.go", `	cancel := world.After(limit, func() {`, `	cancel := world.After(1000*limit, func() {`, "hold the lock of a guest for as long as a program takes"},
	{"snapper/run/locks.go", `if why := looks[vmid].Waits(); why != "" {`, `if why := looks[vmid].Waits(); false {`, "snapshot a guest while it is rolled back"},
	{"snapper/living.go", `	case l.RollingBack:`, `	case false:`, "go on with a guest whose rollback takes long"},
	{"snapper/run/snapshots.go", `		if !lease.held() {`, `		if false {`, "begin a program again when the lock of its guest is given up"},
	{"snapper/run/histories.go", `		if !p.carriedOut {`, `		if false {`, "take bookmarks for looked at whose plan was not carried out"},
	{"snapper/due.go", `|| d.BookmarksUnread {`, `{`, "rotate a disk whose bookmarks could not be read"},
	{"snapper/living.go", `	case l.BusyRuns < maxBusyRuns:`, `	case true:`, "wait for ever for a lock that nothing explains"},
	{"snapper/plan.go", `p.plan.Ask.Looks = nil`, ``, "look twice before the received labels say at whom"},
	{"snapper/run/round.go", `view.LooksDone = true
		return view`, `return view`, "look again and again at guests that cannot be looked at"},
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
`, "tell the next run of the first look"},
	{"snapper/run/apply.go", `p.destroyAbandoned(ctx, plan.ForPool(p.name).AbandonedOfStops)`, ``, "leave the abandoned bookmarks of guests that stopped"},
	{"snapper/run/apply.go", `p.destroyAbandoned(ctx, plan.ForPool(p.name).Abandoned)`, ``, "leave the abandoned bookmarks of guests that run"},
	{"snapper/decide.go", `case masked && d.ReceivedProblem != "":`, `case false:`, "take a guest for stopped whose received labels could not be read"},
	{"snapper/run/snapshots.go", `plan.Allowed(outcomes)`, `plan.Allowed(nil)`, "destroy without regard to what was taken"},
	{"snapper/run/pool.go", `p.Bookmarks(ctx, names, func`, `p.Bookmarks(ctx, listed, func`, "not see the bookmarks of a disk without snapshots"},
	{"snapper/node.go", `if len(g.storagesOf(d)) == 0 {`, `if false {`, "take another cluster's disk for the own guest of that number"},
	{"snapper/owners.go", `uses || !v.Unused(), true`, `true, true`, "let a guest run on what it only keeps as unused"},
	{"snapper/ownership.go", `d.Sign != "" || d.Running.Value == zfs.LabelStopped`, `d.Sign != ""`, "take each receive for a guest that ran between two runs"},
	{"snapper/run/unblock.go", `len(users) > 1`, `false`, "make room for a rollback on a disk that two guests use"},
	{"snapper/run/histories.go", `case p.renamed(dataset, c.GUID):`, `case false:`, "know a disk under its old names"},
	{"snapper/run/histories.go", `case c.Gone.IsZero() || away < 0:`, `case false:`, "forget whose a disk is that one list lacks"},
	{"snapper/abandoned.go", `		return Discarded, fmt.Sprintf(`, `		return Good, fmt.Sprintf(`, "leave bookmarks of a history that is gone"},
	{"snapper/abandoned.go", `b.CreateTXG > sound && !d.hasGUID(b.GUID)`, `b.CreateTXG > d.Checked.TXG && !d.hasGUID(b.GUID)`, "take what is remembered for a proof that no set-back was"},
	{"snapper/abandoned.go", `case b.CreateTXG < h.Since:`, `case false:`, "call a bookmark good of which the history does not tell"},
	{"snapper/abandoned.go", `		if j.Standing == Unproven {
			unproven = append(unproven, j)
			continue
		}`, `		if j.Standing == Unproven {
			unproven = append(unproven, j)
		}`, "destroy bookmarks of which nothing is proved"},
	{"snapper/abandoned.go", `s.TXG <= lost.TXG {`, `false {`, "take a set-back of the origin for one of the promoted clone"},
	{"snapper/abandoned.go", `if unfinished ||`, `if`, "forget a bookmark that could not be destroyed"},
	{"internal/zfs/history.go", `case ok && strings.Contains(from, "@") && strings.HasPrefix(to, "@"): // of a snapshot`, `case false:`, "take the rename of a snapshot for one of a dataset"},
	{"snapper/abandoned.go", `|| d.BookmarksUnread ||`, `||`, "take bookmarks that could not be listed for none"},
	{"snapper/abandoned.go", `		case any:
`, `		case false:
`, "discard a bookmark whose snapshot was received again"},
	{"internal/zfs/history.go", `return s.Base < txg && txg < s.TXG`, `return s.Base <= txg && txg < s.TXG`, "discard the bookmark of the base"},
	{"internal/zfs/history.go", `dataset, swapped := p.swaps[clone]`, `dataset, swapped := p.setBackBy(clone)`, "take a receive that was given up for a set-back"},
}, copyMutants, poolMutants)
