package exporter

import (
	"context"
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
)

const (
	// askEvery is how often the nodes that may own disks are asked, at most.
	askEvery = time.Minute
	// askTime is when an answer is waited for no longer. Nothing waits for it but the next.
	askTime = 30 * time.Second
)

// Ask asks the nodes that may own a report's disks, as [remote.Owners.Ask] does.
type Ask func(ctx context.Context, timeout time.Duration, r checker.Report) (said map[string][]checker.Evidence, nodes []checker.NodeAnswer)

// asking is what the nodes said that may own disks.
type asking struct {
	mu sync.Mutex
	// busy is true while they are asked; begun is when that began last.
	busy  bool
	begun time.Time
	// said is each node's last answer, and what failed since, by node.
	said map[string]nodeSaid
	// order are the nodes as they were asked.
	order []string
}

// nodeSaid is what a node said of disks, by dataset, and of its guests.
type nodeSaid struct {
	checker.NodeAnswer
	of map[string]checker.Evidence
}

// asks reports whether there are nodes to ask.
func (s *Store) asks() bool { return s.settings.Ask != nil && len(s.config().Owners.URLs) > 0 }

// askLater begins to ask unless that is under way or was done within the last minute. It waits
// for nothing.
func (s *Store) askLater() {
	a, now := &s.asking, s.settings.Scanner.Now()
	if !s.asks() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if since := now.Sub(a.begun); a.busy || (!a.begun.IsZero() && since >= 0 && since < askEvery) {
		return
	}
	a.busy, a.begun = true, now
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		r := checker.Assemble(s.pooled(), s.file.current.Load().policy, s.settings.Scanner.Now())
		said, nodes := s.settings.Ask(ctx, askTime, r)
		s.inventory.hear(nodes, s.settings.Scanner.Now())
		a.learn(r, said, nodes)
		s.looked.stir() // what an owner excludes is no disk that a guest must have
	}()
}

// learn keeps each node's answer. One that failed leaves the answer before.
func (a *asking) learn(r checker.Report, said map[string][]checker.Evidence, nodes []checker.NodeAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
	newest := map[string]uint64{}
	for i := range r.Disks {
		if d := &r.Disks[i]; d.Newest != nil {
			newest[d.Dataset] = d.Newest.GUID
		}
	}
	if a.said == nil {
		a.said = map[string]nodeSaid{}
	}
	a.order = nil
	for _, n := range nodes {
		a.order = append(a.order, n.Node)
		if last := a.said[n.Node]; n.Failure != "" && !last.At.IsZero() {
			last.Failure = n.Failure
			a.said[n.Node] = last
			continue
		}
		now := nodeSaid{n, map[string]checker.Evidence{}}
		for dataset, all := range said {
			if at := slices.IndexFunc(all, func(e checker.Evidence) bool { return e.Node == n.Node }); at >= 0 {
				e := all[at]
				e.About = newest[dataset]
				now.of[dataset] = e
			}
		}
		a.said[n.Node] = now
	}
}

// answers are what the nodes said last, at a time: each is so much older by then. Of a node
// that has not answered for longer than maxAge it is said that it cannot be asked; then what
// it said stands only as far as it alarms.
func (a *asking) answers(now time.Time, maxAge time.Duration) (said map[string][]checker.Evidence, nodes []checker.NodeAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	said = map[string][]checker.Evidence{}
	for _, name := range a.order {
		n := a.said[name]
		node := n.NodeAnswer
		age := max(0, now.Sub(node.At))
		tooOld := node.At.IsZero() || age > maxAge
		if tooOld && node.Failure == "" {
			node.Failure = "it was not asked"
		}
		if !tooOld {
			node.Now = node.Now.Add(age) // else what lacked a copy then would be long past
		}
		nodes = append(nodes, node)
		for dataset, e := range n.of {
			e.Now = e.Now.Add(age)
			if tooOld {
				e.Failure = node.Failure
			}
			said[dataset] = append(said[dataset], e)
		}
	}
	return said, nodes
}

// quiet reports whether nobody is asked.
func (a *asking) quiet() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.busy
}
