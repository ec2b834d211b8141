package zfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// labelled reads heads with their labels. Where the list can't be read, the labels are asked
// for apart, so that text which a received stream has chosen spoils one disk and not all.
func (r Reader) labelled(ctx context.Context, depth, names []string) ([]Dataset, error) {
	heads, err := r.heads(ctx, depth, headProperties, names)
	if !errors.Is(err, ErrOutput) {
		return heads, err
	}
	heads, err = r.heads(ctx, depth, nativeProperties, names)
	disks := map[string]*Dataset{}
	for i := range heads {
		if _, _, isDisk := ParseDiskName(Base(heads[i].Name)); isDisk {
			disks[heads[i].Name] = &heads[i]
		}
	}
	r.label(ctx, disks)
	return heads, err
}

// label fills in the labels of the disks, or why they can't be read. An answer that is of the
// right form has no other line ends than those between its rows; of one that isn't, each half
// is asked for again: never more than twice as many calls as there are disks. The largest
// parts come first, so that those that are well are read before it is known of each bad one
// that it is bad; and half of the time stays for what has to be read after the labels.
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
			err = errors.New("it was replaced meanwhile")
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
