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
	} {
		t.Run(name, func(t *testing.T) {
			kind, reason := WhyUnprotected(pve.Volume{Key: "scsi0", Storage: test.storage, Name: test.volume}, cluster, known, unread)
			assert.Equal(t, test.kind, kind)
			assert.Equal(t, kind == "", reason == "")
		})
	}
}
