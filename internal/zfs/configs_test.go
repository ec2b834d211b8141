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

const keptRows = `tank/d@b	guid	7	-
tank/d@b	createtxg	20	-
tank/d@b	creation	1700000100	-
tank/d@b	snapwatch:config	H4s=	received
tank/d@a	guid	8	-
tank/d@a	createtxg	10	-
tank/d@a	creation	1700000000	-
tank/d@a	snapwatch:config	H4s=	inherited from tank/d
`

func configsFrom(t *testing.T, text string) ([]KeptConfig, error) {
	t.Helper()
	r := Reader{Run: func(_ context.Context, c command.Cmd, each func(string) error) error {
		assert.Equal(t, "zfs get -Hp -d 1 -t snapshot -o name,property,value,source guid,createtxg,creation,snapwatch:config tank/d", strings.Join(c.Argv, " "))
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

// A newline in a value that a stream brought cannot pass for another snapshot's row.
func TestConfigsRefuses(t *testing.T) {
	for _, text := range []string{
		strings.Replace(keptRows, "H4s=", "H4s=\ntank/d@c\tguid\t1\t-", 1), strings.Replace(keptRows, "H4s=", "H4\ts=", 1),
		strings.Replace(keptRows, "\t20\t", "\tx\t", 1), strings.Replace(keptRows, "tank/d@b", "tank/e@b", 1),
		strings.Replace(keptRows, "createtxg", "creation", 1), keptRows[:len(keptRows)-60],
	} {
		_, err := configsFrom(t, text)
		assert.ErrorIs(t, err, ErrOutput, text)
	}
}
