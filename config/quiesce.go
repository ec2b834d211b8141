package config

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Quiesced is the part of the configuration about guests that are frozen while their snapshots are
// taken, and about groups of guests.
type Quiesced struct {
	// Quiesce has the guests that must be frozen, with the way of freezing each guest.
	Quiesce []Quiesce `yaml:"quiesce"`
	// Groups are sets of guests whose disks get their snapshots together.
	Groups []Group `yaml:"groups"`
	// Guests may be frozen for one snapshot for at most MaxFreeze.
	MaxFreeze Duration `yaml:"max_freeze"`
}

// longestFreeze is the largest value of max_freeze, because a guest that cannot write for minutes
// is down for its users.
const longestFreeze = time.Minute

// Quiesce has some guests, and the way in which these guests are frozen.
type Quiesce struct {
	VMID VMIDs `yaml:"vmid"`
	How  How   `yaml:"how"`
}

// Group is a set of guests whose snapshots must be of the same time. On each pool, all disks of the
// group get their snapshots in one transaction group.
type Group struct {
	Name string `yaml:"name"`
	VMID VMIDs  `yaml:"vmid"`
	// Quiesce is the way of freezing each member of the group that has no entry of its own under
	// the key quiesce.
	Quiesce How `yaml:"quiesce,omitempty"`
}

// How is the way in which a guest is frozen; "" if the guest is not frozen.
type How string

// The ways in which snap can freeze a guest.
const (
	// Agent makes the QEMU guest agent freeze the guest's file systems.
	Agent How = "agent"
	// Cgroup freezes a container's processes with the freezer of cgroup v2.
	Cgroup How = "cgroup"
)

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *How) UnmarshalText(text []byte) error {
	*h = How(text)
	if *h != Agent && *h != Cgroup {
		return fmt.Errorf("%q is not a way to freeze a guest; write agent for a virtual machine, cgroup for a container", text)
	}
	return nil
}

// HowFor returns the way in which a guest is frozen, "" if the guest is not frozen. HowFor also
// returns the configuration rule that decides: the guest's own entry, or the entry of its group if
// the guest has none.
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

// GroupOf returns the group of a guest. If the guest is not in a group, GroupOf returns false.
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
		return errors.New("selects no guest; give vmid")
	}
	if e.How == "" {
		return errors.New("how is missing; write agent for a virtual machine, cgroup for a container")
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
		return fmt.Errorf("%q is not a name for a group; write letters, digits, dots, dashes", g.Name)
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
			return fmt.Errorf("group %s is listed twice", g.Name)
		}
		if vmid, both := g.VMID.common(b.VMID); both {
			return fmt.Errorf("group %s: guest %d is in group %s already", g.Name, vmid, b.Name)
		}
	}
	return nil
}
