package exporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"snapwatch/checker"
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
	case o.Of[vmid] == o.Node:
		return checker.Owned
	}
	return checker.NotOwned
}

// setOwned says of each disk whether its guest is configured here, by what was read last;
// only where that is nothing yet it waits.
func (s *Store) setOwned(ctx context.Context, disks []checker.Disk) {
	if s.settings.NoGuests {
		for i := range disks {
			disks[i].Owned = checker.NotOwned
		}
		return
	}
	if s.settings.Owners == nil {
		return
	}
	owners := s.guests.known()
	if owners == nil {
		read, err := s.owners(ctx)
		if err != nil {
			return
		}
		owners = &read
	}
	for i := range disks {
		disks[i].Owned = ownership(*owners, nil, disks[i].VMID)
	}
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
