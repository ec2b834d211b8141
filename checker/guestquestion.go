package checker

import (
	"slices"
	"strings"
)

// GuestQuestion is a question about a guest's disks. [Looked] is the answer to a question, and
// makes the verdict on the guest more exact. Every report asks its questions again, because the
// answers may change. The scanner remembers answers about disks that have not changed.
type GuestQuestion struct {
	// Compare has datasets that share a disk name. The question asks which datasets in Compare are
	// copies of one disk.
	Compare []Disk
	// Common has the guest's disks if their newest snapshots have different times. The question
	// asks for the newest time of which each disk in Common has a snapshot.
	Common []Disk
	// Apart is true if the question also asks since when the guest's disks have had no newer
	// snapshot in common.
	Apart bool
	// Config is a disk whose newest snapshot may keep the guest's configuration; nil if the
	// question does not ask for the configuration.
	Config *Disk
}

// question returns what the report must ask about the guest's disks. ask is false if the report has
// nothing to ask.
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

// Answered reports whether the last lookup of snapshots in common was made for exactly the disks in
// Common.
func (q GuestQuestion) Answered() bool {
	names := make([]string, 0, len(q.Common))
	for _, d := range q.Common {
		names = append(names, d.Dataset)
	}
	among := Among(names)
	return !slices.ContainsFunc(q.Common, func(d Disk) bool { return d.Looked == nil || d.Looked.Among != among })
}

// Among joins the names of datasets, in the form of the field Among of [Looked].
func Among(datasets []string) string {
	return strings.Join(slices.Sorted(slices.Values(datasets)), "\n")
}
