package format

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// ownersSnapshot returns a managed snapshot that the owner has and the replica does not.
func ownersSnapshot(class zfs.Class, age time.Duration) *zfs.Snapshot {
	s := managed(class, age)
	s.GUID = 8
	return s
}

// ownerNode returns the evidence of a node that has the guest. The argument newest is the node's
// newest snapshot of the disk. The argument presence says whether the node has the replica's newest
// snapshot as a snapshot, as a bookmark or not at all.
func ownerNode(newest *zfs.Snapshot, presence checker.Presence) checker.Evidence {
	return checker.Evidence{Node: "pve1:10191", Owned: checker.Owned, Dataset: "rpool/data/vm-1-disk-0", GUID: 99, Newest: newest, Presence: presence, PresenceGUID: 7}
}

func replicaNode(newest *zfs.Snapshot) checker.Evidence {
	return checker.Evidence{Node: "pve2:10191", Owned: checker.NotOwned, Replica: true, Dataset: "tank/vm-1-disk-0", GUID: 98, Newest: newest, Presence: checker.AsSnapshot, PresenceGUID: 7}
}

func TestWriteExplanation(t *testing.T) {
	d := aDisk("1", zfs.Hourly, 7*hour, func(d *checker.Disk) { d.PendingReceive = true; d.Changed = ago(7*hour + minute) })
	nodes := []checker.Evidence{ownerNode(ownersSnapshot(zfs.Hourly, 10*minute), checker.AsBookmark), replicaNode(nil), {Node: "pve3:10191", Failure: "connection refused | \x1b[2J"}}
	p := checker.NewPolicy(config.Default())
	r := checker.Assemble([]checker.Pool{{Name: "tank", ReadAt: now, Disks: []checker.Disk{d}}}, p, now).WithOwners(p, map[string][]checker.Evidence{d.Dataset: nodes})
	var b bytes.Buffer
	require.NoError(t, Explanation(&b, Table{}, checker.Explain(r.Disks[0], nodes), now))
	golden(t, "explanation", b.String())
	var colour bytes.Buffer
	require.NoError(t, Explanation(&colour, Table{Colour: true, Width: 60}, checker.Explain(r.Disks[0], nodes), now))
	assert.Contains(t, colour.String(), "\x1b[1;31mCRITICAL")
	assert.NotContains(t, colour.String(), "\x1b[2J", "what another host says reaches no terminal")
}

// The table of snapwatch status fits the width of each terminal: no line is too long, and no text
// is cut off.
func TestStatusAtEachWidth(t *testing.T) {
	for _, width := range []int{60, 80, 100, 120, 160, 200} {
		var guests, disks bytes.Buffer
		require.NoError(t, Table{Width: width}.Write(&guests, namedReport()))
		require.NoError(t, Table{Width: width, Disks: true}.Write(&disks, namedReport()))
		golden(t, fmt.Sprintf("status.%d", width), guests.String()+"\n"+disks.String())
		for line := range strings.Lines(guests.String() + disks.String()) {
			assert.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), width, line)
		}
		assert.LessOrEqual(t, strings.Count(guests.String()+disks.String(), "…"), 1, "a long name of a guest at most")
	}
}

// Paragraphs and facts are wrapped at the width of the terminal; a command stays on one line, so
// that a person can copy it with a mouse.
func TestWriteGuestExplanation(t *testing.T) {
	r := namedReport()
	volumes := checker.Volumes{Found: map[string]zfs.Volume{
		"backup":                   {Available: 20 << 30},
		"backup/pve/vm-100-disk-0": {Size: 8 << 30, EncryptionRoot: "backup/pve", Locked: true}, "backup/pve/vm-100-disk-1": {Size: 8 << 30},
	}}
	for _, g := range r.Guests {
		if g.VMID != 100 {
			continue
		}
		e := checker.ExplainGuest(r, g, false, volumes)
		for _, width := range []int{0, 80, 120} {
			var b bytes.Buffer
			require.NoError(t, GuestExplanation(&b, Table{Width: width}, e, now))
			golden(t, fmt.Sprintf("guest.%d", width), b.String())
			for _, command := range append(e.Start, e.Back...) {
				assert.Contains(t, b.String(), "\n    "+command+"\n")
			}
		}
	}
}

func TestWrap(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		lines []string
	}{
		{"", 10, []string{""}},
		{"one two three", 8, []string{"one two", "three"}},
		{"one two three", 13, []string{"one two three"}},
		{"  in deep water", 10, []string{"  in deep", "water"}},
		{"tank/vm-100-disk-0 is", 10, []string{"tank/vm-10", "0-disk-0", "is"}},
		{"  tank/vm-100-disk-0", 10, []string{"  tank/vm-", "100-disk-0"}},
	} {
		assert.Equal(t, c.lines, wrap(c.text, c.width), c.text)
	}
}

func TestTableAtATerminal(t *testing.T) {
	var plainly, coloured bytes.Buffer
	require.NoError(t, Table{Width: 70, Disks: true}.Write(&plainly, someReport()))
	require.NoError(t, Table{Width: 70, Colour: true, Disks: true}.Write(&coloured, someReport()))
	for line := range strings.Lines(plainly.String()) {
		assert.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), 70)
	}
	stripped := coloured.String()
	for _, code := range ansi {
		stripped = strings.ReplaceAll(stripped, "\x1b["+code+"m", "")
	}
	assert.Equal(t, plainly.String(), strings.ReplaceAll(stripped, "\x1b[0m", ""))
	assert.Contains(t, coloured.String(), "\x1b[1;31mCRITICAL  stale ")
	for _, row := range checker.Verdicts() {
		for _, colour := range row.Colours {
			assert.Contains(t, ansi, colour)
		}
	}
}
