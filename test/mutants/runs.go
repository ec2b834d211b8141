package main

// runMutants are the mutants of the steps of a run that change something, or that record what was
// changed.
var runMutants = []mutant{
	{"snapper/run/round.go", `keep, _ := r.Config.KeepFor(d.Name, d.VMID, r.Keep)`, `keep := r.Keep`, "ignore the retention of an override"},
	{"snapper/run/snapshots.go", `the next run checks: %w", err), false)`, `the next run checks: %w", err), true)`, "destroy snapshots after a program with an unknown result"},
	{"snapper/run/locks.go", `look.Rebooting = l.World.Rebooting(id)`, `look.Rebooting = false`, "not see under the lock that a guest reboots"},
	{"snapper/run/prune.go", `lives || err != nil {`, `lives && err == nil {`, "prune a disk whose guest may run"},
	{"snapper/run/unblock.go", `and no bookmark was destroyed%s", p.name, text.Are(left, "snapshot"), also)
			return
`, `and no bookmark was destroyed%s", p.name, text.Are(left, "snapshot"), also)
`, "make room for half a rollback"},
	{"snapper/run/prune.go", `StoppedGrace: r.Config.StoppedGrace.Std(), MaxDestroys`, `StoppedGrace: 0, MaxDestroys`, "prune _stopped snapshots without their grace"},
	{"snapper/run/report.go", `success = success && d.Result != string(snapper.Unprotected) && d.Error == ""`, `success = success && d.Error == ""`, "call a run a success although a running guest has no snapshot"},
	{"snapper/outcome.go", `			if o.Living {`, `			if false {`, "call a running guest that was left to the next run untouched"},
	{"snapper/run/snapshots.go", `Living: g.Class != zfs.Stopped, Left`, `Living: false, Left`, "call a running guest untouched after its lock was lost"},
	{"snapper/run/bookmarks.go", `p.index.BookmarkCreated(m.Dataset, m.Name, said && errno == 0)`, `p.index.BookmarkCreated(m.Dataset, m.Name, said || errno == 0)`, "remember a bookmark that could not be made"},
	{"snapper/run/pool.go", `	if !p.Final {
`, `	if true {
`, "not wait for cron's run at the shutdown of the host"},
	{"snapper/run/records.go", `if r.DryRun || r.Final {`, `if r.DryRun {`, "save the report of finalize"},
	{"snapper/run/locks.go", `if look.LockErr != nil || look.Err != nil {`, `if look.LockErr != nil {`, "wait for ever for a guest whose files cannot be read"},
	{"snapper/run/round.go", `			d.Ignored = cmp.Or(d.Ignored, d.Problem)
`, `			_ = cmp.Or(d.Ignored, d.Problem)
`, "work on a disk whose bookmarks could not be read"},
	{"snapper/run/round.go", `d.Problem, d.Unlabelled)`, `d.Problem)`, "work on a disk whose labels could not be read"},
	{"snapper/run/pool.go", `if p.partly = listErr != nil; p.partly {`, `if p.partly = false; listErr != nil {`, "take half a list of disks for the whole"},
	{"snapper/run/local.go", `(!late || len(some) == 0`, `(!late && len(some) == 0`, "begin a round before the other pools are read"},
	{"snapper/run/local.go", `				late = true
`, `				late = false
`, "let all pools wait for one that hangs"},
	{"snapper/shutdown.go", `!slices.ContainsFunc(d.sinceOwn(), d.mayBeReceived)`, `slices.Max([]int{1}) == 1`, "never read the history at the shutdown of the host"},
	{"snapper/run/histories.go", `	if p.Final {
`, `	if false {
`, "read a long history while the host waits for its shutdown"},
	// Mutants of the last look at a guest whose lock was given up.
	{"snapper/run/apply.go", `if !lease.held() {`, `if false {`, "not look whether a guest was started while its _stopped snapshot was taken"},
	{"snapper/run/apply.go", `if !lives && unknown == nil {`, `if !lives {`, "trust a _stopped snapshot of a guest that may run"},
	{"snapper/run/apply.go", `o.Living, o.Wrong = `, `o.Living, _ = `, "only note that a guest was started while its _stopped snapshot was taken"},
	{"snapper/run/apply.go", `if lives && len(g.Disks) > 0 {`, `if false {`, "leave the label stopped to a guest that runs"},
	// Mutants of the code that keeps the records that runs on other datasets made.
	{"snapper/run/records.go", `complete(r.latest(), savedState(r.World, r.state))
	if r.name`, `complete(r.latest(), r.state)
	if r.name`, "forget what a run of another pool recorded meanwhile"},
	{"snapper/run/round.go", `state := savedState(r.World, r.state)`, `state := r.state`, "use records that are older than the lock of their pool"},
	{"snapper/run/records.go", `return !p.carriedOut })`, `return false })`, "count no due snapshots on a pool without a plan"},
	{"snapper/run/records.go", `last.After(r.report.LastSuccess)`, `false`, "forget the success of a run of another pool"},
	{"snapper/run/round.go", `r.report.CarryOver(latest.Quiesced,`, `r.report.CarryOver(r.previous.Quiesced,`, "forget what a run of another pool froze"},
}
