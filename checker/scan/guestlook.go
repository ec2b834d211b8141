package scan

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// names returns the names of snapshots that a guest's disks may have in common: in every class, the
// name with the time of the oldest among the disks' newest snapshots; and the names that the last
// lookup found in common.
func (c *common) names() []string {
	var names []string
	at := c.disks[c.oldest].Newest.Name
	stem := at[:strings.LastIndexByte(at, '_')+1]
	for i, d := range c.disks {
		if i == c.oldest {
			continue
		}
		for class := zfs.Stopped; class <= zfs.Yearly; class++ {
			names = append(names, d.Dataset+"@"+stem+class.String())
		}
	}
	if c.remembered != nil {
		for _, s := range c.remembered.snapshots(c.disks) {
			names = append(names, s.FullName())
		}
	}
	return names
}

// match finds the newest time at which all disks have a snapshot, from the snapshots that were
// looked up. If these snapshots are not enough to find this time, match requests a list of every
// disk's snapshots. The common time cannot be newer than the oldest among the disks' newest
// snapshots. If that oldest snapshot is the same as at the last lookup, the common time is the
// same, too.
func (g *guests) match(c *common) {
	if c.known || g.problem(c.disks...) != "" {
		return
	}
	lists := make([][]zfs.Snapshot, len(c.disks))
	for i, d := range c.disks {
		lists[i] = []zfs.Snapshot{*d.Newest}
	}
	for _, name := range c.names() {
		dataset, _, _ := strings.Cut(name, "@")
		at := slices.IndexFunc(c.disks, func(d checker.Disk) bool { return d.Dataset == dataset })
		if s, has := g.snapshots[name]; has {
			lists[at] = append(lists[at], s)
		}
	}
	row := checker.CommonPoint(lists)
	oldest := c.disks[c.oldest]
	best := row != nil && row[c.oldest].Name == oldest.Newest.Name
	before := row != nil && c.remembered.limits(oldest)
	if best || before {
		c.row, c.known = row, true
		return
	}
	for _, d := range c.disks {
		g.toList = append(g.toList, d.Dataset)
	}
}

func (g *guests) matchLists(c *common) {
	if c.known || g.problem(c.disks...) != "" {
		return
	}
	var lists [][]zfs.Snapshot
	for _, d := range c.disks {
		lists = append(lists, g.lists[d.Dataset])
	}
	c.row, c.known = checker.CommonPoint(lists), true
}

// findApart finds, for each disk that has newer snapshots than the guest's other disks, the
// creation time of the disk's first snapshot that the other disks lack. findApart looks up this
// time only if a verdict needs it, and only once for each snapshot.
func (g *guests) findApart(ctx context.Context) {
	byPool := map[string][]Position{}
	for i := range g.commons {
		c := &g.commons[i]
		c.positions, c.asked = map[string]Position{}, map[string]bool{}
		if c.row == nil {
			continue
		}
		for k, s := range c.row {
			if c.disks[k].Newest.Name == s.Name {
				continue
			}
			since, asked := c.remembered.ahead(s)
			g.lookedUp(s.Dataset).Ahead, c.asked[s.Dataset] = since, asked
			if c.apart && !asked {
				at := Position{Dataset: s.Dataset, CreateTXG: s.CreateTXG}
				c.positions[s.Dataset], c.asked[s.Dataset] = at, true
				byPool[zfs.Pool(s.Dataset)] = append(byPool[zfs.Pool(s.Dataset)], at)
			}
		}
	}
	var reading sync.WaitGroup
	for pool, positions := range byPool {
		reading.Go(func() {
			since := g.scanner.BehindSince(ctx, pool, positions)
			g.mu.Lock()
			defer g.mu.Unlock()
			for i := range g.commons {
				c := &g.commons[i]
				for dataset, at := range c.positions {
					if created, known := since[at]; known {
						g.lookedUp(dataset).Ahead = created
					}
				}
			}
		})
	}
	reading.Wait()
}

// guestRounds is the number of rounds of lookups about a guest's disks: the first round finds
// which datasets are copies of one disk, the second which snapshots the disks have in common, and
// the third since when the disks have differed.
const guestRounds = 3

// LookAtGuests returns the pools with the additional facts that judging their guests needs. The
// function judge makes a report, and the report's questions name the missing facts. LookAtGuests
// returns at the latest when ctx ends, with the facts found by then.
func (s Scanner) LookAtGuests(ctx context.Context, pools []checker.Pool, judge func([]checker.Pool) checker.Report) []checker.Pool {
	asked := ""
	for range guestRounds {
		questions := judge(pools).Questions
		ask := inWords(questions)
		if ask == asked || ctx.Err() != nil {
			break
		}
		asked = ask
		pools = WithLooked(pools, s.Guests(ctx, questions))
	}
	return pools
}

// WithLooked returns the pools with the results of the lookups added to the disks. WithLooked
// copies the lists of disks that it changes.
func WithLooked(pools []checker.Pool, looked map[string]*checker.Looked) []checker.Pool {
	if len(looked) == 0 {
		return pools
	}
	pools = slices.Clone(pools)
	for i := range pools {
		copied := false
		for k := range pools[i].Disks {
			l := looked[pools[i].Disks[k].Dataset]
			if l == nil {
				continue
			}
			if !copied {
				pools[i].Disks, copied = slices.Clone(pools[i].Disks), true
			}
			if before := pools[i].Disks[k].Looked; l.Config == nil && before != nil && before.Config != nil {
				both := *l
				both.Config = before.Config
				l = &both
			}
			pools[i].Disks[k].Looked = l
		}
	}
	return pools
}

// inWords returns a text that identifies a set of questions: different questions have different
// texts.
func inWords(questions []checker.GuestQuestion) string {
	var words strings.Builder
	for _, q := range questions {
		for _, d := range append(slices.Clone(q.Compare), q.Common...) {
			words.WriteString(d.Dataset + "\n")
		}
		fmt.Fprintln(&words, len(q.Compare), q.Apart)
		if q.Config != nil {
			words.WriteString("config of " + q.Config.Dataset + "\n")
		}
	}
	return words.String()
}
