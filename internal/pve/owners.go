package pve

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Owners lists the node of the cluster on which each guest is configured.
type Owners struct {
	// Node is this node's name.
	Node string
	// Of maps the VMID of each guest to the name of the node on which the guest is configured.
	Of map[int]string
}

// Here reports whether a guest is configured on this node.
func (o Owners) Here(vmid int) bool { return o.Node != "" && o.Of[vmid] == o.Node }

// Owners reads the file names of the configurations, not their contents, because every user may
// list the names, but only root may read the contents. The error is [ErrNotPVE] on a machine that
// is not a Proxmox node. Owners returns after at most half a minute, even if pmxcfs hangs.
func (h Host) Owners() (Owners, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ownersTimeout)
	defer cancel()
	a, err := h.ask(ctx, question{What: "owners"})
	return a.Owners, err
}

func (h Host) readOwners() (Owners, error) {
	local, err := os.Readlink(filepath.Join(h.Etc, "local"))
	if err != nil {
		return Owners{}, fmt.Errorf("%w: %w", ErrNotPVE, err)
	}
	o := Owners{Node: filepath.Base(local), Of: map[int]string{}}
	// Owners reads the directories of the nodes twice. If a guest migrates during the first
	// reading, from a node that was not yet read to a node that was already read, the first reading
	// misses the guest.
	for range 2 {
		nodes, err := h.nodes()
		if err != nil {
			return Owners{}, err
		}
		for _, n := range nodes {
			err := h.eachGuest(n, func(id ID, _ string) error {
				o.Of[id.VMID] = n
				return nil
			})
			if err != nil {
				return Owners{}, err
			}
		}
	}
	return o, nil
}
