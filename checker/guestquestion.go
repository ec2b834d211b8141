package checker

import (
	"slices"
	"strings"
)

// GuestQuestion is a question about a guest's disks. [Looked] is the answer, which improves the
// verdict on the guest. Every report asks the question again, because the answer may change. The
// scanner remembers the unchanged parts.
type GuestQuestion struct {
	// Compare are disks of one name: which are copies of one disk?
	Compare []Disk
	// Common are the guest's disks, if their newest snapshots have different times: which is the
	// newest time that all disks have?
	Common []Disk
	// Apart is true if the question also asks since when the disks have had nothing newer in common.
	Apart bool
	// Config is a disk whose newest snapshot may keep the guest's configuration; nil if the
	// configuration is not wanted.
	Config *Disk
}

// question returns the question about the guest, and whether there is a question.
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

// Among returns a set of datasets in the form of the field of [Looked].
func Among(datasets []string) string {
	return strings.Join(slices.Sorted(slices.Values(datasets)), "\n")
}
