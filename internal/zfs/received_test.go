package zfs

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

func receivedFrom(output string, asked ...string) (map[string]ReceivedLabels, error) {
	r := Reader{Run: func(_ context.Context, _ command.Cmd, each func(string) error) error {
		for line := range strings.Lines(output) {
			if err := each(strings.TrimSuffix(line, "\n")); err != nil {
				return err
			}
		}
		return nil
	}}
	return r.Received(context.Background(), asked)
}

func TestReceived(t *testing.T) {
	const one = "tank/a\tlabel:running\tpve1\ntank/a\tlabel:nosnap\t-\n"
	got, err := receivedFrom(one+"tank/b\tlabel:running\t-\ntank/b\tlabel:nosnap\ton\n", "tank/a", "tank/b", "tank/gone")
	require.NoError(t, err)
	assert.Equal(t, map[string]ReceivedLabels{"tank/a": {Running: "pve1"}, "tank/b": {NoSnap: "on"}}, got)

	// A received label may hold anything.
	for name, output := range map[string]string{
		"cut":                       "tank/a\tlabel:running\tpve1\n",
		"another dataset":           "tank/x\tlabel:running\tpve1\ntank/x\tlabel:nosnap\t-\n",
		"twice":                     one + one,
		"of two":                    "tank/a\tlabel:running\tpve1\ntank/b\tlabel:nosnap\t-\n",
		"a newline in it":           "tank/a\tlabel:running\tx\ny\ntank/a\tlabel:nosnap\t-\n",
		"a row in it":               "tank/a\tlabel:running\tx\ntank/b\tlabel:running\ty\ntank/a\tlabel:nosnap\t-\n",
		"a tab in it":               "tank/a\tlabel:running\tx\ty\ntank/a\tlabel:nosnap\t-\n",
		"no label":                  "tank/a\tguid\t1\n",
		"the second without one":    "tank/a\tlabel:nosnap\t-\n",
		"a line that says too much": strings.Repeat("x", 70_000),
	} {
		_, err := receivedFrom(output, "tank/a", "tank/b")
		assert.ErrorIs(t, err, ErrOutput, name)
	}
}
