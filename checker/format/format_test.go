package format

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

func TestOutputs(t *testing.T) {
	over := somePolicy()
	over.Maintenance = []config.Maintenance{{Selector: config.Selector{VMID: config.VMIDs{{First: 906, Last: 906}}}, Until: now}}
	reports := map[string]checker.Report{
		"some": someReport(), "good": goodReport(), "empty": checker.Assemble(nil, over, now).WithGuests(over),
		"failed": {Now: now, Failure: "no answer within 8s while reading tank | x\ny"},
	}
	for name, r := range reports {
		for format, write := range map[string]func(*bytes.Buffer) error{
			"nagios":       func(b *bytes.Buffer) error { return Nagios{}.Write(b, r) },
			"nagios-v":     func(b *bytes.Buffer) error { return Nagios{Verbosity: 1}.Write(b, r) },
			"nagios-vv":    func(b *bytes.Buffer) error { return Nagios{Verbosity: 2, DiskPerfdata: true}.Write(b, r) },
			"checkmk":      func(b *bytes.Buffer) error { return Checkmk(b, r) },
			"table":        func(b *bytes.Buffer) error { return Table{Disks: true}.Write(b, r) },
			"status":       func(b *bytes.Buffer) error { return Table{}.Write(b, r) },
			"json-of-some": func(b *bytes.Buffer) error { return JSON(b, r) },
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
	for _, r := range []checker.Report{someReport(), goodReport(), checker.Assemble(nil, somePolicy(), now)} {
		var b bytes.Buffer
		require.NoError(t, Nagios{}.Write(&b, r))
		first, _, _ := strings.Cut(b.String(), "\n")
		assert.True(t, strings.HasPrefix(first, r.State().String()+": "), first)
		text, perf, _ := strings.Cut(first, " | ")
		assert.Less(t, len(text), 220)
		assert.NotContains(t, perf, "|")
		assert.Equal(t, 1, strings.Count(b.String(), "|"), "only before the performance data")
	}
}

func TestOutputFitsAPacketWhateverIsWrong(t *testing.T) {
	for name, change := range map[string]func(*checker.Disk){
		"stale":      func(*checker.Disk) {},
		"never":      bare,
		"unreadable": func(d *checker.Disk) { d.Problem = strings.Repeat("cannot open: ü ", 100) },
		"missing":    func(d *checker.Disk) { d.Gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			pool := checker.Pool{Name: strings.Repeat("p", 200), ReadAt: now}
			for i := range 500 {
				d := aDisk("1", zfs.Hourly, 9*hour, change)
				d.Dataset = fmt.Sprintf("%s/vm-%d-disk-0", pool.Name, 1000+i)
				pool.Disks = append(pool.Disks, d)
			}
			pools := []checker.Pool{pool}
			for range 20 {
				pools = append(pools, checker.Pool{Name: "x", Problem: strings.Repeat("y", 5000)})
			}
			for _, pools := range [][]checker.Pool{pools, pools[:1]} {
				var b bytes.Buffer
				require.NoError(t, Nagios{}.Write(&b, checker.Assemble(pools, checker.NewPolicy(config.Default()), now)))
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

func TestPerfdata(t *testing.T) {
	limit := checker.Range{End: 7200}
	for want, m := range map[string]Metric{
		"'a'=5s;7200;7200;0":     {"a", 5, "s", &limit, &limit},
		"'a b'=0;;;0":            {Label: "a b"},
		"'a_b_c_'=1;@~:7200;;0":  {Label: "a=b'c|", Value: 1, Warning: &checker.Range{Start: math.Inf(-1), End: 7200, Inside: true}},
		"'x_'=12345678901;~:;;0": {Label: "x\n", Value: 12345678901, Warning: &checker.Range{Start: math.Inf(-1), End: math.Inf(1)}},
	} {
		assert.Equal(t, want, m.String())
	}
}

func TestNagiosTellsAComparisonApartFromTheVerdict(t *testing.T) {
	dead, off := aDisk("1", zfs.Stopped, 3*day), aDisk("2", zfs.Stopped, day)
	p := checker.NewPolicy(config.Default())
	r := checker.Assemble([]checker.Pool{{Name: "tank", ReadAt: now, Disks: []checker.Disk{dead, off}}}, p, now)
	owner := ownerNode(ownersSnapshot(zfs.Hourly, 0), checker.AsSnapshot)
	r = r.WithOwners(p, map[string][]checker.Evidence{dead.Dataset: {owner}})
	assert.Equal(t, "CRITICAL tank/vm-1-disk-0 stopped, lagging 3d (limit 6h)", Nagios{}.lines(r)[0])
	assert.Contains(t, Nagios{Verbosity: 1}.lines(r)[0], "; lagging: 3d behind autosnap_2026-03-29_12:00:00_hourly of pve1:10191 (limit 6h, limits.critical)")
	assert.Contains(t, perfdata(Nagios{}.metrics(r)), "'unproven'=2;;;0 'stale'=0;;;0 'missing'=0;;;0 'largest_lag'=259200s;7200;21600;0")
}
