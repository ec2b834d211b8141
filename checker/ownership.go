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

// Presence is how a dataset holds a snapshot that somebody asks for.
type Presence int

// The ways to hold a snapshot: a bookmark is enough to replicate on from.
const (
	PresenceUnknown Presence = iota
	Absent
	AsSnapshot
	AsBookmark
)

var presenceWords = []string{"unknown", "no", "snapshot", "bookmark"}

func (h Presence) String() string { return presenceWords[h] }

// MarshalText implements [encoding.TextMarshaler].
func (h Presence) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Presence) UnmarshalText(text []byte) error {
	at, err := wordIn(presenceWords, string(text))
	*h = Presence(at)
	return err
}

func wordIn(words []string, word string) (int, error) {
	at := slices.Index(words, word)
	if at < 0 {
		return 0, fmt.Errorf("%q is none of %q", word, words)
	}
	return at, nil
}
