package snapper

import (
	"context"
	"fmt"

	"snapwatch/internal/zfs"
)

// readReceived reads the received labels of the disks that need it, none in the steady
// state. Where they can't be read, nothing is known of the guest.
func (r *run) readReceived(ctx context.Context, pools []*pool, names Names) {
	for _, p := range pools {
		var need []*Disk
		var datasets []string
		for i := range p.disks {
			if d := &p.disks[i]; p.err == nil && maskedLabel(d, names) {
				need, datasets = append(need, d), append(datasets, d.Name)
			}
		}
		received, err := zfs.Reader{Inherit: p.inherit()}.Received(ctx, datasets)
		for _, d := range need {
			if labels, ok := received[d.Name]; ok {
				d.Running.Received, d.NoSnap.Received = labels.Running, labels.NoSnap
				continue
			}
			d.State, d.Why = Unknown, "its received label could not be read"
			if err != nil {
				d.Why = fmt.Sprintf("%s: %v", d.Why, err)
			}
		}
	}
}
