package zfs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

// labelledPool returns a function that answers like zfs get for the datasets of a pool. The
// argument running has, by dataset, the value of label:running, which may be any text.
func labelledPool(calls *int, running map[string]string, datasets ...string) Reader {
	return Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
		*calls++
		at := slices.Index(c.Argv, "name,property,value,source") + 1
		asked, names := strings.Split(c.Argv[at], ","), datasets
		if slices.Contains(c.Argv, "0") {
			names = c.Argv[at+1:]
		}
		for _, d := range names {
			for _, p := range asked {
				value := map[string]string{"guid": strconv.Itoa(len(d)), "creation": "1", "prevsnap": d + "@a", "written": "0", "inconsistent": "0", LabelRunning: running[d]}[p]
				for line := range strings.Lines(d + "\t" + p + "\t" + cmp.Or(value, "-") + "\tlocal\n") {
					if err := each(strings.TrimSuffix(line, "\n")); err != nil {
						return &command.Error{Argv: c.Argv, Err: err}
					}
				}
			}
		}
		return nil
	}}
}

// If the value of a label makes the output of zfs unreadable, the labels of this one disk are
// unreadable, and the labels of all other disks are read. The value of a label must not be read as
// rows about another disk.
func TestALabelSpoilsNoOtherDisk(t *testing.T) {
	madeUp := func(dataset string, more ...string) (rows string) {
		for _, p := range slices.Concat(more, headProperties[:len(headProperties)-3]) {
			rows += "\n" + dataset + "\t" + p + "\t" + map[string]string{"creation": "1", "prevsnap": "-", "written": "0"}[p] + "\t-"
		}
		return rows + "\n" + dataset + "\tlabel:running\tx"
	}
	for name, value := range map[string]string{
		"a row":                 "a\ntank/vm-2-disk-0\tlabel:running\tstopped\tlocal",
		"a line end":            "a\nb",
		"tabs":                  "a\tb\tc",
		"a disk made up":        "off\treceived\ntank/vm-1-disk-0\tlabel:nosnap\t-\t-\ntank/vm-1-disk-0\tguid\t16\t-" + madeUp("tank/vm-9-disk-0"),
		"one with its room":     "off\treceived\ntank/vm-1-disk-0\tlabel:nosnap\t-\t-\ntank/vm-1-disk-0\tguid\t16\t-" + madeUp("tank/vm-9-disk-0", roomProperties...),
		"another disk's rows":   "off\treceived\ntank/vm-1-disk-0\tlabel:nosnap\t-\t-\ntank/vm-1-disk-0\tguid\t16\t-" + madeUp("tank/vm-3-disk-0"),
		"its own rows, another": "off\treceived\ntank/vm-1-disk-0\tlabel:nosnap\ton",
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			running := map[string]string{"tank/vm-1-disk-0": value, "tank/vm-2-disk-0": "pve-2", "tank/vm-3-disk-0": "pve-3"}
			r := labelledPool(&calls, running, "tank", "tank/vm-1-disk-0", "tank/vm-2-disk-0", "tank/other", "tank/vm-3-disk-0")
			for _, list := range []func(context.Context, ...string) ([]Dataset, error){r.Children, r.Descendants} {
				heads, err := list(t.Context(), "tank")
				require.NoError(t, err)
				heads = without(heads, []string{"tank"})
				require.Len(t, heads, 4)
				assert.Contains(t, heads[0].Unlabelled, "its labels could not be read: ")
				assert.Contains(t, heads[0].Unlabelled, "unexpected line")
				assert.Empty(t, heads[0].Running.Value)
				for i, want := range map[int]string{1: "pve-2", 3: "pve-3"} {
					assert.Empty(t, heads[i].Unlabelled)
					assert.Equal(t, want, heads[i].Running.Own())
					assert.Equal(t, "a", heads[i].NewestSnapshot)
				}
			}
		})
	}
	// If one disk of many has an unreadable label, the reader must not call zfs once for each disk.
	calls, many := 0, []string{"tank"}
	for i := range 400 {
		many = append(many, fmt.Sprintf("tank/vm-%d-disk-0", 100+i))
	}
	heads, err := labelledPool(&calls, map[string]string{many[77]: "a\nb"}, many...).Descendants(t.Context(), "tank")
	require.NoError(t, err)
	assert.Len(t, heads, 401)
	assert.Less(t, calls, 25)

	// Even if the labels of many disks are unreadable, all other disks must get their labels.
	for _, bad := range []int{10, 25, 110, 399} {
		calls = 0
		running := map[string]string{}
		for i, disk := range many[1:] {
			running[disk] = "pve1"
			if (i*bad)%400 >= 400-bad {
				running[disk] = "a\nb"
			}
		}
		running[many[400]] = "pve1"
		heads, err = labelledPool(&calls, running, many...).Descendants(t.Context(), "tank")
		require.NoError(t, err)
		assert.Len(t, heads, 401)
		assert.LessOrEqual(t, calls, 2+2*400)
		for _, h := range heads[1:] {
			assert.Equal(t, running[h.Name] == "pve1", h.Unlabelled == "" && h.Running.Value == "pve1", "%s of %d bad ones", h.Name, bad)
		}
	}
}

// Reading labels must take at most half of the time that ctx leaves, because the snapshots are read
// after the labels.
func TestLabelsTakeHalfOfTheTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	calls, running := 0, map[string]string{"tank/vm-1-disk-0": "a\nb"}
	r := labelledPool(&calls, running, "tank", "tank/vm-1-disk-0", "tank/vm-2-disk-0")
	run := r.Run
	r.Run = func(ctx context.Context, c command.Cmd, each func(string) error) error {
		if slices.Contains(c.Argv, "0") {
			<-ctx.Done()
			return ctx.Err()
		}
		return run(ctx, c, each)
	}
	heads, err := r.Descendants(ctx, "tank")
	require.NoError(t, err)
	require.NoError(t, ctx.Err())
	require.Len(t, heads, 3)
	assert.Contains(t, heads[2].Unlabelled, "deadline exceeded")
}

// An unreadable property value is a problem of its own dataset, and of no other dataset.
func TestAValueSpoilsNoOtherDisk(t *testing.T) {
	good := headLines()
	for _, bad := range []struct{ old, new, said string }{
		{"\t12\t", "\t-1\t", "guid: "},
		{"creation\t1700000000", "creation\t0", `creation: "0" is not a time between 1970 and 9999`},
		{"creation\t1700000000", "creation\t9223372036854775808", `creation: "9223372036854775808" is not a time`},
		{"creation\t1700000000", "creation\t568971820800", `creation: "568971820800" is not a time`},
		{"1700000001", "568971820800", "snapshots_changed: "},
		{"written\t0", "written\tx", "written: "},
	} {
		heads, err := parseHeads(strings.Replace(good, bad.old, bad.new, 1))
		require.NoError(t, err, bad.new)
		require.Len(t, heads, 2)
		assert.Contains(t, heads[0].Problem, bad.said)
		assert.Empty(t, heads[1].Problem)
	}
}

// A stream may contain a snapshot with an unreadable value. The unreadable value is a fault of the
// snapshot's own dataset, and of no other dataset.
func TestASnapshotSpoilsNoOtherDisk(t *testing.T) {
	for _, creation := range []string{"0", "-1", "9223372036854775808", "568971820800", "x"} {
		r := Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
			for _, line := range []string{"tank/a@s\t1\t2\t1700000000", "tank/b@s\t1\t2\t1700000000", "tank/b@t\t3\t4\t" + creation, "tank/c@s\t1\t2\t253370764799"} {
				if err := each(line); err != nil {
					return err
				}
			}
			return nil
		}}
		check := func(found []Snapshot, err error) {
			assert.Equal(t, Faults{"tank/b": `@t: creation: "` + creation + `" is not a time between 1970 and 9999, in seconds`}, err)
			assert.ErrorIs(t, err, ErrOutput)
			assert.False(t, OnlyMissing(err))
			assert.Len(t, found, 3)
			_, err = json.Marshal(found)
			assert.NoError(t, err)
		}
		check(r.Lookup(t.Context(), []string{"tank/a@s"}))
		var all []Snapshot
		err := r.Snapshots(t.Context(), []string{"tank/a"}, func(s Snapshot) error {
			all = append(all, s)
			return nil
		})
		check(all, err)
	}
}

// The output of a zfs that was killed is not used. If zfs prints an error and exits by itself, all
// heads with complete rows are used. A head with incomplete rows must be dropped, because a disk
// whose newest snapshot and label are missing looks like a new disk.
func TestHeadsOfAListingThatFails(t *testing.T) {
	killed := exec.Command("sh", "-c", "kill -9 $$").Run()
	complained := exec.Command("false").Run()
	require.Equal(t, 1, command.ExitCode(complained))
	whole := headLines()
	rows := strings.SplitAfter(whole, "\n")
	half := strings.Join(rows[:len(headProperties)+4], "")
	one, two := []string{"tank/vm-1-disk-0"}, []string{"tank/vm-1-disk-0", "tank/vm-2-disk-0"}
	for name, test := range map[string]struct {
		out   string
		err   error
		heads []string
		said  string
	}{
		"all is well":                      {whole, nil, two, ""},
		"it is killed in a head":           {half, killed, nil, "signal: killed"},
		"it is killed between heads":       {strings.Join(rows[:len(headProperties)], ""), killed, nil, "signal: killed"},
		"it complains, and is whole":       {whole, complained, two, "exit status 1"},
		"it complains, in the midst":       {half, complained, one, "exit status 1"},
		"it complains, and prints nothing": {"", complained, nil, "exit status 1"},
		"it ends well, in the midst":       {half, nil, nil, "in the middle of tank/vm-2-disk-0"},
		"it ends well, and lacks one":      {strings.Join(rows[:len(headProperties)], ""), nil, nil, "printed nothing about tank/vm-2-disk-0"},
		"it ends well, and prints nothing": {"", nil, nil, "printed nothing about tank/vm-1-disk-0"},
		"a row is not whole":               {half + "tank/vm-2-disk-0\tprev", complained, nil, "2 columns instead of 4"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
				err := command.ReadLines(strings.NewReader(test.out), each)
				if err == nil {
					err = test.err
				}
				if err != nil {
					return &command.Error{Argv: c.Argv, Err: err}
				}
				return nil
			}}
			heads, err := r.heads(t.Context(), []string{"-r"}, headProperties, two)
			var got []string
			for _, h := range heads {
				got = append(got, h.Name)
			}
			assert.Equal(t, test.heads, got)
			if test.said == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, test.said)
			}
		})
	}
}

// Children, which snap uses on nodes, also reads the properties about free and reserved space.
func TestChildrenTellTheirRoom(t *testing.T) {
	said := map[string]string{"guid": "7", "creation": "1", "inconsistent": "0", "available": "900", "refreservation": "64", "usedbyrefreservation": "40", "written": "24"}
	asked := ""
	r := Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
		asked = c.Argv[slices.Index(c.Argv, "name,property,value,source")+1]
		for _, d := range []string{"tank", "tank/vm-1-disk-0"} {
			for p := range strings.SplitSeq(asked, ",") {
				if err := each(d + "\t" + p + "\t" + cmp.Or(said[p], "-") + "\t-"); err != nil {
					return err
				}
			}
		}
		return nil
	}}
	heads, err := r.Children(t.Context(), "tank")
	require.NoError(t, err)
	require.Len(t, heads, 1)
	assert.Equal(t, [4]uint64{900, 64, 40, 24}, [4]uint64{heads[0].Available, heads[0].RefReservation, heads[0].UsedByRefReservation, heads[0].Written})

	said["available"] = "many"
	heads, err = r.Children(t.Context(), "tank")
	require.NoError(t, err)
	assert.Contains(t, heads[0].Problem, "available: ")

	_, err = r.Descendants(t.Context(), "tank")
	require.NoError(t, err)
	assert.NotContains(t, asked, "available", "a replica's scan asks for no more than it needs")
}
