package checker

import (
	"fmt"
	"slices"
)

// Ownership is what a node says of whether a guest is its own: configured there, by
// Proxmox. A node that cannot tell says unknown, never no.
type Ownership int

// What a node may say.
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

// Presence is how a snapshot that somebody asks for is there on a dataset.
type Presence int

// The ways to be there: a bookmark is enough to replicate on from.
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

// parseWord finds the number that a word stands for.
func parseWord[T ~int](words []string, text []byte, to *T) error {
	at := slices.Index(words, string(text))
	if at < 0 {
		return fmt.Errorf("%q is none of %q", text, words)
	}
	*to = T(at)
	return nil
}
