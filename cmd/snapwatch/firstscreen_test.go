package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFirstScreen: the name alone explains itself in one screen of the smallest terminal,
// and names only commands that there are.
func TestFirstScreen(t *testing.T) {
	var out bytes.Buffer
	env := &environment{Stdout: &out, Stderr: &out}
	require.Zero(t, execute(nil, env))
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	assert.LessOrEqual(t, len(lines), 23)
	for _, line := range lines {
		assert.LessOrEqual(t, len(line), 80, line)
	}
	help := regexp.MustCompile(`(?m)^  snapwatch (\w+)`).FindAllStringSubmatch(out.String(), -1)
	require.NotEmpty(t, help)
	for _, m := range help {
		out.Reset()
		assert.Contains(t, []int{0, checkUnknown}, execute([]string{m[1], "--help"}, env), m[1])
	}
}

// TestCompletionAndManual: every command and flag is in the man page and each completion.
func TestCompletionAndManual(t *testing.T) {
	var all bytes.Buffer
	env := &environment{Stdout: &all, Stderr: &all}
	require.Zero(t, execute([]string{"--help"}, env))
	names := regexp.MustCompile(`(?m)^  ([a-z]+)(?: ([a-z]+))?  +[A-Z]`).FindAllStringSubmatch(all.String(), -1)
	require.Greater(t, len(names), 8)
	all.Reset()
	for _, m := range names {
		execute(strings.Fields(m[1]+" "+m[2]+" --help"), env)
	}
	flags := regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z.-]+)`).FindAllStringSubmatch(all.String(), -1)
	require.Greater(t, len(flags), 20)
	for _, argv := range []string{"manual", "completion bash", "completion zsh", "completion fish"} {
		all.Reset()
		require.Zero(t, execute(strings.Fields(argv), env), argv)
		text := strings.ReplaceAll(all.String(), `\-`, "-")
		for _, m := range names {
			assert.Contains(t, text, m[1], argv)
			assert.Contains(t, text, m[2], argv)
		}
		for _, m := range flags {
			if m[1] != "help" && m[1] != "version" {
				assert.Contains(t, text, m[1], argv)
			}
		}
	}
}
