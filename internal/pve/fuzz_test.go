package pve

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzGuest checks for any configuration of a guest that the sections of snapshots do not count,
// and that no volume's name leads out of the dataset of its storage.
func FuzzGuest(f *testing.F) {
	f.Add("name: web\nscsi0: data:vm-100-disk-0,size=8G\nlock: backup\n[PENDING]\nscsi1: data:vm-100-disk-1\n[snap]\nscsi2: data:vm-100-disk-2\n")
	f.Add("rootfs: data:subvol-200-disk-0\nmp0: volume=data:base-1-disk-0/subvol-200-disk-1,mp=/x\nunused0: data:vm-9-disk-0\n")
	f.Add("ide2: none,media=cdrom\ntemplate: 1\nscsi0: /dev/sda\n#lock: migrate\n")
	f.Fuzz(func(t *testing.T, text string) {
		c := parseConfig(ID{VMID: 100, Kind: QEMU}, text)
		for _, v := range c.Volumes {
			require.Regexp(t, volumeKey, v.Key)
			if v.Storage != "" {
				require.NotContains(t, v.Name, "/")
			}
		}
		past := parseConfig(ID{VMID: 100, Kind: QEMU}, "[snapshot]\n"+strings.ReplaceAll(text, "[", "("))
		require.Empty(t, past.Volumes)
		require.Empty(t, past.Lock)
	})
}

// FuzzNumber checks that a VMID is read from a JSON number or from a string that contains a number,
// and from no other value.
func FuzzNumber(f *testing.F) {
	for _, text := range []string{"100", `"100"`, `""`, "null", "1e3", `"-1"`, "{}"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var row struct {
			VMID number `json:"vmid"`
		}
		_ = json.Unmarshal([]byte(`{"vmid":`+text+`}`), &row)
	})
}
