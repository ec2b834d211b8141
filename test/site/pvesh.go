package site

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// standinDir is the directory with the files by which a test requests faults of the stand-ins for
// Proxmox's programs; test/standin lists the kinds of faults.
const standinDir = "/run/standin"

// SetPveshFault makes pvesh fail until ClearPveshFault is called. The kind of fault is fail, hang,
// garbage, empty or unknown. The kind may have a suffix: with .qemu, .lxc, .current or .resources,
// the fault concerns only one sort of calls; with .once, the fault concerns only one call.
func (s *Site) SetPveshFault(kind, content string) error {
	return s.WriteFile(filepath.Join(standinDir, "pvesh."+kind), content)
}

// ClearPveshFault removes all faults of pvesh.
func (s *Site) ClearPveshFault() error {
	return s.Inside(func() error {
		paths, err := filepath.Glob(filepath.Join(standinDir, "pvesh.*"))
		if err != nil {
			return err
		}
		for _, path := range paths {
			if filepath.Ext(path) == ".log" {
				continue
			}
			if err := os.Remove(path); err != nil {
				return err
			}
		}
		return nil
	})
}

// PveshCalls returns the arguments of all past calls of pvesh in the site.
func (s *Site) PveshCalls() ([]string, error) {
	text, err := s.ReadFile(filepath.Join(standinDir, "pvesh.log"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n"), err
}

// SetQMPStatus sets the state that QEMU reports while the virtual machine runs, such as paused or
// prelaunch.
func (s *Site) SetQMPStatus(vmid int, status string) error {
	return s.WriteFile(fmt.Sprintf("/run/qemu-server/%d.qmpstatus", vmid), status+"\n")
}
