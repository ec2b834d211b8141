package config

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Quiesced is the part of the file about guests that are frozen while their
// snapshot is taken, and about guests that belong together.
type Quiesced struct {
	// Quiesce says which guests are frozen, and how.
	Quiesce []Quiesce `yaml:"quiesce"`
	// Groups are guests whose disks get one snapshot together.
	Groups []Group `yaml:"groups"`
	// MaxFreeze is how long guests may be frozen for one snapshot.
	MaxFreeze Duration `yaml:"max_freeze"`
}

// longestFreeze bounds max_freeze: a guest that does not write for minutes is down
// for whoever uses it.
const longestFreeze = time.Minute

// Quiesce says of some guests how they are frozen.
type Quiesce struct {
	VMID VMIDs `yaml:"vmid"`
	How  How   `yaml:"how"`
}

// Group is guests that belong together: their disks get their snapshots in one
// transaction group of each pool.
type Group struct {
	Name string `yaml:"name"`
	VMID VMIDs  `yaml:"vmid"`
	// Quiesce holds for members that have no entry of their own.
	Quiesce How `yaml:"quiesce,omitempty"`
}

// How is the way a guest is frozen; "" is none.
type How string

// The ways.
const (
	// Agent asks the QEMU guest agent to freeze the file systems.
	Agent How = "agent"
	// Cgroup stops a container's processes with the freezer of cgroup v2.
	Cgroup How = "cgroup"
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *How) UnmarshalText(text []byte) error {
	*h = How(text)
	if *h != Agent && *h != Cgroup {
		return fmt.Errorf("%q is no way to hold a guest still; write agent for a virtual machine, cgroup for a container", text)
	}
	return nil
}

// HowFor returns how a guest is frozen, "" if it isn't, and the rule it comes from:
// its own entry, or else its group's.
func (q Quiesced) HowFor(vmid int) (how How, rule string) {
	for i, e := range q.Quiesce {
		if e.VMID.Contains(vmid) {
			return e.How, fmt.Sprintf("quiesce[%d] (vmid %s)", i, e.VMID)
		}
	}
	if g, ok := q.GroupOf(vmid); ok && g.Quiesce != "" {
		return g.Quiesce, "group " + g.Name
	}
	return "", ""
}

// GroupOf returns the group that a guest is a member of, false if it is in none.
func (q Quiesced) GroupOf(vmid int) (Group, bool) {
	for _, g := range q.Groups {
		if g.VMID.Contains(vmid) {
			return g, true
		}
	}
	return Group{}, false
}

var groupName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

func (q Quiesced) validate() error {
	if d := q.MaxFreeze.Std(); d <= 0 || d > longestFreeze {
		return fmt.Errorf("max_freeze: %s; write more than 0s and no more than 1m", q.MaxFreeze)
	}
	for i, e := range q.Quiesce {
		if err := e.validate(q.Quiesce[:i]); err != nil {
			return fmt.Errorf("quiesce, entry %d: %w", i+1, err)
		}
	}
	for i, g := range q.Groups {
		if err := g.validate(q.Groups[:i]); err != nil {
			return fmt.Errorf("groups, entry %d: %w", i+1, err)
		}
	}
	return nil
}

func (e Quiesce) validate(before []Quiesce) error {
	if len(e.VMID) == 0 {
		return errors.New("says for no guest what it is for; give vmid")
	}
	if e.How == "" {
		return errors.New("does not say how; write agent for a virtual machine, cgroup for a container")
	}
	for _, b := range before {
		if vmid, both := e.VMID.common(b.VMID); both {
			return fmt.Errorf("guest %d has an entry already", vmid)
		}
	}
	return nil
}

func (g Group) validate(before []Group) error {
	if !groupName.MatchString(g.Name) {
		return fmt.Errorf("%q is no name; write letters, digits, dots, dashes", g.Name)
	}
	if len(g.VMID) == 0 {
		return fmt.Errorf("group %s has no guests; give vmid, as in 100,102-104", g.Name)
	}
	for i := range g.VMID {
		if vmid, both := g.VMID[:i].common(g.VMID[i : i+1]); both {
			return fmt.Errorf("group %s: guest %d is listed twice", g.Name, vmid)
		}
	}
	for _, b := range before {
		if b.Name == g.Name {
			return fmt.Errorf("group %s is there already", g.Name)
		}
		if vmid, both := g.VMID.common(b.VMID); both {
			return fmt.Errorf("group %s: guest %d is in group %s already", g.Name, vmid, b.Name)
		}
	}
	return nil
}
