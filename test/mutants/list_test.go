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

// The old text of each mutant occurs exactly once in the mutant's file. If the old text no longer
// occurs, the mutant changes nothing. Without this test, only the nightly tests would notice a
// mutant that changes nothing.
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
