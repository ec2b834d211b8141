package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each mutant's old text occurs exactly once in its file: a mutant whose text has moved changes
// nothing, and only the nightly tests would notice that.
func TestEachMutantApplies(t *testing.T) {
	all := slices.Clone(mutants)
	for _, m := range labMutants {
		all = append(all, m.mutant)
	}
	for _, m := range all {
		text, err := os.ReadFile(filepath.Join("../..", m.file))
		require.NoError(t, err)
		assert.Equal(t, 1, strings.Count(string(text), m.old), "%s, to %s: %s", m.file, m.what, m.old)
	}
	for _, m := range mutants {
		assert.NotEmpty(t, suiteOf(m))
	}
}
