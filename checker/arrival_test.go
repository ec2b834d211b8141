package checker

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/zfs"
)

func TestLabelArrival(t *testing.T) {
	for want, p := range map[string]zfs.Property{
		"pve1, received: it arrives": {Value: "pve1", Received: "pve1", Source: zfs.SourceReceived},
		"pve1, set here: on a copy this label hides the received label (zfs inherit -S label:running tank/vm-100-disk-0); it comes with syncoid --sendoptions=p, or zfs send -p": {Value: "pve1", Source: zfs.SourceLocal},
		"none of its own, only pve1 from a dataset above: the label does not arrive; it comes with syncoid --sendoptions=p, or zfs send -p":                                      {Value: "pve1", Source: zfs.SourceInherited},
		"none: the label does not arrive; it comes with syncoid --sendoptions=p, or zfs send -p":                                                                                 {},
	} {
		assert.Equal(t, want, labelArrival(Disk{Dataset: "tank/vm-100-disk-0", Running: p}))
	}
}
