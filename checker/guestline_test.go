package checker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// The line about a guest names each disk that alarms, also a disk that does not count for the
// guest's verdict, and gives each reason once.
func TestGuestLines(t *testing.T) {
	lines := func(pools ...Pool) []GuestLine {
		p := NewPolicy(config.Default())
		return Assemble(pools, p, now).WithGuests(p).GuestLines()
	}
	tank := func(disks ...Disk) Pool { return Pool{Name: "tank", ReadAt: now, Disks: disks} }
	old := part(copied, zfs.Hourly, 7*hour, func(d *Disk) { d.Looked = &Looked{Same: []string{first}} })
	for name, c := range map[string]struct {
		pool  Pool
		state State
		word  GuestVerdict
		news  string
	}{
		"whole":            {tank(part(first, zfs.Hourly, minute)), OK, GuestWhole, ""},
		"stopped":          {tank(part(first, zfs.Stopped, day)), OK, GuestStopped, ""},
		"stopped for long": {tank(part(first, zfs.Stopped, 40*day)), Warning, GuestStopped, "vm-100-disk-0 stopped 40d (limit 30d)"},
		"two alike": {tank(part(first, zfs.Hourly, 7*hour), part(second, zfs.Hourly, 7*hour)), Critical, GuestStale,
			"vm-100-disk-0, vm-100-disk-1 stale 7h (limit 6h)"},
		"another copy":         {tank(part(first, zfs.Hourly, minute), old), Critical, GuestWhole, copied + " stale 7h (limit 6h)"},
		"damaged":              {tank(part(first, zfs.Hourly, minute, damaged)), Critical, GuestDamaged, "vm-100-disk-0 damaged: permanent errors"},
		"unreadable by itself": {tank(part(first, zfs.Hourly, minute, func(d *Disk) { d.Problem = "garbled" })), Unknown, GuestUnreadable, "vm-100-disk-0 unreadable: garbled"},
		"receiving": {tank(part(first, zfs.Hourly, minute), part(second, zfs.Hourly, 0, bare, created(hour))), OK, GuestReceiving,
			second + ": no snapshot at all since the dataset was made 1h ago"},
		"unknown": {tank(part(first, zfs.Hourly, minute, lookedUp()), part(second, zfs.Hourly, 30*minute, lookedUp())), Unknown, GuestUnreadable,
			"it is not known which snapshots its disks have in common"},
	} {
		t.Run(name, func(t *testing.T) {
			got := lines(c.pool)
			require.Len(t, got, 1)
			assert.Equal(t, c.word, got[0].Verdict, got[0].Reason)
			assert.Equal(t, c.state, got[0].State)
			assert.Contains(t, got[0].News, c.news)
			if c.news == "" {
				assert.Empty(t, got[0].News)
			}
		})
	}
}

// The lines about guests do not repeat a fault of the guests' pool, and the guests in the worst
// state come first.
func TestGuestLinesOfAPoolThatFails(t *testing.T) {
	p := NewPolicy(config.Default())
	failing := Pool{Name: "tank", Problem: "pool tank is suspended", ZFSState: "SUSPENDED", Disks: []Disk{part(first, zfs.Hourly, minute, func(d *Disk) { d.Problem = "pool tank is suspended" })}}
	other := part("fast/vm-7-disk-0", zfs.Hourly, 7*hour, func(d *Disk) { d.VMID = 7 })
	r := Assemble([]Pool{failing, {Name: "fast", ReadAt: now, Disks: []Disk{other}}}, p, now).WithGuests(p)
	lines := r.GuestLines()
	require.Len(t, lines, 2)
	assert.Equal(t, 7, lines[0].VMID)
	assert.Equal(t, "tank/vm-100-disk-0: pool tank is suspended", lines[1].Reason)
	assert.Equal(t, "vm-100-disk-0 unreadable", lines[1].News)
	assert.Regexp(t, "^pool tank suspended, 2 of 2 guests alarm, ", r.Summary())
}
