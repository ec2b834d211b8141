package zfs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	calls := 0
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(disks)), namesPerCall) {
		r.label(ctx, disks, chunk, &calls)
	}
	return heads, err
}

// maxLabelCalls bounds what senders can make a reader of the pool do.
const maxLabelCalls = 200

// label fills in the labels of the named disks, or why they can't be read. An answer that is
// of the right form has no other line ends than those between its rows; of one that isn't,
// each half is asked for again.
func (r Reader) label(ctx context.Context, disks map[string]*Dataset, names []string, calls *int) {
	var read []Dataset
	err := errors.New("too many of the pool's labels can't be read")
	if *calls < maxLabelCalls {
		*calls++
		read, err = r.heads(ctx, []string{"-d", "0"}, labelProperties, names)
	}
	if half := len(names) / 2; half > 0 && errors.Is(err, ErrOutput) {
		r.label(ctx, disks, names[:half], calls)
		r.label(ctx, disks, names[half:], calls)
		return
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
