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

// A mutant whose text moved breaks nothing, which nobody would notice before the next night.
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
