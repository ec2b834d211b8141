package site

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// standinDir is where the stand-ins look for what shall go wrong; test/standin
// tells the kinds of faults.
const standinDir = "/run/standin"

// SetPveshFault makes pvesh fail until ClearPveshFault: kind is fail, hang,
// garbage, empty or unknown, for one sort of calls with .qemu, .lxc, .current or
// .resources behind it, for one call only with .once.
func (s *Site) SetPveshFault(kind, content string) error {
	return s.WriteFile(filepath.Join(standinDir, "pvesh."+kind), content)
}

// ClearPveshFault lets pvesh work again.
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

// PveshCalls are the arguments of all calls of pvesh so far.
func (s *Site) PveshCalls() ([]string, error) {
	text, err := s.ReadFile(filepath.Join(standinDir, "pvesh.log"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n"), err
}

// SetQMPStatus sets what QEMU tells of its own state while the virtual machine
// runs, such as paused or prelaunch.
func (s *Site) SetQMPStatus(vmid int, status string) error {
	return s.WriteFile(fmt.Sprintf("/run/qemu-server/%d.qmpstatus", vmid), status+"\n")
}
