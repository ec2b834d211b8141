package zfs

import (
	"cmp"
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

// A label that garbles the list costs its own disk the labels, and no other.
func TestALabelSpoilsNoOtherDisk(t *testing.T) {
	r := Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
		ask := strings.Split(c.Argv[len(c.Argv)-2], ",")
		datasets := []string{"tank/vm-1-disk-0", "tank/vm-2-disk-0", "tank/other"}
		if slices.Contains(c.Argv, "0") {
			datasets = c.Argv[len(c.Argv)-1:]
		} else {
			datasets = append(datasets, "tank")
		}
		for _, d := range datasets {
			for _, p := range ask {
				value := map[string]string{"guid": "1", "creation": "1", "prevsnap": d + "@a", "written": "0", "inconsistent": "0", LabelRunning: "pve-" + Base(d)}[p]
				if d == "tank/vm-1-disk-0" && p == LabelRunning {
					value = "a\ntank/vm-2-disk-0\tlabel:running\tstopped\tlocal"
				}
				for line := range strings.Lines(d + "\t" + p + "\t" + cmp.Or(value, "-") + "\tlocal\n") {
					if err := each(strings.TrimSuffix(line, "\n")); err != nil {
						return &command.Error{Argv: c.Argv, Err: err}
					}
				}
			}
		}
		return nil
	}}
	heads, err := r.Children(t.Context(), "tank")
	require.NoError(t, err)
	require.Len(t, heads, 3)
	assert.Contains(t, heads[0].Unlabelled, "unexpected line")
	assert.Empty(t, heads[0].Running.Value)
	assert.Empty(t, heads[1].Unlabelled)
	assert.Equal(t, "pve-vm-2-disk-0", heads[1].Running.Own())
	assert.Equal(t, "a", heads[1].NewestSnapshot)
}

// What zfs printed before it was killed tells nothing; where it complains and ends by
// itself, the heads that are whole are good. Half a head has no newest snapshot and no
// label: it looks like a disk that has just come.
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
		"it ends well, and lacks one":      {strings.Join(rows[:len(headProperties)], ""), nil, nil, "printed nothing of tank/vm-2-disk-0"},
		"it ends well, and prints nothing": {"", nil, nil, "printed nothing of tank/vm-1-disk-0"},
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
			heads, err := r.Descendants(t.Context(), two...)
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
