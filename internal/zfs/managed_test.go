package zfs

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// managedForm matches the documented form of a managed snapshot's name.
var managedForm = regexp.MustCompile(`^autosnap_\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d_(frequently|hourly|daily|weekly|monthly|yearly|stopped)$`)

func TestParseSnapshotName(t *testing.T) {
	for c := Stopped; c <= Yearly; c++ {
		class, ok := ParseSnapshotName(FormatSnapshotName(time.Date(2026, 7, 15, 12, 7, 9, 0, time.UTC), c))
		assert.True(t, ok)
		assert.Equal(t, c.String(), class.String())
	}
	const good = "autosnap_2026-07-15_12:07:09_daily"
	for _, name := range []string{
		"", "autosnap", "autosnap_", "autosnap_daily", "x" + good, good + "-keep", good + "\n", good + "_hourly", " " + good,
		"autosnap_2026-07-15_12:07:09", "autosnap_2026-07-15_12:07:09_", "autosnap_2026-07-15_12:07:09_Daily", "autosnap_2026-07-15_12:07:09_class 9",
		"autosnap_2026-07-15_12:07_daily", "autosnap_226-07-15_12:07:09_daily", "autosnap_2026-07-15 12:07:09_daily", "autosnap-2026-07-15_12:07:09_daily",
		"Autosnap_2026-07-15_12:07:09_daily", "autosnap_٢٠26-07-15_12:07:09_daily", "__replicate_100-0_1784116020__",
	} {
		_, ok := ParseSnapshotName(name)
		assert.False(t, ok, "%q", name)
	}
}

// A snapshot name counts as managed if and only if it has the documented form.
func TestParseSnapshotNameIsTheForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := []byte(FormatSnapshotName(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "time"), 0), Class(rapid.IntRange(0, 6).Draw(t, "class"))))
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			name[rapid.IntRange(0, len(name)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		if rapid.Bool().Draw(t, "cut") {
			name = name[:rapid.IntRange(0, len(name)).Draw(t, "length")]
		}
		if _, ok := ParseSnapshotName(string(name)); ok != managedForm.Match(name) {
			t.Fatalf("%q: %v", name, ok)
		}
	})
}

// diskForm matches the documented form of a disk's name.
var diskForm = regexp.MustCompile(`^(vm|subvol|base|basevol)-([1-9]\d{0,8})-disk-\d+$`)

func TestParseDiskNameIsTheForm(t *testing.T) {
	prefix := rapid.SampledFrom([]string{"vm", "subvol", "base", "basevol", "VM", "disk", ""})
	number := rapid.SampledFrom([]string{"0", "7", "100", "999999999", "0100", "1000000000", "+1", "a", "0-disk-1", ""})
	middle := rapid.SampledFrom([]string{"-disk-", "-disk-", "-disk-", "-state-", "-", ""})
	seen := map[bool]int{}
	rapid.Check(t, func(t *rapid.T) {
		name := prefix.Draw(t, "prefix") + "-" + number.Draw(t, "vmid") + middle.Draw(t, "middle") + number.Draw(t, "number")
		vmid, kind, ok := ParseDiskName(name)
		form := diskForm.FindStringSubmatch(name)
		seen[ok]++
		switch {
		case ok != (form != nil):
			t.Fatalf("%q is a disk: %v", name, ok)
		case ok && (strconv.Itoa(vmid) != form[2] || (kind == TemplateDisk) != strings.HasPrefix(form[1], "base")):
			t.Fatalf("%q is kind %v of guest %d", name, kind, vmid)
		}
	})
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("drawn names: %v", seen)
	}
}
