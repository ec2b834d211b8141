package exporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// ownedWait is how long an answer waits for Proxmox's configuration, which lies in
// memory and is read at once, or hangs.
const ownedWait = 2 * time.Second

// owners reads which node has which guest.
func (s *Store) owners(ctx context.Context) (pve.Owners, error) {
	if s.settings.Owners == nil {
		return pve.Owners{}, errors.New("this exporter does not read Proxmox's configuration")
	}
	owners, waited, err := s.guests.get(ctx, ownedWait)
	if !waited {
		return pve.Owners{}, fmt.Errorf("reading Proxmox's configuration: %w (is pmxcfs hung? systemctl status pve-cluster)", err)
	}
	return owners, err
}

// ownership answers for one guest from what was read.
func ownership(o pve.Owners, err error, vmid int) checker.Ownership {
	switch {
	case err != nil:
		return checker.OwnershipUnknown
	case o.Here(vmid):
		return checker.Owned
	}
	return checker.NotOwned
}

// ownersOnce is what was read last of Proxmox's configuration; only where that is nothing yet
// it waits. It returns nil where nothing can be read.
func (s *Store) ownersOnce(ctx context.Context) *pve.Owners {
	if owners := s.guests.known(); owners != nil || s.settings.Owners == nil || s.settings.NoGuests {
		return owners
	}
	owners, err := s.owners(ctx)
	if err != nil {
		return nil
	}
	return &owners
}

// setOwned says of each disk whether its guest is configured here.
func (s *Store) setOwned(owners *pve.Owners, disks []checker.Disk) {
	for i := range disks {
		switch {
		case s.settings.NoGuests:
			disks[i].Owned = checker.NotOwned
		case owners != nil:
			disks[i].Owned = ownership(*owners, nil, disks[i].VMID)
		}
	}
}

// isReplica reports whether the configuration says that this node receives a dataset
// from elsewhere.
func (s *Store) isReplica(dataset string) bool { return isReplica(s.config(), dataset) }

func isReplica(c config.Config, dataset string) bool {
	return c.Role == "replica" || zfs.WithinAny(dataset, c.Replicas)
}

// isCopy reports whether the configuration says that a dataset is received here, or where
// it comes from: then the number in its name is not that of a guest of this node.
func isCopy(c config.Config, dataset string) bool {
	_, origin := c.OriginOf(dataset)
	return origin != "" || isReplica(c, dataset)
}

// guestsByDisk says which node has a disk's guest, by what Proxmox's configuration said
// last; nil where it never said anything.
func (s *Store) guestsByDisk() *scan.Guests {
	owners := s.guests.known()
	if owners == nil {
		return nil
	}
	return &scan.Guests{Here: owners.Node, Node: func(dataset string, vmid int) string {
		if isCopy(s.config(), dataset) {
			return ""
		}
		return owners.Of[vmid]
	}}
}
