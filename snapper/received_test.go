package snapper

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/zfs"
)

// In the steady state no disk's received labels are read: that costs as much as all
// its other properties.
func TestMaskedLabel(t *testing.T) {
	names := testPolicy().Names
	for name, c := range map[string]struct {
		state State
		label zfs.Property
		want  bool
	}{
		"runs here, labelled so":             {Running, zfs.Property{Value: names.Node, Source: zfs.SourceLocal}, false},
		"stopped, labelled so":               {Stopped, zfs.Property{Value: "stopped", Source: zfs.SourceLocal}, false},
		"was never labelled, and runs":       {Running, zfs.Property{}, false},
		"a copy with what came with it":      {Elsewhere, zfs.Property{Value: names.Node, Source: zfs.SourceReceived}, false},
		"a copy without a label":             {Elsewhere, zfs.Property{}, false},
		"went elsewhere, labelled still":     {Elsewhere, zfs.Property{Value: names.Node, Source: zfs.SourceLocal}, true},
		"went elsewhere while it was off":    {Elsewhere, zfs.Property{Value: "stopped", Source: zfs.SourceLocal}, true},
		"stopped, perhaps hidden by inherit": {Stopped, zfs.Property{}, true},
		"stopped, an inherited one is none":  {Stopped, zfs.Property{Value: "x", Source: zfs.SourceInherited}, true},
	} {
		d := Disk{State: c.state}
		d.Running = c.label
		assert.Equal(t, c.want, maskedLabel(&d, names), name)
		d.Ignored = "ignored"
		assert.False(t, maskedLabel(&d, names), name)
	}
}
