package drill

import (
	"fmt"
	"strconv"
	"strings"

	"snapwatch/checker"
)

// ParseShare reads the share of all blocks that a drill reads, such as 1/30. The share is more than
// 0 and at most 1.
func ParseShare(text string) (float64, error) {
	above, below, _ := strings.Cut(text, "/")
	n, err := strconv.ParseUint(above, 10, 16)
	of, ofErr := strconv.ParseUint(below, 10, 16)
	if err != nil || ofErr != nil || n == 0 || n > of {
		return 0, fmt.Errorf("%q is not a part of a disk; write it as 1/30, or 1/1 for the whole disk", text)
	}
	return float64(n) / float64(of), nil
}

// NextPart returns the part of the guest's blocks that comes after the part that was read last.
// share is the length of the part; 1 is the whole.
func (r Records) NextPart(g Guest, share float64) checker.Part {
	const rest = 1e-6 // of a disk, which gets no drill of its own
	record, _ := r.Of(g)
	p := checker.Part{From: record.ReadTo, To: record.ReadTo + share}
	if share >= 1 || !(p.From >= 0 && p.From < 1) {
		p = checker.Part{To: share}
	}
	if p.To > 1-rest {
		p.To = 1
	}
	return p
}

// Inspection is the result of reading a clone, without the look by libguestfs.
type Inspection struct {
	// Bytes is the number of bytes that were read of the part.
	Bytes uint64 `json:"bytes"`
	// System is the name of the operating system in a container's dataset. IsSystem is true if the
	// dataset has the directories of a system, with or without a name.
	System   string `json:"system,omitempty"`
	IsSystem bool   `json:"is_system,omitempty"`
	// Wrong is the fault at which the reading ended, "" if there is none. Unmounted is true if the
	// dataset could not even be mounted.
	Wrong     string `json:"wrong,omitempty"`
	Unmounted bool   `json:"unmounted,omitempty"`
}
