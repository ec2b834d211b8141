package main

import (
	"bytes"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestFirstScreen: snapwatch without arguments prints a text that fits into the smallest
// terminal, and every command in the text exists.
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

// TestCompletionAndManual: every command and flag is in the man page and in the completion of each
// shell.
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

// TestManualFitsATerminal: the man page is in section 8, for administration. Some lines of the page
// are never wrapped by man; each of these lines fits into 80 columns minus man's margin of 7.
func TestManualFitsATerminal(t *testing.T) {
	var page bytes.Buffer
	require.Zero(t, execute([]string{"manual"}, &environment{Stdout: &page, Stderr: &page}))
	assert.Regexp(t, `^\.TH SNAPWATCH 8 `, page.String())
	for _, section := range []string{"EXIT STATUS", "ENVIRONMENT", "FILES"} {
		assert.Contains(t, page.String(), "\n.SH "+section+"\n")
	}
	literal, lines := false, 0
	for line := range strings.Lines(page.String()) {
		switch line = strings.TrimSuffix(line, "\n"); line {
		case ".nf", ".fi":
			literal = line == ".nf"
		default:
			if literal {
				lines++
				assert.LessOrEqual(t, len(strings.ReplaceAll(line, `\-`, "-")), 73, line)
			}
			for word := range strings.FieldsSeq(line) {
				assert.LessOrEqual(t, len(word), 66, "man cannot break it")
			}
		}
	}
	assert.Greater(t, lines, 10)
}

// TestBashCompletes: bash completes the values of a flag, both for --flag VALUE and for
// --flag=VALUE.
func TestBashCompletes(t *testing.T) {
	var script bytes.Buffer
	require.Zero(t, execute([]string{"completion", "bash"}, &environment{Stdout: &script, Stderr: &script}))
	for line, want := range map[string]string{
		"snapwatch check --format ''":        "nagios checkmk json table",
		"snapwatch check --format = ''":      "nagios checkmk json table",
		"snapwatch check --format =":         "nagios checkmk json table",
		"snapwatch check --format = ch":      "checkmk",
		"snapwatch check --pool = tank --fo": "--format",
		"snapwatch cron ins":                 "install",
	} {
		words := strings.Fields(line)
		bash := exec.Command("bash", "-c", script.String()+"COMP_WORDS=("+line+"); COMP_CWORD="+strconv.Itoa(len(words)-1)+"; _snapwatch; echo ${COMPREPLY[*]}")
		out, err := bash.CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Equal(t, want, strings.TrimSpace(string(out)), line)
	}
}

// TestHelpAndVersionAreWords: people also type help and version without dashes.
func TestHelpAndVersionAreWords(t *testing.T) {
	say := func(args ...string) string {
		var out bytes.Buffer
		execute(args, &environment{Stdout: &out, Stderr: &out})
		return out.String()
	}
	assert.Equal(t, say("--help"), say("help"))
	assert.Equal(t, say("--help"), say("help", "help"))
	assert.Contains(t, say("help"), "On a Proxmox node, as root:\n  snap ")
	assert.Equal(t, say("cron", "install", "--help"), say("help", "cron", "install"))
	assert.Equal(t, version+"\n", say("version"))
}
