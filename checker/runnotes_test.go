package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/report"
)

func TestRunNotes(t *testing.T) {
	ended := func(age, limit time.Duration) Runs {
		return Runs{Expected: true, Last: &report.Run{LastSuccess: ago(age)}, Limit: limit}
	}
	good := func(age time.Duration) Runs { return ended(age, 45*minute) }
	booted := func(r Runs, up time.Duration) Runs { r.Up = up; return r }
	unprotected := good(minute)
	unprotected.Last.Unprotected = []report.Unprotected{{VMID: 100, Kind: report.OtherStorage}, {VMID: 101, Kind: report.BindMount}}
	unprotected.Last.Disks = []report.Disk{{Result: report.ResultUnprotected, Error: "x"}}
	unprotected.Last.Locked, unprotected.Last.LeftFrozen = 2, []int{105, 100}
	narrow := good(minute)
	narrow.Last.Rooms = map[string]report.Room{"tank": {Full: "91%", FullCritical: true, Short: "no room"}, "ssd": {}}
	failing := func(end time.Time, success time.Time) Runs {
		return Runs{Expected: true, Last: &report.Run{End: end, LastSuccess: success}, Limit: 45 * minute}
	}
	for name, c := range map[string]struct {
		snap, prune Runs
		want        []string
	}{
		"nothing runs here":                               {Runs{}, Runs{}, nil},
		"both ran":                                        {good(45 * minute), ended(6*hour, 6*hour), nil},
		"cron starts them daily":                          {ended(70*hour, 72*hour), ended(50*hour, 52*hour), nil},
		"a daily one is late":                             {ended(73*hour, 72*hour), Runs{}, []string{"CRITICAL: the last good run of snap ended 3d1h ago (limit 3d): snapwatch cron status; snapwatch snap --dry-run -v"}},
		"the host was off":                                {booted(good(day), 40*minute), booted(ended(day, 6*hour), 40*minute), nil},
		"and has been up for long":                        {booted(good(day), 46*minute), Runs{}, []string{"CRITICAL: the last good run of snap ended 1d ago (limit 45m): snapwatch cron status; snapwatch snap --dry-run -v"}},
		"snap is late":                                    {good(46 * minute), Runs{}, []string{"CRITICAL: the last good run of snap ended 46m ago (limit 45m): snapwatch cron status; snapwatch snap --dry-run -v"}},
		"prune is late":                                   {Runs{}, ended(7*hour, 6*hour), []string{"WARNING: the last good run of prune ended 7h ago (limit 6h): snapwatch cron status; snapwatch prune --dry-run -v"}},
		"it ran, and does not now":                        {Runs{Last: good(day).Last}, Runs{}, nil},
		"registered and never ran":                        {Runs{Expected: true}, Runs{}, []string{"WARNING: snap is registered here and had no good run yet: snapwatch cron status; snapwatch snap --dry-run"}},
		"a success in the future":                         {good(-hour), Runs{}, []string{"WARNING: snap is registered here and had no good run yet: snapwatch cron status; snapwatch snap --dry-run"}},
		"its only runs failed":                            {failing(ago(minute), time.Time{}), Runs{}, []string{"CRITICAL: the last run of snap failed, and no good run is known: snapwatch cron status; snapwatch snap --dry-run -v"}},
		"those of prune failed":                           {Runs{}, failing(ago(minute), time.Time{}), []string{"WARNING: the last run of prune failed, and no good run is known: snapwatch cron status; snapwatch prune --dry-run -v"}},
		"a success in the future, and a failed run since": {failing(ago(minute), ago(-300*day)), Runs{}, []string{"CRITICAL: the last run of snap failed, and no good run is known: snapwatch cron status; snapwatch snap --dry-run -v"}},
		"the clock was set back":                          {failing(ago(-hour), ago(-hour)), Runs{}, []string{"WARNING: snap is registered here and had no good run yet: snapwatch cron status; snapwatch snap --dry-run"}},
		"a report that is unreadable":                     {Runs{Expected: true, Problem: "no"}, Runs{}, []string{"CRITICAL: the report of snap cannot be read: no"}},
		"what it says of room":                            {narrow, Runs{}, []string{"WARNING: pool tank: no room"}},
		"what it says of guests": {unprotected, Runs{}, []string{
			"CRITICAL: 2 guests may be frozen still (100, 105): snapwatch snap thaws them, or says how",
			"WARNING: no snapshot covers disks of running guests (1 storage, 1 failed): snapwatch snap --dry-run -v names them",
			"WARNING: 2 guests locked for long, so no snapshot of a locked guest is rotated: snapwatch snap --dry-run -v names the guests",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var said []string
			notes := RunNotes(c.snap, c.prune, now)
			for _, n := range notes {
				said = append(said, n.State.String()+": "+n.Text)
				assert.NotRegexp(t, `^$|\d`, n.Subject, n.Text)
			}
			assert.Equal(t, c.want, said)
			r := Filter{VMIDs: []int{1}}.Apply(Report{Now: now, Notes: notes})
			assert.Len(t, r.Notes, 1, "of one guest nothing of the host is said, but that it is not here")
		})
	}
}
