package exporter

import (
	"context"
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

const (
	// askEvery is the shortest time between two requests to the nodes that may own disks.
	askEvery = time.Minute
	// askTime is the longest time that a node may take to answer. While nodes are asked in the
	// background, no scrape waits.
	askTime = 30 * time.Second
)

// Ask asks the nodes that may own a report's disks, as [remote.Owners.Ask] does.
type Ask func(ctx context.Context, timeout time.Duration, r checker.Report) (said map[string][]checker.Evidence, nodes []checker.NodeAnswer)

// asking stores the last answers of the nodes that may own disks.
type asking struct {
	mu sync.Mutex
	// busy is true while the nodes are asked. begun is the time of the last request.
	busy  bool
	begun time.Time
	// lastAnswers has, by node, the node's last answer, and the failure of a later request if there
	// was one.
	lastAnswers map[string]nodeSaid
	// order lists the nodes in the order in which they were asked.
	order []string
}

// nodeSaid is a node's answer about its guests, and about disks by dataset.
type nodeSaid struct {
	checker.NodeAnswer
	of map[string]checker.Evidence
}

// asks reports whether the configuration names nodes to ask.
func (s *Store) asks() bool { return s.settings.Ask != nil && len(s.config().Owners.URLs) > 0 }

// askLater starts asking the nodes in the background, unless they are being asked or were asked
// within the last minute. askLater does not wait for answers.
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
		s.looked.stir() // a guest must not have the disks that its owner excludes
	}()
}

// learn stores each node's answer. If the request to a node failed, learn keeps the node's
// previous answer.
func (a *asking) learn(r checker.Report, said map[string][]checker.Evidence, nodes []checker.NodeAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
	newest := map[string]*zfs.Snapshot{}
	for i := range r.Disks {
		if d := &r.Disks[i]; d.Newest != nil {
			newest[d.Dataset] = d.Newest
		}
	}
	if a.lastAnswers == nil {
		a.lastAnswers = map[string]nodeSaid{}
	}
	a.order = nil
	for _, n := range nodes {
		a.order = append(a.order, n.Node)
		if last := a.lastAnswers[n.Node]; n.Failure != "" && !last.At.IsZero() {
			last.Failure = n.Failure
			a.lastAnswers[n.Node] = last
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
		a.lastAnswers[n.Node] = now
	}
}

// answers returns the last answer of each node, with the answer's age at the time `now`. A node
// whose answer is older than maxAge counts as unreachable: only the alarming parts of the answer
// count.
func (a *asking) answers(now time.Time, maxAge time.Duration) (said map[string][]checker.Evidence, nodes []checker.NodeAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	said = map[string][]checker.Evidence{}
	for _, name := range a.order {
		n := a.lastAnswers[name]
		node := n.NodeAnswer
		age := max(0, now.Sub(node.At))
		tooOld := node.TooOld(now, maxAge)
		if tooOld && node.Failure == "" {
			node.Failure = "it was not asked"
		}
		if !tooOld {
			node.Now = node.Now.Add(age) // else a copy that was missing at that time would appear long overdue
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

// idle reports whether no node is being asked.
func (a *asking) idle() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.busy
}
