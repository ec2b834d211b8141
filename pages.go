// Package snapwatch lets tests read the project's pages: they type what a page tells to
// type, and compare what it says with what they find.
package snapwatch

import "embed"

// Pages are the README in each language and the files of docs.
//
//go:embed README.md README.ru.md docs/*.md
var Pages embed.FS
