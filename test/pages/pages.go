// Package pages finds the commands and files that the project's pages show. Tests read the commands
// and the files' contents from the pages, so that no test has a second version of a text.
//
// A block is a part of a page that is indented as code. Before each block, the page has a mark, a
// comment that readers do not see:
//
//	<!-- played by TestName -->
//	<!-- not played: why it cannot be, or need not -->
package pages

import (
	"io/fs"
	"regexp"
	"strings"

	"snapwatch"
)

// Block is a part of a page that is shown as code.
type Block struct {
	Page string
	Line int // number of the block's first line
	// Text is the block without its indentation.
	Text string
	// PlayedBy is the name of the test that plays the block. If no test plays the block, Because is
	// the reason. If the block has no mark, PlayedBy and Because are empty.
	PlayedBy, Because string
}

// All returns the blocks of all pages, in the order of pages and lines.
func All() ([]Block, error) {
	var all []Block
	err := fs.WalkDir(snapwatch.Pages, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(snapwatch.Pages, path)
		all = append(all, blocks(path, string(text))...)
		return err
	})
	return all, err
}

// PlayedBy returns the blocks that are marked as played by the test.
func PlayedBy(test string) ([]Block, error) {
	all, err := All()
	var its []Block
	for _, b := range all {
		if b.PlayedBy == test {
			its = append(its, b)
		}
	}
	return its, err
}

var mark = regexp.MustCompile(`^\s*<!-- (?:played by (\w+)|not played: (.+)) -->$`)

// blocks returns the blocks of one page.
func blocks(page, text string) []Block {
	const indented = "    "
	var all []Block
	lines := strings.Split(text, "\n")
	before := "" // the last line that is not empty
	for i := 0; i < len(lines); i++ {
		if !strings.HasPrefix(lines[i], indented) || i > 0 && lines[i-1] != "" {
			if lines[i] != "" {
				before = lines[i]
			}
			continue
		}
		indentation := lines[i][:len(lines[i])-len(strings.TrimLeft(lines[i], " "))]
		b := Block{Page: page, Line: i + 1}
		if m := mark.FindStringSubmatch(before); m != nil {
			b.PlayedBy, b.Because = m[1], m[2]
		}
		for ; i < len(lines) && (lines[i] == "" || strings.HasPrefix(lines[i], indented)); i++ {
			b.Text += strings.TrimPrefix(lines[i], indentation) + "\n"
		}
		b.Text = strings.TrimRight(b.Text, "\n") + "\n"
		all = append(all, b)
		i--
		before = ""
	}
	return all
}
