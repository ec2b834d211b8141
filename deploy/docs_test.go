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

// skeleton returns the parts of a documentation page that two translations must share: the levels
// of the headings, the commands, the number of columns of each table, and the targets of links.
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
			continue // the link to the other language
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

// TestBothReadmes checks that both README files have the same skeleton.
func TestBothReadmes(t *testing.T) {
	english := skeleton(t, "../README.md")
	require.Greater(t, len(english), 20)
	assert.Equal(t, english, skeleton(t, "../README.ru.md"))
}

// TestLinks checks that the targets of all links in the documentation exist.
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

// anchors returns the headings of a page in the form that the fragment of a link has.
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

// dirOrFile returns a file that exists if the file or directory at path is part of the
// repository.
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

// cron finds programs only in /usr/bin and /bin, and many programs are in /usr/sbin. Each line for
// cron on a page must therefore start snapwatch (which is in /usr/bin), or name the full path of
// its program, or follow a line that sets PATH.
func TestCronsLinesOfPagesFindTheirPrograms(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	require.NoError(t, err)
	line := regexp.MustCompile(`^ {4}(?:[-\d*/,]+ ){4}[-\d*/,]+ +(?:root|nobody) +(\S+)`)
	seen := 0
	for _, page := range append(pages, "../README.md", "../README.ru.md") {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		path := false // whether the block sets PATH
		for text := range strings.Lines(string(text)) {
			path = strings.HasPrefix(text, "    ") && (path || strings.HasPrefix(text, "    PATH="))
			if m := line.FindStringSubmatch(text); m != nil {
				seen++
				assert.True(t, path || m[1] == "snapwatch" || strings.HasPrefix(m[1], "/"), "%s: %s", page, text)
			}
		}
	}
	assert.GreaterOrEqual(t, seen, 3)
}

// Both the exporter and a check that runs as the user nobody must be able to read the password
// for the owners.
func TestTheUnitReadsThePasswordOfThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/two-sites.md")
	require.NoError(t, err)
	group := regexp.MustCompile(`install -m 640 -g (\w+) /dev/stdin /etc/snapwatch/password`).FindStringSubmatch(string(page))
	require.NotNil(t, group)
	assert.Equal(t, "nogroup", group[1], "nobody's")
	unit, err := os.ReadFile("systemd/snapwatch-exporter.service")
	require.NoError(t, err)
	assert.Contains(t, string(unit), "\nSupplementaryGroups="+group[1]+"\n")
}

// Installed files name pages and the manual by the paths at which the package installs them.
func TestInstalledFilesNameInstalledPages(t *testing.T) {
	bare := regexp.MustCompile(`(?:^|[^/\w])docs/\S+|man:snapwatch\((?:[^8])\)`)
	seen := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) == ".go" || strings.Contains(path, "testdata") {
			return err
		}
		text, err := os.ReadFile(path)
		seen++
		assert.Empty(t, bare.FindAllString(string(text), -1), path)
		return err
	}))
	assert.Greater(t, seen, 20)
}
