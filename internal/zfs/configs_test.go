package zfs

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
)

const keptRows = `tank/d@b	createtxg	20	-
tank/d@b	creation	1700000100	-
tank/d@b	snapwatch:config	H4s=	received
tank/d@b	guid	7	-
tank/d@a	createtxg	10	-
tank/d@a	creation	1700000000	-
tank/d@a	snapwatch:config	H4s=	inherited from tank/d
tank/d@a	guid	8	-
`

func configsFrom(t *testing.T, text string) ([]KeptConfig, error) {
	t.Helper()
	r := Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
		assert.Equal(t, "zfs get -Hp -d 1 -t snapshot -o name,property,value,source createtxg,creation,snapwatch:config,guid tank/d", strings.Join(c.Argv, " "))
		return command.ReadLines(strings.NewReader(text), each)
	}}
	return r.Configs(t.Context(), "tank/d")
}

func TestConfigs(t *testing.T) {
	got, err := configsFrom(t, keptRows)
	require.NoError(t, err)
	assert.Equal(t, []KeptConfig{
		{Snapshot: Snapshot{"tank/d", "a", 8, 10, time.Unix(1700000000, 0)}},
		{Snapshot: Snapshot{"tank/d", "b", 7, 20, time.Unix(1700000100, 0)}, Value: "H4s="},
	}, got, "the oldest first; an inherited value is none")
	got, err = configsFrom(t, "")
	assert.NoError(t, err)
	assert.Empty(t, got)
}

// The value of a received property may contain newlines. In the output of zfs, a value with a
// newline must not be read as a row about another snapshot.
func TestConfigsRefuses(t *testing.T) {
	for _, text := range []string{
		strings.Replace(keptRows, "H4s=", "H4s=\ntank/d@c\tguid\t1\t-", 1), strings.Replace(keptRows, "H4s=", "H4\ts=", 1),
		// A value with newlines imitates complete rows about a snapshot that does not exist.
		strings.Replace(keptRows, "H4s=", "H4s=\t-\ntank/d@b\tguid\t7\t-\ntank/d@c\tcreatetxg\t30\t-\ntank/d@c\tcreation\t1700000200\t-\ntank/d@c\tsnapwatch:config\tH4s=", 1),
		// A value with newlines imitates rows. The snapshot's own rows follow after the imitated rows.
		strings.Replace(keptRows, "H4s=", "H4s=\treceived\ntank/d@b\tguid\t7\t-\n"+
			"tank/d@c\tcreatetxg\t30\t-\ntank/d@c\tcreation\t1700000200\t-\ntank/d@c\tsnapwatch:config\tH4s=\t-\ntank/d@c\tguid\t99\t-\n"+
			"tank/d@b\tcreatetxg\t20\t-\ntank/d@b\tcreation\t1700000100\t-\ntank/d@b\tsnapwatch:config\tH4s=", 1),
		strings.Replace(keptRows, "tank/d@b", "tank/e@b", 1),
		strings.Replace(keptRows, "createtxg", "creation", 1), keptRows[:len(keptRows)-60],
	} {
		got, err := configsFrom(t, text)
		assert.ErrorIs(t, err, ErrOutput, text)
		assert.Empty(t, got, text)
	}
	got, err := configsFrom(t, strings.Replace(keptRows, "1700000100", "568971820800", 1))
	assert.EqualError(t, err, `@b: creation: "568971820800" is not a time between 1970 and 9999, in seconds (tank/d)`)
	assert.Len(t, got, 1, "the other snapshot's is good")
}

// ConfigsOf returns the stored configurations of the requested snapshots only, and ignores
// inherited values of the property.
func TestConfigsOf(t *testing.T) {
	read := func(text string) (map[string]string, error) {
		r := Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
			assert.Equal(t, "zfs get -Hp -t snapshot -o name,value,source snapwatch:config tank/d@a tank/e@b", strings.Join(c.Argv, " "))
			return command.ReadLines(strings.NewReader(text), each)
		}}
		return r.ConfigsOf(t.Context(), []string{"tank/d@a", "tank/e@b"})
	}
	got, err := read("tank/d@a\tH4s=\treceived\ntank/e@b\tH4s=\tinherited from tank/e\n")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"tank/d@a": "H4s=", "tank/e@b": ""}, got)
	for _, text := range []string{"tank/x@a\tH4s=\tlocal\n", "tank/d@a\tH4s=\n", "\n"} {
		_, err = read(text)
		assert.ErrorIs(t, err, ErrOutput, text)
	}
}
