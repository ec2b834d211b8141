package zfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// labelled reads datasets with their labels. If the output is unreadable, labelled reads the labels
// in separate calls of zfs. In a separate call, a strange value from a received stream makes the
// labels of only one disk unreadable.
func (r Reader) labelled(ctx context.Context, depth, more, names []string) ([]Dataset, error) {
	heads, err := r.heads(ctx, depth, slices.Concat(more, headProperties), names)
	if !errors.Is(err, ErrOutput) {
		return heads, err
	}
	heads, err = r.heads(ctx, depth, slices.Concat(more, nativeProperties), names)
	disks := map[string]*Dataset{}
	for i := range heads {
		if _, _, isDisk := ParseDiskName(Base(heads[i].Name)); isDisk {
			disks[heads[i].Name] = &heads[i]
		}
	}
	r.label(ctx, disks)
	return heads, err
}

// label fills in the labels of the disks, or the reason why a disk's labels are unreadable. If the
// output for a group of disks is malformed, label reads each half of the group again, by a call of
// its own. The number of calls of zfs is at most twice the number of disks. The largest groups are
// read first, so that most disks get their labels before the disks with unreadable labels are found
// one by one. Reading labels takes at most half of the time that ctx leaves, because the snapshots
// must be read after the labels.
func (r Reader) label(ctx context.Context, disks map[string]*Dataset) {
	if deadline, ends := ctx.Deadline(); ends {
		half, cancel := context.WithTimeout(ctx, time.Until(deadline)/2) //nolint:forbidigo // a deadline is by this clock, too
		defer cancel()
		ctx = half
	}
	parts := slices.Collect(slices.Chunk(slices.Sorted(maps.Keys(disks)), namesPerCall))
	for len(parts) > 0 {
		names := parts[0]
		parts = parts[1:]
		read, err := r.heads(ctx, []string{"-d", "0"}, labelProperties, names)
		if half := len(names) / 2; half > 0 && errors.Is(err, ErrOutput) {
			parts = append(parts, names[:half], names[half:])
			continue
		}
		if err == nil {
			err = errors.New("the dataset was replaced while it was read")
		}
		for _, name := range names {
			disks[name].Unlabelled = fmt.Sprintf("its labels could not be read: %v", err)
		}
		for _, l := range read {
			if d := disks[l.Name]; d != nil && d.GUID == l.GUID {
				d.Running, d.NoSnap, d.Unlabelled = l.Running, l.NoSnap, ""
			}
		}
	}
}
