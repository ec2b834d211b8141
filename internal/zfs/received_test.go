package zfs

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

// receivedFrom reads the received labels of the datasets `asked`, by [Reader.Received]. A fake zfs
// prints the given rows.
func receivedFrom(rows map[string]string, asked ...string) (map[string]ReceivedLabels, error) {
	r := Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
		for _, dataset := range c.Argv[6:] {
			for line := range strings.Lines(rows[dataset]) {
				if err := each(strings.TrimSuffix(line, "\n")); err != nil {
					return &command.Error{Argv: c.Argv, Err: err}
				}
			}
		}
		return nil
	}}
	return r.Received(context.Background(), asked)
}

func TestReceived(t *testing.T) {
	rows := func(dataset, running, nosnap string) string {
		return dataset + "\tlabel:running\t" + running + "\n" + dataset + "\tlabel:nosnap\t" + nosnap + "\n" + dataset + "\tguid\t-\n"
	}
	good := map[string]string{"tank/a": rows("tank/a", "pve1", "-"), "tank/b": rows("tank/b", "-", "on"), "tank/c": rows("tank/c", "-", "-")}
	got, err := receivedFrom(good, "tank/a", "tank/b", "tank/c", "tank/gone")
	require.NoError(t, err)
	assert.Equal(t, map[string]ReceivedLabels{"tank/a": {Running: "pve1"}, "tank/b": {NoSnap: "on"}, "tank/c": {}}, got)

	// A received label may have any value. A bad value must be reported for its own dataset, and for
	// no other dataset.
	for name, spoilt := range map[string]string{
		"cut":                       "tank/b\tlabel:running\tpve1\n",
		"another dataset":           rows("tank/x", "pve1", "-"),
		"twice":                     good["tank/b"] + good["tank/b"],
		"of two":                    "tank/b\tlabel:running\tpve1\ntank/a\tlabel:nosnap\t-\ntank/b\tguid\t-\n",
		"a newline in it":           rows("tank/b", "x\ny", "-"),
		"a row in it":               rows("tank/b", "x\ntank/gone\tlabel:running\ty", "-"),
		"a tab in it":               rows("tank/b", "x\ty", "-"),
		"one that is gone, made up": rows("tank/b", "x", "y\ntank/b\tguid\t-\ntank/gone\tlabel:running\tx\ntank/gone\tlabel:nosnap\ton"),
		"no label":                  "tank/b\tguid\t1\n",
		"the second without one":    "tank/b\tlabel:nosnap\t-\ntank/b\tguid\t-\n",
		"a line that says too much": strings.Repeat("x", 70_000),
	} {
		got, err := receivedFrom(map[string]string{"tank/a": good["tank/a"], "tank/b": spoilt, "tank/c": good["tank/c"]}, "tank/a", "tank/b", "tank/c", "tank/gone")
		var faults Faults
		if assert.ErrorAs(t, err, &faults, name) {
			assert.Len(t, faults, 1, name)
			assert.Contains(t, faults["tank/b"], "its received labels could not be read", name)
		}
		assert.Equal(t, map[string]ReceivedLabels{"tank/a": {Running: "pve1"}, "tank/c": {}}, got, name)
	}
}
