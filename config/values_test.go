package config

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "2h": 2 * time.Hour, "1d12h": 36 * time.Hour, "30d": 720 * time.Hour, "1w": 168 * time.Hour,
		"20s": 20 * time.Second, "1ms": time.Millisecond, "0s": 0, "0": 0,
	} {
		got, err := ParseDuration(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got.Std(), text)
	}
	for _, text := range []string{"", "2", "-2h", "2h30", "1.5h", "2 h", "h", "12h1d", "9999999999y", "two hours"} {
		_, err := ParseDuration(text)
		assert.ErrorContains(t, err, "is not a duration; write it as 90m, 2h or 1d12h", text)
	}
}

func TestVMIDs(t *testing.T) {
	for text, want := range map[string]string{
		"100": "100", "100-199,250": "100-199,250", " 7 , 9-9 ": "7,9", "1-999999999": "1-999999999",
	} {
		var v VMIDs
		require.NoError(t, v.UnmarshalText([]byte(text)), text)
		assert.Equal(t, want, v.String(), text)
	}
	var v VMIDs
	require.NoError(t, v.UnmarshalText([]byte("100-199,250")))
	for vmid, want := range map[int]bool{99: false, 100: true, 150: true, 199: true, 200: false, 249: false, 250: true, 251: false} {
		assert.Equal(t, want, v.Contains(vmid), vmid)
	}
	for _, text := range []string{"", "0", "-5", "100-", "-100", "100,", "a", "1-2-3", "1234567890", "0100", "100..200"} {
		assert.ErrorContains(t, v.UnmarshalText([]byte(text)), "is neither a VMID nor a range; write 100 or 100-199,250", text)
	}
	assert.ErrorContains(t, v.UnmarshalText([]byte("200-100")), `the range "200-100" ends before it begins`)
}

func TestSelector(t *testing.T) {
	vmids := func(text string) (v VMIDs) {
		require.NoError(t, v.UnmarshalText([]byte(text)))
		return v
	}
	const disk = "tank/data/vm-100-disk-0"
	for _, test := range []struct {
		selector Selector
		want     bool
	}{
		{Selector{VMID: vmids("100")}, true},
		{Selector{VMID: vmids("1-99,101-999")}, false},
		{Selector{Disk: disk}, true},
		{Selector{Disk: "vm-100-disk-0"}, true},
		{Selector{Disk: "vm-100-disk-?"}, true},
		{Selector{Disk: "vm-100"}, false},
		{Selector{Disk: "vm-1*"}, true},
		{Selector{Disk: "tank/*"}, false}, // as in the shell's patterns, * does not match a slash
		{Selector{Disk: "tank/*/*"}, true},
		{Selector{Disk: "data/vm-100-disk-0"}, false},
		{Selector{Pool: "tank"}, true},
		{Selector{Pool: "t*"}, true},
		{Selector{Pool: "tank/data"}, false},
		{Selector{Pool: "tan"}, false},
		{Selector{VMID: vmids("100"), Pool: "ssd"}, false},
		{Selector{VMID: vmids("100"), Pool: "tank", Disk: "*-disk-0"}, true},
		{Selector{VMID: vmids("100"), Pool: "tank", Disk: "*-disk-1"}, false},
	} {
		assert.Equal(t, test.want, test.selector.Matches(disk, 100), test.selector.String())
	}
	assert.Equal(t, "vmid 100-199, disk vm-*, pool tank", Selector{VMID: vmids("100-199"), Disk: "vm-*", Pool: "tank"}.String())
}
