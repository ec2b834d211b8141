package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// Volumes contains facts about datasets that a report lacks: size, free space and encryption.
type Volumes struct {
	// Found has, by dataset, the facts about the requested datasets and about the root datasets of
	// their pools.
	Found map[string]zfs.Volume
	// Problems says, by the pool's name, why the datasets of a pool could not be read.
	Problems map[string]string
}

// pools returns the names of the pools that contain the guest's disks.
func (e GuestExplanation) pools() []string {
	var pools []string
	for _, d := range e.Disks {
		pools = append(pools, poolOf(d.Disk))
	}
	slices.Sort(pools)
	return slices.Compact(pools)
}

// keys returns the encryption roots of the guest's disks: those with a loaded key, and those with
// a locked key.
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

// warnings returns sentences about obstacles to starting the guest here: locked keys, and faulty
// or full pools.
func (e GuestExplanation) warnings(r Report, v Volumes) []string {
	var words []string
	if _, locked := e.keys(v); len(locked) > 0 {
		words = append(words, fmt.Sprintf("Nobody can read the guest's data without the key of %s, which is not loaded here.", strings.Join(locked, ", ")))
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

// pool returns the pool of the report with this name, nil if the report has no such pool.
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
	if e.Proof != nil {
		facts = append(facts, [2]string{"proof", e.Proof.Verdict.String() + ": " + e.Proof.Reason})
	}
	for _, pool := range e.pools() {
		facts = append(facts, [2]string{"room", e.room(pool, v)})
		if p := r.pool(pool); p != nil {
			facts = append(facts, [2]string{"pool", p.fact(r.Now)})
		}
	}
	return facts
}

// configuration returns a text that says where the guest's configuration is stored.
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
		return "not looked for: its owner has the configuration"
	case kept.Sum == "":
		return "not kept with its snapshots: only the host that has the guest has the configuration (capture_config: true keeps it)"
	case kept.Since.IsZero():
		return "kept with its snapshots"
	}
	return fmt.Sprintf("kept with its snapshots, and unchanged for %s", text.Age(max(0, now.Sub(kept.Since))))
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

// room returns the free space of a pool, and the most space that clones of the guest's disks on
// the pool may need.
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

// fact describes the pool's verdict, fill and last scrub in words.
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
