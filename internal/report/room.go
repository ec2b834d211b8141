package report

import "time"

// Room is what a pool has for snapshots, in bytes.
type Room struct {
	// At is when a run looked.
	At time.Time `json:"at"`
	// Size and Allocated are as zpool has them, 0 where it did not tell.
	Size      uint64 `json:"size,omitempty"`
	Allocated uint64 `json:"allocated,omitempty"`
	// Thick is how many disks of running guests have room reserved (refreservation), Reserves
	// what their next snapshots take, and Free what there is for them.
	Thick    int    `json:"thick,omitempty"`
	Reserves uint64 `json:"reserves,omitempty"`
	Free     uint64 `json:"free,omitempty"`
	// Full says that the pool is fuller than its limits, FullCritical that it is beyond the
	// critical one; Short that the thick disks' next snapshots may not fit. "" is well.
	Full         string `json:"full,omitempty"`
	FullCritical bool   `json:"full_critical,omitempty"`
	Short        string `json:"short,omitempty"`
}

// roomFor is how long it counts where no run looks again: until the next run, if there is one a
// week.
const roomFor = backlogFor

// RoomsAt returns those of the run's rooms that count at a time.
func (r *Run) RoomsAt(now time.Time) map[string]Room {
	return those(r.Rooms, func(room Room) bool { return !room.At.After(now) && now.Sub(room.At) <= roomFor })
}
