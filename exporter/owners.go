package exporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/pve"
)

// ownedWait is the greatest time for which an answer waits for the reading of Proxmox's guest
// configurations. The guest configurations are in the memory of pmxcfs: reading them takes no time,
// or hangs.
const ownedWait = 2 * time.Second

// owners reads which node owns which guest.
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

// ownership returns whether this host owns a guest, according to the result o and err of reading
// Proxmox's guest configurations.
func ownership(o pve.Owners, err error, vmid int) checker.Ownership {
	switch {
	case err != nil:
		return checker.OwnershipUnknown
	case o.Here(vmid):
		return checker.Owned
	}
	return checker.NotOwned
}

// ownersOnce returns the owners of guests as they were last read. If the owners were never read,
// ownersOnce reads them; it returns nil if they cannot be read.
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

// setOwned records for each disk whether its guest is configured here.
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

// guestsByDisk returns the nodes on which guests are configured, according to the configuration of
// Proxmox that was last read. guestsByDisk returns nil if the configuration of Proxmox was never
// read.
func (s *Store) guestsByDisk() *scan.Guests {
	owners := s.guests.known()
	if owners == nil {
		return nil
	}
	return &scan.Guests{Here: owners.Node, Node: func(dataset string, vmid int) string {
		if checker.IsCopy(s.config(), dataset) {
			return ""
		}
		return owners.Of[vmid]
	}}
}
