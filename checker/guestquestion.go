package checker

import (
	"slices"
	"strings"
)

// GuestQuestion is what must be looked up of a guest's disks before it can be judged well.
// [Looked] is the answer. A question that was answered is asked again: the answer may be
// another one now, and who answers knows what has not changed.
type GuestQuestion struct {
	// Compare are disks of one name: which are copies of one disk?
	Compare []Disk
	// Common are its disks, whose newest snapshots are of several times: which is the newest
	// time that all have?
	Common []Disk
	// Apart asks, too, since when they have had nothing newer in common.
	Apart bool
	// Config is a disk whose newest snapshot may keep the guest's configuration; nil asks for
	// none.
	Config *Disk
}

// question returns what is to be looked up of the guest, false for nothing.
func (c *guestEvaluation) question() (q GuestQuestion, ask bool) {
	for _, d := range c.alike {
		q.Compare = append(q.Compare, d.Disk)
	}
	if c.snapshots && !c.agreed && c.uncompared == nil {
		for _, d := range c.serving {
			q.Common = append(q.Common, d.Disk)
		}
		level, _ := c.level(c.age)
		q.Apart = c.found != nil && level > Within
	}
	if d := c.unconfigured(); d != nil && !c.owned {
		q.Config = &d.Disk
	}
	return q, len(q.Compare)+len(q.Common) > 0 || q.Config != nil
}

// Among is a set of datasets as [Looked] has it.
func Among(datasets []string) string {
	return strings.Join(slices.Sorted(slices.Values(datasets)), "\n")
}
