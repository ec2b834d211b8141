package pve

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// readReplication returns the VMIDs of the guests that Proxmox's own replication (pvesr) sends to
// the node. A guest with a disabled replication job is also returned, because the job may be
// enabled again. If the file at path is missing, no replication job exists.
func readReplication(path, node string) (here map[int]bool, warnings []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	here, odd := parseReplication(string(text), node)
	return here, words("replication.cfg", odd), nil
}

func parseReplication(text, node string) (here map[int]bool, odd []oddity) {
	here = map[int]bool{}
	sections, odd := parseSections(text)
	for _, s := range sections {
		guest, _, _ := strings.Cut(s.name, "-") // the rest is the number of the guest's job
		vmid, err := strconv.Atoi(guest)
		if s.kind != "local" || err != nil {
			continue
		}
		target, _, more := s.accepted("target", "the job has no target", func(t setting) bool { return nodeName.MatchString(t.value) })
		odd = append(odd, more...)
		here[vmid] = here[vmid] || target.value == node
	}
	return here, odd
}
