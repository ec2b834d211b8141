package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// Volumes is what is known of datasets beside what a report has of them.
type Volumes struct {
	// Found are the datasets and their pools, by name.
	Found map[string]zfs.Volume
	// Problems say why nothing of it is known of a pool, by its name.
	Problems map[string]string
}

// pools are those that its disks are on.
func (e GuestExplanation) pools() []string {
	var pools []string
	for _, d := range e.Disks {
		pools = append(pools, poolOf(d.Disk))
	}
	slices.Sort(pools)
	return slices.Compact(pools)
}

// keys are the datasets with whose keys its disks are encrypted: those that are loaded, and those
// that are not.
func (e GuestExplanation) keys(v Volumes) (loaded, locked []string) {
	for _, d := range e.Disks {
		switch volume := v.Found[d.Dataset]; {
		case volume.EncryptionRoot == "":
		case volume.Locked:
			locked = append(locked, volume.EncryptionRoot)
		default:
			loaded = append(loaded, volume.EncryptionRoot)
		}
	}
	slices.Sort(loaded)
	slices.Sort(locked)
	return slices.Compact(loaded), slices.Compact(locked)
}

// warnings are sentences on what stands in the way of starting it here.
func (e GuestExplanation) warnings(r Report, v Volumes) []string {
	var words []string
	if _, locked := e.keys(v); len(locked) > 0 {
		words = append(words, fmt.Sprintf("Nobody can read it without the key of %s, which is not loaded here.", strings.Join(locked, ", ")))
	}
	for _, pool := range e.pools() {
		if p := r.pool(pool); p != nil && p.State != OK {
			words = append(words, fmt.Sprintf("Pool %s is not well: %s.", pool, p.Reason))
		}
		if volume, known := v.Found[pool]; known && volume.Available == 0 {
			words = append(words, fmt.Sprintf("Pool %s has no room left: nothing can be cloned or written there.", pool))
		}
	}
	return words
}

// pool is the report's of that name, nil if it has none.
func (r Report) pool(name string) *PoolResult {
	for i := range r.Pools {
		if r.Pools[i].Name == name {
			return &r.Pools[i]
		}
	}
	return nil
}

func (e GuestExplanation) facts(r Report, v Volumes) [][2]string {
	facts := [][2]string{{"configuration", e.configuration(r.Now)}, {"encryption", e.encryption(v)}}
	for _, pool := range e.pools() {
		facts = append(facts, [2]string{"room", e.room(pool, v)})
		if p := r.pool(pool); p != nil {
			facts = append(facts, [2]string{"pool", p.fact(r.Now)})
		}
	}
	return facts
}

// configuration says where the guest's configuration is.
func (e GuestExplanation) configuration(now time.Time) string {
	var kept *KeptConfig
	for _, d := range e.Disks {
		if d.Looked != nil && d.Looked.Config != nil {
			kept = d.Looked.Config
		}
	}
	switch {
	case e.Own:
		return "this host's, in /etc/pve"
	case kept == nil:
		return "not looked for: its owner has it"
	case kept.Sum == "":
		return "not kept with its snapshots: only the host that has the guest has it (capture_config: true keeps it)"
	case kept.Since.IsZero():
		return "kept with its snapshots"
	}
	return fmt.Sprintf("kept with its snapshots, and the same for %s", text.Age(max(0, now.Sub(kept.Since))))
}

func (e GuestExplanation) encryption(v Volumes) string {
	var words []string
	loaded, locked := e.keys(v)
	for _, root := range loaded {
		words = append(words, "with the key of "+root+", which is loaded")
	}
	for _, root := range locked {
		words = append(words, "with the key of "+root+", which is not loaded")
	}
	for _, pool := range e.pools() {
		if _, known := v.Found[pool]; !known {
			words = append(words, "not known on "+pool+after(": ", v.Problems[pool]))
		}
	}
	if len(words) == 0 {
		return "none here"
	}
	return strings.Join(words, "; ")
}

// room says what clones of its disks on a pool may take, and what there is.
func (e GuestExplanation) room(pool string, v Volumes) string {
	volume, known := v.Found[pool]
	if !known {
		return "not known on " + pool
	}
	var most uint64
	bound := true
	for _, d := range e.Disks {
		if poolOf(d.Disk) == pool {
			size := v.Found[d.Dataset].Size
			most, bound = most+size, bound && size > 0
		}
	}
	words := fmt.Sprintf("%s has %s free; a clone takes only what is written to it", pool, text.Bytes(volume.Available))
	switch {
	case !bound:
		return words
	case most <= volume.Available:
		return words + fmt.Sprintf(", at most %s: there is room", text.Bytes(most))
	}
	return words + fmt.Sprintf(", at most %s: the pool may fill up", text.Bytes(most))
}

// fact is how a pool is.
func (p PoolResult) fact(now time.Time) string {
	words := p.Name + " is " + p.Verdict.String()
	if p.ZFSState != "" {
		words += ", ZFS calls it " + p.ZFSState
	}
	if fill, known := p.Health.Fill(); known {
		words += fmt.Sprintf(", %.0f%% of it is taken", 100*fill)
	}
	if p.Health != nil && !p.Health.LastScrub.IsZero() {
		words += fmt.Sprintf(", its last scrub ended %s ago", text.Age(max(0, now.Sub(p.Health.LastScrub))))
	}
	return words
}
