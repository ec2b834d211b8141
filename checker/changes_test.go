package checker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"
)

// standingDisk returns a judged disk, with the given name, state and verdict.
func standingDisk(name string, state State, v Verdict) Result {
	return Result{Disk: Disk{Dataset: "tank/" + name}, Judgement: Judgement{Verdict: v, State: state}}
}

func TestChanges(t *testing.T) {
	began := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	stale := func(state State) Report { return Report{Disks: []Result{standingDisk("vm-1-disk-0", state, Stale)}} }
	fresh := Report{Disks: []Result{standingDisk("vm-1-disk-0", OK, Fresh)}}
	lagging := stale(Warning)
	lagging.Disks[0].Compared = &Comparison{Outcome: Lagging, State: Warning}
	noted := Report{Disks: fresh.Disks, Notes: []Note{{State: Warning, Text: "a note"}, {State: OK, Text: "a remark"}}}
	about := func(subject, kind, text string) Report {
		return Report{Disks: fresh.Disks, Notes: []Note{{State: Warning, Subject: subject, kind: kind, Text: text}}}
	}
	torn := Report{Disks: fresh.Disks, Guests: []Guest{{VMID: 1, Cluster: "east", Verdict: GuestTorn, State: Warning}}}
	pool := Report{Disks: fresh.Disks, Pools: []PoolResult{{Pool: Pool{Name: "tank"}, Verdict: PoolUnreadable, State: Unknown, Reason: "why"}}}
	for name, test := range map[string]struct {
		before, now Report
		after       time.Duration
		want        string
	}{
		"well":                      {fresh, fresh, time.Hour, ""},
		"began":                     {fresh, stale(Warning), time.Hour, "began: WARNING tank/vm-1-disk-0 stale"},
		"lasts":                     {stale(Warning), stale(Warning), 21 * time.Hour, ""},
		"lasts for a day of 23 h":   {stale(Warning), stale(Warning), 23*time.Hour - 5*time.Second, "reminder: nothing has changed for 22h59m"},
		"lasts for a day":           {stale(Warning), stale(Warning), 24 * time.Hour, "reminder: nothing has changed for 1d"},
		"the clock was ahead":       {stale(Warning), stale(Warning), -time.Hour, "reminder: nothing has changed for 0s"},
		"well for a day":            {fresh, fresh, 24 * time.Hour, ""},
		"worse":                     {stale(Warning), stale(Critical), time.Hour, "worse: CRITICAL tank/vm-1-disk-0 stale"},
		"better":                    {stale(Critical), stale(Warning), time.Hour, "better: WARNING tank/vm-1-disk-0 stale"},
		"ended":                     {stale(Critical), fresh, 36 * time.Hour, "ended after 1d12h: OK tank/vm-1-disk-0 fresh"},
		"not known any more":        {stale(Critical), Report{Disks: []Result{standingDisk("vm-1-disk-0", Unknown, Unreadable)}}, time.Hour, "now: UNKNOWN tank/vm-1-disk-0 unreadable: "},
		"otherwise wrong":           {stale(Critical), Report{Disks: []Result{standingDisk("vm-1-disk-0", Critical, Missing)}}, time.Hour, "now: CRITICAL tank/vm-1-disk-0 missing"},
		"its owner says more":       {stale(Warning), lagging, time.Hour, "now: WARNING tank/vm-1-disk-0 stale"},
		"forgotten":                 {stale(Critical), Report{Disks: []Result{standingDisk("vm-2-disk-0", OK, Fresh)}}, time.Hour, "ended after 1h: tank/vm-1-disk-0 is not reported any more"},
		"the check fails":           {stale(Critical), Report{Failure: "no answer"}, time.Hour, "began: UNKNOWN no answer"},
		"nothing is found":          {stale(Critical), Report{}, time.Hour, "began: UNKNOWN no disk found"},
		"the check fails otherwise": {Report{Failure: "one"}, Report{Failure: "other"}, time.Hour, ""},
		"the check works again":     {Report{Failure: "one"}, fresh, time.Hour, "ended after 1h: OK the check finds disks again"},
		"a note":                    {fresh, noted, time.Hour, "began: WARNING a note"},
		"a note is gone":            {noted, fresh, time.Hour, "ended after 1h: note a note is not reported any more"},
		"its number changes":        {about("about runs", "late", "late for 1h"), about("about runs", "late", "late for 2h"), time.Hour, ""},
		"what it says changes":      {about("about runs", "late", "late for 1h"), about("about runs", "unreadable", "no report"), time.Hour, "now: WARNING no report"},
		"what it was about is gone": {about("about runs", "late", "late for 1h"), fresh, time.Hour, "ended after 1h: note about runs is not reported any more"},
		"a pool":                    {fresh, pool, time.Hour, "began: UNKNOWN pool tank unreadable: why"},
		"a guest":                   {fresh, torn, time.Hour, "began: WARNING guest 1 of east torn"},
		"one ends, and one begins":  {stale(Critical), Report{Disks: []Result{standingDisk("vm-1-disk-0", OK, Fresh), standingDisk("vm-0-disk-0", Critical, Missing)}}, time.Hour, "began: CRITICAL tank/vm-0-disk-0 missing\nended after 1h: OK tank/vm-1-disk-0 fresh"},
	} {
		t.Run(name, func(t *testing.T) {
			test.before.Now, test.now.Now = began, began.Add(test.after)
			_, told := Told{}.Update(test.before, 24*time.Hour)
			lines, told := told.Update(test.now, 24*time.Hour)
			for i := range lines {
				lines[i], _, _ = strings.Cut(lines[i], " 0s (limit")
			}
			assert.Equal(t, test.want, strings.Join(lines, "\n"))
			test.now.Now = test.now.Now.Add(time.Minute)
			again, _ := told.Update(test.now, 24*time.Hour)
			assert.Empty(t, again, "told once")
		})
	}
}

// Cron starts a daily check at the same time each day, but the duration of the check differs from
// day to day, and clocks change: the daily check still prints a reminder each day. A check that
// runs more often than daily prints a reminder only after a whole day.
func TestADailyCheckRemindsDaily(t *testing.T) {
	at := time.Date(2026, 3, 29, 8, 0, 0, 0, time.UTC)
	fault := []Result{standingDisk("vm-1-disk-0", Critical, Stale)}
	_, daily := Told{}.Update(Report{Now: at, Disks: fault}, 24*time.Hour)
	_, often := Told{}.Update(Report{Now: at, Disks: fault}, 24*time.Hour)
	for day := range 6 {
		at = at.Add(24*time.Hour + time.Duration(day%2*2-1)*3*time.Second)
		var lines []string
		lines, daily = daily.Update(Report{Now: at, Disks: fault}, 24*time.Hour)
		assert.Len(t, lines, 1, day)
	}
	var told []int
	for i := range 100 {
		at = at.Add(30 * time.Minute)
		var lines []string
		if lines, often = often.Update(Report{Now: at, Disks: fault}, 24*time.Hour); len(lines) > 0 {
			told = append(told, i)
		}
	}
	assert.Equal(t, []int{0, 48, 96}, told)
}

// A check that fails reports no fault as ended. The next check that works reports each fault that
// has ended.
func TestAFailedCheckEndsNothing(t *testing.T) {
	at := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	_, told := Told{}.Update(Report{Now: at, Disks: []Result{standingDisk("vm-1-disk-0", Critical, Stale)}}, 24*time.Hour)
	_, told = told.Update(Report{Now: at.Add(time.Hour), Failure: "no answer"}, 24*time.Hour)
	lines, _ := told.Update(Report{Now: at.Add(2 * time.Hour), Disks: []Result{standingDisk("vm-1-disk-0", OK, Fresh)}}, 24*time.Hour)
	assert.Len(t, lines, 2)
	assert.Contains(t, lines[1], "ended after 2h: OK tank/vm-1-disk-0 fresh")
}

func TestManyChangesAreCounted(t *testing.T) {
	var r Report
	for i := range 60 {
		r.Disks = append(r.Disks, standingDisk(fmt.Sprintf("vm-%d-disk-0", i), Critical, Stale))
	}
	lines, told := Told{}.Update(r, time.Hour)
	assert.Len(t, lines, maxChanges+1)
	assert.Equal(t, "… and 10 more changes", lines[maxChanges])
	assert.Len(t, told.Standing, 60)
}

// Update returns no line only on two conditions: the faults are the same as in the last report, and
// the time for a reminder has not passed since the last report.
func TestSilenceMeansTheSameAsWasTold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		verdicts := map[State]Verdict{OK: Fresh, Warning: Stale, Critical: Missing, Unknown: Unreadable}
		states := rapid.SampledFrom([]State{OK, Warning, Critical, Unknown})
		var told Told
		var said map[string]State
		var saidAt time.Time
		now := time.Unix(0, 0)
		for range 30 {
			now = now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "hours")) * time.Hour)
			r := Report{Now: now}
			is := map[string]State{}
			for _, name := range []string{"vm-1-disk-0", "vm-2-disk-0"} {
				state := states.Draw(t, name)
				r.Disks = append(r.Disks, standingDisk(name, state, verdicts[state]))
				if state != OK {
					is[name] = state
				}
			}
			var lines []string
			lines, told = told.Update(r, 24*time.Hour)
			if len(lines) > 0 {
				said, saidAt = is, now
				continue
			}
			if len(is) > 0 || len(said) > 0 {
				assert.Equal(t, said, is)
				assert.Less(t, now.Sub(saidAt), 24*time.Hour)
			}
		}
	})
}
