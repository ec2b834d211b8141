package zfs

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/command"
)

// The test uses error messages of zfs 2.1 and 2.3: about missing datasets, and about problems that
// are worse than a missing dataset.
func TestMissing(t *testing.T) {
	for complaint, want := range map[string]bool{
		"cannot open 'tank/vm-1-disk-0': dataset does not exist":                                      true,
		"cannot open 'tank/vm-1-disk-0@autosnap_2026-07-15_12:07:00_hourly': dataset does not exist":  true,
		"cannot open 'tank/vm-1-disk-0#autosnap_2026-07-15_12:07:00_hourly': no such pool or dataset": true,
		"cannot open 'tank/vm-1-disk-0#autosnap_2026-07-15_12:07:00_hourly': dataset does not exist":  true,
		"cannot open 'tank/vm-1-disk-0@autosnap_2026-07-15_12:07:00_hourly': no such pool or dataset": false,
		"cannot open 'tank': no such pool or dataset":                                                 false,
		"cannot open 'tank': no such pool":                                                            false,
		"cannot open 'tank/vm-1-disk-0#autosnap_2026-07-15_12:07:00_hourly': permission denied":       false,
		"cannot open 'tank': pool I/O is currently suspended":                                         false,
		"": false,
	} {
		assert.Equal(t, want, missing(complaint), complaint)
	}
}

func TestUnreadable(t *testing.T) {
	for complaint, want := range map[string]bool{
		"cannot open 'tank/a@s': I/O error\n":                                true,
		"cannot open 'tank/a@s': Invalid exchange\n":                         true,
		"cannot open 'tank/a@s': dataset does not exist\n":                   false,
		"cannot open 'tank/a@s': pool I/O is currently suspended\n":          false,
		"cannot open 'tank/a@s2': I/O error\n":                               false,
		"cannot create 'tank/b': I/O error\n":                                false,
		"cannot create 'tank/b': out of space\n":                             false,
		"cannot create 'tank/b': dataset already exists\n":                   false,
		"cannot open 'tank/a@s': I/O error\ncannot create 'tank/b': other\n": false,
		"": false,
	} {
		assert.Equal(t, want, Unreadable(&command.Error{Stderr: complaint, Err: errors.New("exit status 1")}, "tank/a@s"), complaint)
	}
}
