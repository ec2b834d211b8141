package page

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/checker"
)

// A thousand guests that alarm alone do not make a page of a thousand lines above the disks.
func TestFewGuestsAreNamed(t *testing.T) {
	r := checker.Report{Notes: []checker.Note{{Text: "a note"}}}
	for vmid := range 3 {
		r.Guests = append(r.Guests, checker.Guest{VMID: vmid, Alone: vmid > 0})
	}
	assert.Len(t, notes(r), 3)
	for vmid := range 1000 {
		r.Guests = append(r.Guests, checker.Guest{VMID: vmid, Alone: true})
	}
	all := notes(r)
	assert.Len(t, all, 1+maxGuestNotes+1)
	assert.Contains(t, all[len(all)-1].Text, "992 more guests alarm")
}
