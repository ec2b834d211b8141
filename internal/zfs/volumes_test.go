package zfs

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const asked = "zfs get -Hp -o name,property,value volsize,refquota,available,encryptionroot,keystatus tank tank/vm-1-disk-0 tank/subvol-2-disk-0"

// zfs 2.3 prints a dash for a property that this kind of dataset does not have, and for the
// encryption properties of a dataset that is not encrypted.
func TestVolumes(t *testing.T) {
	r, _ := plays(map[string]string{asked: "" +
		"tank\tvolsize\t-\ntank\trefquota\t0\ntank\tavailable\t9000\ntank\tencryptionroot\t-\ntank\tkeystatus\t-\n" +
		"tank/vm-1-disk-0\tvolsize\t1000\ntank/vm-1-disk-0\trefquota\t-\ntank/vm-1-disk-0\tavailable\t9000\ntank/vm-1-disk-0\tencryptionroot\ttank/vm-1-disk-0\ntank/vm-1-disk-0\tkeystatus\tunavailable\n" +
		"tank/subvol-2-disk-0\tvolsize\t-\ntank/subvol-2-disk-0\trefquota\t500\ntank/subvol-2-disk-0\tavailable\t500\ntank/subvol-2-disk-0\tencryptionroot\ttank\ntank/subvol-2-disk-0\tkeystatus\tavailable\n"})
	got, err := r.Volumes(context.Background(), []string{"tank", "tank/vm-1-disk-0", "tank/subvol-2-disk-0"})
	require.NoError(t, err)
	assert.Equal(t, map[string]Volume{
		"tank":                 {Available: 9000},
		"tank/vm-1-disk-0":     {Size: 1000, Available: 9000, EncryptionRoot: "tank/vm-1-disk-0", Locked: true},
		"tank/subvol-2-disk-0": {Size: 500, Available: 500, EncryptionRoot: "tank"},
	}, got)
}

func TestVolumesThatCannotBeUnderstood(t *testing.T) {
	for _, output := range []string{
		"tank\tvolsize\t-\n",
		"tank\tvolsize\tmany\n",
		"other\tvolsize\t1\n",
		"tank\tavailable\t1\n",
		"tank\tvolsize\n",
	} {
		r, _ := plays(map[string]string{asked: output})
		_, err := r.Volumes(context.Background(), []string{"tank", "tank/vm-1-disk-0", "tank/subvol-2-disk-0"})
		assert.ErrorIs(t, err, ErrOutput, output)
	}
}
