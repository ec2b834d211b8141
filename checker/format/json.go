package format

import (
	"encoding/json"
	"io"

	"snapwatch/checker"
)

// JSON prints the report as a [checker.Document].
func JSON(w io.Writer, r checker.Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	return e.Encode(r.Document())
}
