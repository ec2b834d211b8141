package zfs

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

func TestInDrill(t *testing.T) {
	for dataset, is := range map[string]bool{
		"tank/snapwatch-drill":                    true,
		"tank/snapwatch-drill/g100/d-0":           true,
		"tank/snapwatch-drill/data/vm-100-disk-0": true,
		"tank/snapwatch-drills/vm-100-disk-0":     false,
		"tank/data/snapwatch-drill/vm-100-disk-0": false,
		"tank": false,
	} {
		assert.Equal(t, is, InDrill(dataset), dataset)
	}
}

// prints returns a Reader whose zfs prints a text and, if complaint is not empty, fails with the complaint.
func prints(text, complaint string) Reader {
	return Reader{Run: func(ctx context.Context, _ command.Cmd, each func(string) error) error {
		const script = `printf '%s' "$0"; printf '%s' "$1" >&2; test -z "$1"`
		return command.Lines(ctx, command.Cmd{Argv: []string{"sh", "-c", script, text, complaint}}, each)
	}}
}

// Only a mark that was set on the clone itself, on this host, counts: a mark that was inherited or
// received says nothing about the dataset.
func TestDrilled(t *testing.T) {
	const root = "tank/snapwatch-drill"
	entry := func(name, txg, origin, mark, source string) string {
		return fmt.Sprintf("%s%s\tcreatetxg\t%s\t-\n%[1]s%[2]s\torigin\t%[4]s\t-\n%[1]s%[2]s\tsnapwatch:drill\t%[5]s\t%[6]s\n", root, name, txg, origin, mark, source)
	}
	text := entry("", "10", "-", "-", "-") + entry("/a", "20", "tank/x@s", "m", "local") + entry("/a@by hand", "21", "-", "m", "inherited from "+root+"/a") +
		entry("/b", "30", "tank/y@s", "m", "inherited from tank") + entry("/c", "40", "tank/y@s", "m", "received")
	all, err := prints(text, "").Drilled(t.Context(), "tank")
	require.NoError(t, err)
	assert.Equal(t, []Drilled{
		{Name: root, CreateTXG: 10}, {root + "/a", 20, "tank/x@s", "m"}, {Name: root + "/a@by hand", CreateTXG: 21},
		{root + "/b", 30, "tank/y@s", ""}, {root + "/c", 40, "tank/y@s", ""},
	}, all)

	all, err = prints("", "cannot open 'tank/snapwatch-drill': dataset does not exist\n").Drilled(t.Context(), "tank")
	require.NoError(t, err)
	assert.Empty(t, all)
	for name, text := range map[string]string{
		"cut":            root + "\tcreatetxg\t1\t-\n" + root + "\torigin\t-\t-\n",
		"another":        "tank/data\tcreatetxg\t1\t-\ntank/data\torigin\t-\t-\ntank/data\tsnapwatch:drill\t-\t-\n",
		"mixed":          root + "/a\tcreatetxg\t1\t-\n" + root + "/b\torigin\t-\t-\n" + root + "/b\tsnapwatch:drill\t-\t-\n",
		"three columns":  root + "\tcreatetxg\t1\n",
		"no number":      entry("", "-", "-", "-", "-"),
		"no snapshot":    entry("@", "1", "-", "-", "-"),
		"other property": root + "\tguid\t1\t-\n",
	} {
		all, err := prints(text, "").Drilled(t.Context(), "tank")
		require.ErrorIs(t, err, ErrOutput, name)
		assert.Empty(t, all, name)
	}
	_, err = prints("", "cannot open 'tank': pool I/O is currently suspended\n").Drilled(t.Context(), "tank")
	assert.ErrorContains(t, err, "suspended")
}

func TestReceiving(t *testing.T) {
	const missing = "cannot open 'tank/b/%recv': dataset does not exist\n"
	is, err := prints("tank/a/%recv\n", missing).Receiving(t.Context(), []string{"tank/a", "tank/b"})
	require.NoError(t, err)
	assert.Equal(t, []string{"tank/a"}, is)
	is, err = prints("", missing).Receiving(t.Context(), []string{"tank/b"})
	require.NoError(t, err)
	assert.Empty(t, is)
	_, err = prints("", "cannot open 'tank/b/%recv': pool I/O is currently suspended\n").Receiving(t.Context(), []string{"tank/b"})
	require.ErrorContains(t, err, "suspended")
	_, err = prints("tank/b\n", "").Receiving(t.Context(), []string{"tank/b"})
	assert.ErrorIs(t, err, ErrOutput)
}
