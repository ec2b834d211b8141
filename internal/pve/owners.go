package pve

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Owners says on which node of the cluster each guest is configured.
type Owners struct {
	// Node is this node's name.
	Node string
	// Of is the node's name by the guest's VMID.
	Of map[int]string
}

// Here reports whether a guest is configured on this node.
func (o Owners) Here(vmid int) bool { return o.Node != "" && o.Of[vmid] == o.Node }

// Owners reads only the names of the configurations, which every user may list; the
// configurations themselves are for root. The error is [ErrNotPVE] on a machine that
// is no Proxmox node. It returns after half a minute, even where pmxcfs hangs.
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
	// A guest that migrates while the nodes are walked may be passed by: it leaves a
	// node not yet seen for one already seen. The second walk meets it there.
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
