package zfs

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestResolveDamage(t *testing.T) {
	mounts := ParseMounts("tank /tank zfs rw 0 0\ntank/subvol-101-disk-0 /tank/subvol-101-disk-0 zfs rw 0 0\ntank/subvol-104-disk-0 /tank/subvol-104-disk-0 zfs rw 0 0\nrpool/ROOT / zfs rw 0 0\n/dev/vda1 /boot ext4 rw 0 0\ntank/with\\040space /tank/with\\040space zfs rw 0 0\nodd\n")
	d := ResolveDamage([]string{
		"tank/vm-100-disk-0@autosnap_2026-01-01_00:00:00_daily:<0x1>",
		"tank/vm-100-disk-0:<0x1>",
		"tank/vm-100-disk-0:<0x2>",
		"tank/subvol-102-disk-0@a:/etc/a:/b",
		"/tank/subvol-101-disk-0/etc/passwd",
		"/tank/subvol-101-disk-01/etc/passwd",
		"/tank/with space/x",
		"/etc/passwd",
		"/tank/subvol-104-disk-0/tmp/x:<0x1>",
		"tank/subvol-105-disk-0:/tmp/x:<0x1>",
		"<metadata>:<0x3f>",
		"<0x36>:<0x1>",
		"tank/vm-1-disk-0@:<0x1>",
	}, mounts)
	assert.Equal(t, Damage{Unresolved: 3, Snapshots: map[string][]string{
		"tank/vm-100-disk-0":     {"autosnap_2026-01-01_00:00:00_daily", ""},
		"tank/subvol-102-disk-0": {"a"},
		"tank/subvol-101-disk-0": {""},
		"tank/subvol-104-disk-0": {""},
		"tank/subvol-105-disk-0": {""},
		"tank":                   {""},
		"tank/with space":        {""},
		"rpool/ROOT":             {""},
	}}, d)
	assert.Equal(t, Damage{Snapshots: map[string][]string{}}, ResolveDamage(nil, nil))
}
