package config

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzConfig calls Load with arbitrary text: Load must return an error or a configuration, and must
// not panic. A configuration that Load has read does not change when it is written and read again.
func FuzzConfig(f *testing.F) {
	for _, path := range []string{"testdata/example.yaml", shipped} {
		text, err := os.ReadFile(path)
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte("limits: {warning: 1d, critical: 2d}\noverrides: [{vmid: 100-199, keep: f1}]\n"))
	f.Add([]byte("keep: f4\n---\nkeep: f5\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		if err != nil {
			return
		}
		written, err := c.YAML()
		require.NoError(t, err)
		again, err := parse(written)
		require.NoError(t, err, "%s", written)
		rewritten, err := again.YAML()
		require.NoError(t, err)
		require.Equal(t, string(written), string(rewritten))
	})
}

// FuzzKeep calls ParseKeep with arbitrary words: ParseKeep must return an error or a retention, and
// must not panic. A retention that ParseKeep has read does not change when it is written and read
// again.
func FuzzKeep(f *testing.F) {
	for _, words := range []string{"f48 h24 d30 w8 m12 y3", "f0", "h", "f4 f5", "x1", "f-1", "f99999999999999999999"} {
		f.Add(words)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keep, err := ParseKeep(strings.Fields(text))
		if err != nil {
			return
		}
		again, err := ParseKeep(strings.Fields(keep.String()))
		require.NoError(t, err)
		require.Equal(t, keep, again)
		for class, n := range keep {
			require.GreaterOrEqual(t, n, 0, class)
		}
	})
}

// FuzzVMIDs checks that any text for a set of VMIDs is refused with an error, or gives a set that
// contains both ends of each range and no VMID outside of the ranges.
func FuzzVMIDs(f *testing.F) {
	for _, text := range []string{"100", "100-199,250", "5-4", "", "1,,2", "0", "999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var v, again VMIDs
		if v.UnmarshalText([]byte(text)) != nil {
			return
		}
		require.NoError(t, again.UnmarshalText([]byte(v.String())))
		require.Equal(t, v, again)
		for _, r := range v {
			require.True(t, v.Contains(r.First) && v.Contains(r.Last))
			require.LessOrEqual(t, r.First, r.Last)
		}
		require.False(t, v.Contains(0))
	})
}
