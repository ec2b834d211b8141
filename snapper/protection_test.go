package snapper

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
)

func TestUncovered(t *testing.T) {
	cluster := pve.Cluster{Storages: []pve.Storage{{Name: "local-zfs", Dataset: "tank/data"}, {Name: "second", Dataset: "ssd"}}}
	known := map[string]bool{"tank/data/vm-100-disk-0": true, "tank/data/base-100-disk-1": true}
	unread := map[string]bool{"ssd": true}
	for name, test := range map[string]struct {
		storage, volume string
		kind            report.Kind
	}{
		"a disk":                     {"local-zfs", "vm-100-disk-0", ""},
		"another storage":            {"nfs", "vm-100-disk-0", report.OtherStorage},
		"no disk's name":             {"local-zfs", "vm-100-data", report.OtherName},
		"cloud-init":                 {"local-zfs", "vm-100-cloudinit", ""},
		"not there":                  {"local-zfs", "vm-100-disk-7", report.NotFound},
		"its pool was not read":      {"second", "vm-100-disk-2", ""},
		"a template's name":          {"local-zfs", "base-100-disk-1", report.OtherName},
		"a template's, not read now": {"second", "basevol-100-disk-1", report.OtherName},
		"a disk's device":            {"", "/dev/zvol/tank/data/vm-100-disk-0", ""},
		"a partition of it":          {"", "/dev/tank/data/vm-100-disk-0-part1", ""},
		"a device, not there":        {"", "/dev/zvol/tank/data/vm-100-disk-7-part1", report.NotFound},
		"a device, no disk's name":   {"", "/dev/zvol/tank/data/swap", report.OtherName},
		"a device, not read now":     {"", "/dev/zvol/ssd/vm-100-disk-2", ""},
		"a device beside":            {"", "/dev/zvol/tank/data2/vm-100-disk-0", report.Device},
		"a raw device":               {"", "/dev/disk/by-id/ata-x", report.Device},
		"a file":                     {"", "/srv/disk.raw", report.OtherStorage},
	} {
		t.Run(name, func(t *testing.T) {
			kind, reason := WhyUnprotected(pve.Volume{Key: "scsi0", Storage: test.storage, Name: test.volume}, cluster, known, unread)
			assert.Equal(t, test.kind, kind)
			assert.Equal(t, kind == "", reason == "")
		})
	}
}

// A dataset that a guest gets through options of QEMU itself (args) is reported as unprotected.
func TestUncoveredInArgs(t *testing.T) {
	cluster := pve.Cluster{Storages: []pve.Storage{{Name: "local-zfs", Dataset: "tank/data"}}}
	known := map[string]bool{"tank/data/vm-100-disk-0": true}
	for path, want := range map[string]report.Kind{
		"/dev/zvol/tank/data/vm-100-disk-0": "", "/dev/zvol/tank/data/vm-100-disk-7": report.NotFound, "/dev/zvol/tank/data/scratch": report.OtherName,
		"/dev/zvol/other/scratch": report.Device, "/usr/share/OVMF/code.fd": "", "/dev/vfio/3": "",
	} {
		kind, reason := WhyUnprotected(pve.Volume{Key: "args", Name: path}, cluster, known, nil)
		assert.Equal(t, want, kind, path)
		assert.Equal(t, kind == "", reason == "")
	}
}

// A container's bind mount is listed in the report, but does not count as a volume that should have
// snapshots.
func TestBindMount(t *testing.T) {
	cluster := pve.Cluster{Storages: []pve.Storage{{Name: "local-zfs", Dataset: "tank/data"}}}
	known := map[string]bool{"tank/data/subvol-100-disk-0": true}
	for path, want := range map[string]report.Kind{"/srv/media": report.BindMount, "/tank/data/subvol-100-disk-0/media": "", "/tank/data/media": report.OtherName} {
		kind, _ := WhyUnprotected(pve.Volume{Key: "mp0", Name: path}, cluster, known, nil)
		assert.Equal(t, want, kind, path)
		assert.Equal(t, path, pve.Volume{Key: "mp0", Name: path}.String())
	}
	run := report.Run{Unprotected: []report.Unprotected{{Kind: report.BindMount}, {Kind: report.Device}}}
	for _, kind := range report.Kinds() {
		assert.Zero(t, run.UnprotectedByKind()[kind])
	}
}
