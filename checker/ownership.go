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
	at, err := wordIn(ownershipWords, string(text))
	*o = Ownership(at)
	return err
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
	at, err := wordIn(presenceWords, string(text))
	*p = Presence(at)
	return err
}

func wordIn(words []string, word string) (int, error) {
	at := slices.Index(words, word)
	if at < 0 {
		return 0, fmt.Errorf("%q is none of %q", word, words)
	}
	return at, nil
}
