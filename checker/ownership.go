package checker

import (
	"fmt"
	"slices"
)

// Ownership is a node's statement whether a guest is its own, which means that Proxmox has the
// guest's configuration on this node. A node that does not know whether a guest is its own says
// unknown, never no.
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

// parseWord sets *to to the index of the word text in words.
func parseWord[T ~int](words []string, text []byte, to *T) error {
	at := slices.Index(words, string(text))
	if at < 0 {
		return fmt.Errorf("%q is none of %q", text, words)
	}
	*to = T(at)
	return nil
}
