package format

import (
	"encoding/json"
	"io"

	"snapwatch/checker"
)

// JSON prints the report as a [checker.Document].
func JSON(w io.Writer, r checker.Report) error { return Document(w, r.Document()) }

// Document prints a [checker.Document] as JSON.
func Document(w io.Writer, doc checker.Document) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(doc)
}
