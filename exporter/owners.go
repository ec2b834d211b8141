package exporter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// ownedWait is how long an answer waits for Proxmox's configuration, which lies in
// memory and is read at once, or hangs.
const ownedWait = 2 * time.Second

// guests reads which node has which guest. One reading at a time: where pmxcfs
// hangs, one goroutine hangs with it, however many ask.
type guests struct {
	read func() (pve.Owners, error)

	mu      sync.Mutex
	reading *reading
}

type reading struct {
	done   chan struct{}
	owners pve.Owners
	err    error
}

// owners waits for a reading until ctx ends.
func (g *guests) owners(ctx context.Context) (pve.Owners, error) {
	if g.read == nil {
		return pve.Owners{}, errors.New("this exporter does not read Proxmox's configuration")
	}
	ctx, cancel := context.WithTimeout(ctx, ownedWait)
	defer cancel()
	r := g.join()
	select {
	case <-r.done:
		return r.owners, r.err
	case <-ctx.Done():
		return pve.Owners{}, fmt.Errorf("reading Proxmox's configuration: %w (is pmxcfs hung? systemctl status pve-cluster)", ctx.Err())
	}
}

// join begins a reading unless one is under way.
func (g *guests) join() *reading {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reading != nil {
		return g.reading
	}
	r := &reading{done: make(chan struct{})}
	g.reading = r
	go func() {
		defer close(r.done)
		r.owners, r.err = g.read()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.reading = nil
	}()
	return r
}

// ownership answers for one guest from what was read.
func ownership(o pve.Owners, err error, vmid int) checker.Ownership {
	switch {
	case err != nil:
		return checker.OwnershipUnknown
	case o.Of[vmid] == o.Node:
		return checker.Owned
	}
	return checker.NotOwned
}

// isReplica reports whether the configuration says that this node receives a dataset
// from elsewhere.
func (s *Store) isReplica(dataset string) bool {
	if s.settings.Config.Role == "replica" {
		return true
	}
	for _, root := range s.settings.Config.Replicas {
		if zfs.Within(dataset, root) {
			return true
		}
	}
	return false
}
