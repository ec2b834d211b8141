package pages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch"
	"snapwatch/config"
)

func TestBlocks(t *testing.T) {
	assert.Equal(t, []Block{
		{Page: "p", Line: 5, Text: "one    # said\n\ntwo\n", PlayedBy: "TestIt"},
		{Page: "p", Line: 13, Text: "for\n    do\ndone\n", Because: "it is long"},
		{Page: "p", Line: 20, Text: "none\n"},
	}, blocks("p", `Text:

<!-- played by TestIt -->

    one    # said

    two

- a list, in which

  <!-- not played: it is long -->

      for
          do
      done

<!-- played by TestIt -->
Text

    none
`))
}

// defined returns the names of all tests of the project.
func defined(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	require.NoError(t, filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !regexp.MustCompile(`_test\.go$`).MatchString(path) {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return err
	}))
	return names
}

// Package config can read each configuration that a page shows.
func TestConfigurationsOfPages(t *testing.T) {
	its, err := PlayedBy(t.Name())
	require.NoError(t, err)
	require.NotEmpty(t, its)
	for _, b := range its {
		path := filepath.Join(t.TempDir(), "config.yaml")
		require.NoError(t, os.WriteFile(path, []byte(b.Text), 0o600))
		_, err := config.Load(path)
		assert.NoError(t, err, "%s:%d", b.Page, b.Line)
	}
}

// Each block of a page has a mark. The mark names the test that plays the block, or gives the
// reason why no test plays the block.
func TestEachBlockIsPlayedOrSaysWhyNot(t *testing.T) {
	all, err := All()
	require.NoError(t, err)
	require.Greater(t, len(all), 30)
	tests := defined(t)
	for _, b := range all {
		assert.True(t, b.PlayedBy != "" || b.Because != "", "%s:%d has no mark: %s", b.Page, b.Line, b.Text)
		assert.True(t, b.PlayedBy == "" || tests[b.PlayedBy], "%s:%d: there is no %s", b.Page, b.Line, b.PlayedBy)
	}
}

// Each test that a page names exists. A page may name several tests by the beginning of their
// names: TestOwners….
func TestTheTestsThatPagesNameAreThere(t *testing.T) {
	tests := defined(t)
	named := regexp.MustCompile(`\b((?:Test|Fuzz)[A-Z]\w+)(…?)`)
	entries, err := fs.Glob(snapwatch.Pages, "*/*.md")
	require.NoError(t, err)
	for _, page := range append(entries, "README.md") {
		text, err := fs.ReadFile(snapwatch.Pages, page)
		require.NoError(t, err)
		found := named.FindAllStringSubmatch(string(text), -1)
		for _, m := range found {
			there := tests[m[1]]
			for name := range tests {
				there = there || m[2] != "" && len(name) > len(m[1]) && name[:len(m[1])] == m[1]
			}
			assert.True(t, there, "%s names %s", page, m[0])
		}
		assert.True(t, page != "docs/reliability.md" || len(found) > 40, "it names the tests of its promises")
	}
}

// Each promise of docs/reliability.md has a row in this page's table, with the promise's number,
// and the row names a test.
func TestEachPromiseNamesItsTests(t *testing.T) {
	text, err := fs.ReadFile(snapwatch.Pages, "docs/reliability.md")
	require.NoError(t, err)
	promises, rest, found := strings.Cut(string(text), "## How each is tested")
	require.True(t, found)
	numbers := regexp.MustCompile(`(?m)^(\d+)\. \*{0,2}\w`).FindAllStringSubmatch(promises, -1)
	require.GreaterOrEqual(t, len(numbers), 8)
	for _, m := range numbers {
		row := regexp.MustCompile(`(?m)^\| ` + m[1] + ` \|.*\bTest[A-Z]\w+`)
		assert.True(t, row.MatchString(rest), "promise %s names no test", m[1])
	}
}
