package checker

import (
	"fmt"
	"slices"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// Ownership is a node's statement whether a guest is its own. A guest is a node's own if Proxmox
// has the guest's configuration on this node. A node that does not know whether a guest is its own
// says unknown, never no.
type Ownership int

// A node says one of the following about whether a guest is its own.
const (
	OwnershipUnknown Ownership = iota
	Owned
	NotOwned
)

var ownershipWords = []string{"unknown", "yes", "no"}

func (o Ownership) String() string { return ownershipWords[o] }

// MarshalText implements [encoding.TextMarshaler].
func (o Ownership) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (o *Ownership) UnmarshalText(text []byte) error {
	return parseWord(ownershipWords, text, o)
}

// IsCopy reports whether the configuration names a dataset as received on this host, or names the
// dataset's origin. The VMID in the name of a copy is not the VMID of a guest of this host.
func IsCopy(c config.Config, dataset string) bool {
	_, origin := c.OriginOf(dataset)
	return origin != "" || IsReplica(c, dataset)
}

// IsReplica reports whether the configuration says that this host receives a dataset from
// elsewhere. The configuration need not name the dataset's origin.
func IsReplica(c config.Config, dataset string) bool {
	return c.Role == "replica" || zfs.WithinAny(dataset, c.Replicas)
}

// IsOwn reports whether a disk belongs to a guest of this host and is not a copy.
func IsOwn(c config.Config, d *Disk) bool { return d.Owned == Owned && !IsCopy(c, d.Dataset) }

// isReplica reports whether the node cannot own the disk: the node says that it only receives the
// disk, or the answer is about this host's own dataset, as the equal guids show.
func (e Evidence) isReplica(d Disk) bool {
	return e.Replica || (e.GUID != 0 && e.GUID == d.GUID)
}

func (e Evidence) owns(d Disk) bool {
	return e.Failure == "" && !e.Foreign && e.Owned == Owned && !e.isReplica(d)
}

// isOwn reports whether a disk belongs to a guest of this host, and no node's last answer says that
// the guest is that node's own.
func (p *Policy) isOwn(d Disk, nodes []Evidence) bool {
	return p.IsOwn != nil && p.IsOwn(&d) && !slices.ContainsFunc(nodes, func(e Evidence) bool {
		e.Failure = ""
		return e.owns(d)
	})
}

// Presence says in which form a dataset has a requested snapshot: as a snapshot, as a bookmark,
// or not at all.
type Presence int

// A dataset has a requested snapshot in one of the following forms. A bookmark is enough to
// continue a replication.
const (
	PresenceUnknown Presence = iota
	Absent
	AsSnapshot
	AsBookmark
)

var presenceWords = []string{"unknown", "no", "snapshot", "bookmark"}

func (p Presence) String() string { return presenceWords[p] }

// MarshalText implements [encoding.TextMarshaler].
func (p Presence) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Presence) UnmarshalText(text []byte) error {
	return parseWord(presenceWords, text, p)
}

// parseWord stores in *to the index at which the list `words` has the word `text`.
func parseWord[T ~int](words []string, text []byte, to *T) error {
	at := slices.Index(words, string(text))
	if at < 0 {
		return fmt.Errorf("%q is none of %q", text, words)
	}
	*to = T(at)
	return nil
}
