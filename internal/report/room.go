package report

import "time"

// Room records the space of a pool for the next snapshots, in bytes.
type Room struct {
	// At is the time when a run read the pool's space.
	At time.Time `json:"at"`
	// Size is the size of the pool, and Allocated its allocated part, in bytes, as zpool list
	// prints them. Size and Allocated are 0 if zpool did not answer.
	Size      uint64 `json:"size,omitempty"`
	Allocated uint64 `json:"allocated,omitempty"`
	// Thick is the number of running guests' disks with a refreservation. Reserves is the number of
	// bytes that the next snapshots of the Thick disks reserve, and Free is the number of free
	// bytes for these snapshots.
	Thick    int    `json:"thick,omitempty"`
	Reserves uint64 `json:"reserves,omitempty"`
	Free     uint64 `json:"free,omitempty"`
	// Full is a text if the pool is fuller than its limits, and "" if it is not. FullCritical is
	// true if the pool is fuller than its critical limit. Short is a text if the pool may lack
	// space for the next snapshots of disks with a refreservation, and "" if the space suffices.
	Full         string `json:"full,omitempty"`
	FullCritical bool   `json:"full_critical,omitempty"`
	Short        string `json:"short,omitempty"`
}

// roomFor is the time for which the record of a pool's space is valid if no run reads the pool
// again: long enough for one run a week.
const roomFor = backlogFor

// RoomsAt returns, by pool, the records of the pools' space that are still valid at the time now.
func (r *Run) RoomsAt(now time.Time) map[string]Room {
	return selectEntries(r.Rooms, func(room Room) bool { return !room.At.After(now) && now.Sub(room.At) <= roomFor })
}
