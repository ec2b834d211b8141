package pve

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Owners tells on which node of the cluster each guest is configured.
type Owners struct {
	// Node is this node's name.
	Node string
	// Of is the node's name by the guest's VMID.
	Of map[int]string
}

// Owners reads only the names of the configurations, which every user may list; the
// configurations themselves are for root. The error is [ErrNotPVE] on a machine that
// is no Proxmox node. Where pmxcfs hangs this hangs, too: call it where that does
// no harm.
func (h Host) Owners() (Owners, error) {
	local, err := os.Readlink(filepath.Join(h.Etc, "local"))
	if err != nil {
		return Owners{}, fmt.Errorf("%w: %w", ErrNotPVE, err)
	}
	o := Owners{Node: filepath.Base(local), Of: map[int]string{}}
	// A guest that migrates while the nodes are walked may be passed by: it leaves a
	// node not yet seen for one already seen. The second walk meets it there.
	for range 2 {
		nodes, err := os.ReadDir(filepath.Join(h.Etc, "nodes"))
		if err != nil {
			return Owners{}, err
		}
		for _, n := range nodes {
			if err := h.readOwner(o.Of, n.Name()); err != nil {
				return Owners{}, err
			}
		}
	}
	return o, nil
}

func (h Host) readOwner(of map[int]string, node string) error {
	for _, kind := range []Kind{QEMU, LXC} {
		entries, err := os.ReadDir(filepath.Join(h.Etc, "nodes", node, kind.configDir()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			name, isConfig := strings.CutSuffix(e.Name(), ".conf")
			if vmid, err := strconv.Atoi(name); isConfig && err == nil {
				of[vmid] = node
			}
		}
	}
	return nil
}
