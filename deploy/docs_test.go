package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// skeleton is what two translations of a page have in common: the levels of the
// headings, the commands, how many columns tables have, and where links lead.
func skeleton(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var parts []string
	command := regexp.MustCompile(`^    (\S.*?)(?:  +#.*)?$`)
	link := regexp.MustCompile(`\]\(([^)]+)\)`)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "*[") {
			continue // to the other language
		}
		if level, _, heading := strings.Cut(line, "# "); heading && strings.Trim(level, "#") == "" {
			parts = append(parts, "heading "+level)
		}
		if m := command.FindStringSubmatch(line); m != nil {
			parts = append(parts, "command "+m[1])
		}
		if strings.HasPrefix(line, "|") {
			parts = append(parts, "row "+strings.Repeat("|", strings.Count(line, "|")))
		}
		for _, m := range link.FindAllStringSubmatch(line, -1) {
			parts = append(parts, "link "+m[1])
		}
	}
	return parts
}

// TestBothReadmes: what one of them has, the other has, too.
func TestBothReadmes(t *testing.T) {
	english := skeleton(t, "../README.md")
	require.Greater(t, len(english), 20)
	assert.Equal(t, english, skeleton(t, "../README.ru.md"))
}

// TestLinks: what a page of the docs links to is there.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	top, err := filepath.Glob("../*.md")
	require.NoError(t, err)
	for _, page := range append(pages, top...) {
		for _, part := range skeleton(t, page) {
			target, ok := strings.CutPrefix(part, "link ")
			if !ok || strings.Contains(target, "://") {
				continue
			}
			if strings.HasPrefix(target, "#") {
				target = filepath.Base(page) + target
			}
			path, heading, _ := strings.Cut(target, "#")
			path = filepath.Join(filepath.Dir(page), path)
			assert.FileExists(t, dirOrFile(path), page)
			if heading != "" {
				assert.Contains(t, anchors(t, path), heading, "%s links to %s", page, target)
			}
		}
	}
}

// anchors are the places in a page that a link can lead to: its headings, as they are
// spelt in an address.
func anchors(t *testing.T, page string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	dropped := regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		all = append(all, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return all
}

// dirOrFile is a file that proves that path is there.
func dirOrFile(path string) string {
	entries, err := os.ReadDir(path)
	if err != nil {
		return path
	}
	for _, e := range entries {
		if !e.IsDir() {
			return filepath.Join(path, e.Name())
		}
	}
	return path
}
