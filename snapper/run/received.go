package run

import (
	"context"
	"fmt"

	"snapwatch/snapper"
)

// readReceived reads the received labels of the disks that need it, none in the steady
// state. Where they can't be read, nothing is known of the guest.
func (r *run) readReceived(ctx context.Context, pools []*pool, names snapper.Names) {
	for _, p := range pools {
		var need []*snapper.Disk
		var datasets []string
		for i := range p.disks {
			if d := &p.disks[i]; p.err == nil && snapper.MaskedLabel(d, names) {
				need, datasets = append(need, d), append(datasets, d.Name)
			}
		}
		received, err := p.Received(ctx, datasets)
		for _, d := range need {
			if labels, ok := received[d.Name]; ok {
				d.Running.Received, d.NoSnap.Received = labels.Running, labels.NoSnap
				continue
			}
			d.State, d.Why = snapper.Unknown, "its received label could not be read"
			if err != nil {
				d.Why = fmt.Sprintf("%s: %v", d.Why, err)
			}
		}
	}
}
