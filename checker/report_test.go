package checker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// someReport has a disk of nearly every verdict.
func someReport() Report {
	moved := aDisk("5", zfs.Hourly, day, func(d *Disk) { d.Copies = []string{"fast/vm-5-disk-0"} })
	target := aDisk("5", zfs.Hourly, minute, func(d *Disk) { d.Dataset = "fast/vm-5-disk-0" })
	pools := []Pool{
		{Name: "fast", ReadAt: now, Disks: []Disk{target}},
		{Name: "gone", Missing: true, Problem: "pool gone is not imported (zpool import gone)", Disks: []Disk{
			{Dataset: "gone/vm-9-disk-0", VMID: 9, Gone: true},
		}},
		{Name: "tank", ReadAt: now, Took: 1500 * time.Millisecond, Disks: []Disk{
			aDisk("1", zfs.Hourly, 3*hour+50*minute),
			aDisk("2", zfs.Stopped, 4*day),
			aDisk("3", zfs.Daily, 10*minute),
			aDisk("4", zfs.Hourly, 7*hour),
			moved,
			aDisk("901", zfs.Hourly, 9*day),
			aDisk("6", zfs.Hourly, 0, bare, created(hour)),
			aDisk("7", zfs.Hourly, -day),
			aDisk("8", zfs.Stopped, 40*day),
		}, Remarks: []string{"labels not read"}},
		{Name: "weird", Problem: "zfs get: exit status 1: a | b\nc\xff"},
	}
	p := testPolicy()
	p.Maintenance = p.Maintenance[:1]
	return Assemble(pools, p, now)
}

func goodReport() Report {
	return Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{aDisk("1", zfs.Hourly, 20*minute), aDisk("2", zfs.Stopped, day)}}},
		NewPolicy(config.Default()), now)
}

func TestOutputs(t *testing.T) {
	reports := map[string]Report{
		"some": someReport(), "good": goodReport(), "empty": Assemble(nil, testPolicy(), now),
		"failed": {Now: now, Failure: "no answer within 8s while reading tank | x\ny"},
	}
	for name, r := range reports {
		for format, write := range map[string]func(*bytes.Buffer) error{
			"nagios":       func(b *bytes.Buffer) error { return Nagios{}.Write(b, r) },
			"nagios-v":     func(b *bytes.Buffer) error { return Nagios{Verbosity: 1}.Write(b, r) },
			"nagios-vv":    func(b *bytes.Buffer) error { return Nagios{Verbosity: 2, DiskPerfdata: true}.Write(b, r) },
			"checkmk":      func(b *bytes.Buffer) error { return WriteCheckmk(b, r) },
			"table":        func(b *bytes.Buffer) error { return WriteTable(b, r) },
			"json-of-some": func(b *bytes.Buffer) error { return WriteJSON(b, r) },
		} {
			if format == "json-of-some" && name != "some" {
				continue
			}
			t.Run(name+" "+format, func(t *testing.T) {
				var b bytes.Buffer
				require.NoError(t, write(&b))
				golden(t, name+"."+format, b.String())
				assert.True(t, utf8.Valid(b.Bytes()))
				assert.Equal(t, byte('\n'), b.Bytes()[b.Len()-1])
			})
		}
	}
}

func TestFirstLineSaysTheStateAndIsShort(t *testing.T) {
	for _, r := range []Report{someReport(), goodReport(), Assemble(nil, testPolicy(), now)} {
		var b bytes.Buffer
		require.NoError(t, Nagios{}.Write(&b, r))
		first, _, _ := strings.Cut(b.String(), "\n")
		assert.True(t, strings.HasPrefix(first, r.State().String()+": "), first)
		text, perf, _ := strings.Cut(first, " | ")
		assert.Less(t, len(text), 200)
		assert.NotContains(t, perf, "|")
		assert.Equal(t, 1, strings.Count(b.String(), "|"), "only before the performance data")
	}
}

func TestOutputFitsAPacketWhateverIsWrong(t *testing.T) {
	for name, change := range map[string]func(*Disk){
		"stale":      func(*Disk) {},
		"never":      bare,
		"unreadable": func(d *Disk) { d.Problem = strings.Repeat("cannot open: ü ", 100) },
		"missing":    func(d *Disk) { d.Gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			pool := Pool{Name: strings.Repeat("p", 200), ReadAt: now}
			for i := range 500 {
				d := aDisk("1", zfs.Hourly, 9*hour, change)
				d.Dataset = fmt.Sprintf("%s/vm-%d-disk-0", pool.Name, 1000+i)
				pool.Disks = append(pool.Disks, d)
			}
			pools := []Pool{pool}
			for range 20 {
				pools = append(pools, Pool{Name: "x", Problem: strings.Repeat("y", 5000)})
			}
			for _, pools := range [][]Pool{pools, pools[:1]} {
				var b bytes.Buffer
				require.NoError(t, Nagios{}.Write(&b, Assemble(pools, NewPolicy(config.Default()), now)))
				assert.LessOrEqual(t, b.Len(), 1024)
				assert.Regexp(t, `\n… and \d+ more\n$`, b.String())
				assert.True(t, utf8.Valid(b.Bytes()))
			}
		})
	}
}

func TestTheLastLineNeedsNoRoomForMore(t *testing.T) {
	assert.Equal(t, "abc\n", fit([]string{"abc"}, 4))
	assert.Equal(t, "", fit([]string{"abc"}, 3))
	assert.Equal(t, "a\n… and 2 more\n", fit([]string{"a", strings.Repeat("b", 30), "c"}, 26))
}

func TestSupersededNeedsAFreshCopy(t *testing.T) {
	old := aDisk("5", zfs.Hourly, day, func(d *Disk) { d.Copies = []string{"fast/vm-5-disk-0"} })
	for name, c := range map[string]struct {
		copy Disk
		want Verdict
	}{
		"fresh":   {aDisk("5", zfs.Hourly, minute), Superseded},
		"stopped": {aDisk("5", zfs.Stopped, minute), Stale},
		"stale":   {aDisk("5", zfs.Hourly, 3*hour), Stale},
	} {
		t.Run(name, func(t *testing.T) {
			c.copy.Dataset = "fast/vm-5-disk-0"
			r := Assemble([]Pool{{Name: "tank", Disks: []Disk{old}}, {Name: "fast", Disks: []Disk{c.copy}}}, testPolicy(), now)
			for _, d := range r.Disks {
				if d.Dataset == old.Dataset {
					assert.Equal(t, c.want.String(), d.Verdict.String())
				}
			}
		})
	}
}

func TestExpiredMaintenanceIsAWarning(t *testing.T) {
	p := NewPolicy(config.Default())
	p.Maintenance = []config.Maintenance{{Selector: config.Selector{Pool: "tank"}, Until: now}}
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{aDisk("1", zfs.Hourly, minute)}}}, p, now)
	assert.Equal(t, Warning, r.State())
	assert.Contains(t, r.Notes[0].Text, "pool tank ended at 2026-03-29T12:00:00Z")
}

func TestAMissingPoolUnderMaintenanceIsSilentAsAWholeOnly(t *testing.T) {
	gone := []Pool{{Name: "tank", Missing: true, Problem: "p", Disks: []Disk{{Dataset: "tank/vm-1-disk-0", VMID: 1, Gone: true}}}}
	p := NewPolicy(config.Default())
	p.Maintenance = []config.Maintenance{{Selector: config.Selector{Pool: "tank"}, Until: now.Add(hour)}}
	assert.Equal(t, OK, Assemble(gone, p, now).State())
	p.Maintenance[0].Disk = "vm-1-*"
	assert.Equal(t, Critical, Assemble(gone, p, now).State())
}

func TestAPoolThatFailsNowIsAnAlarmOnceWhatWasReadIsTooOld(t *testing.T) {
	p := testPolicy()
	at := func(read time.Time) State {
		pool := Pool{Name: "tank", Problem: "x", ReadAt: read, Disks: []Disk{aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.ReadAt = read })}}
		p.Maintenance = nil
		return Assemble([]Pool{pool}, p, now).State()
	}
	assert.Equal(t, OK, at(ago(10*minute)))
	assert.Equal(t, Unknown, at(ago(10*minute+1)))
	assert.Equal(t, Unknown, at(time.Time{}))
}

func TestFilter(t *testing.T) {
	r := someReport()
	for name, c := range map[string]struct {
		filter Filter
		disks  int
		pools  int
		state  State
		note   string
	}{
		"all":               {Filter{}, 11, 4, Critical, ""},
		"one disk":          {Filter{VMIDs: []int{3}}, 1, 2, Unknown, ""}, // pool weird may hold others of it
		"a pool":            {Filter{Pools: []string{"fast"}}, 1, 1, OK, ""},
		"disk and pool":     {Filter{Pools: []string{"tank"}, Disks: []string{"vm-3-*"}}, 1, 1, OK, ""},
		"by dataset":        {Filter{Pools: []string{"tank", "fast"}, Disks: []string{"fast/vm-5-disk-0"}}, 1, 1, OK, ""},
		"nothing":           {Filter{VMIDs: []int{77}}, 0, 1, Unknown, "no disk matches --vmid 77"},
		"one of two":        {Filter{Pools: []string{"tank"}, VMIDs: []int{3, 77}}, 1, 1, Unknown, "no disk matches --vmid 77"},
		"misspelt pool":     {Filter{Pools: []string{"tnak"}}, 0, 0, Unknown, "no disk matches --pool tnak"},
		"misspelt disk":     {Filter{Disks: []string{"vm-3-disk"}}, 0, 1, Unknown, `no disk matches --disk "vm-3-disk"`},
		"a missing disk":    {Filter{VMIDs: []int{9}}, 1, 2, Critical, ""},
		"unreadable pool":   {Filter{Pools: []string{"weird"}}, 0, 1, Unknown, "no disk matches --pool weird"},
		"no common element": {Filter{Pools: []string{"fast"}, VMIDs: []int{3}}, 0, 0, Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.filter.Apply(r)
			assert.Len(t, got.Disks, c.disks)
			assert.Len(t, got.Pools, c.pools)
			assert.Equal(t, c.state.String(), got.State().String())
			if c.note != "" {
				require.NotEmpty(t, got.Notes)
				assert.Equal(t, c.note, got.Notes[0].Text)
			}
		})
	}
}

func TestADocumentHoldsEveryFact(t *testing.T) {
	r := someReport()
	var back Document
	text, err := json.Marshal(r.Document())
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &back))
	pools, err := back.facts()
	require.NoError(t, err)
	p := testPolicy()
	p.Maintenance = p.Maintenance[:1]
	again := Assemble(pools, p, now)
	require.Len(t, again.Disks, len(r.Disks))
	for i, d := range again.Disks {
		assert.Equal(t, r.Disks[i].Judgement, d.Judgement, d.Dataset)
	}
	assert.Equal(t, r.State(), again.State())
}
