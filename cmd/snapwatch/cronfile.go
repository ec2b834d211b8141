package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"snapwatch/internal/files"
)

// addToCron appends a line to a crontab. A new or empty crontab first gets the text in the argument
// `head`.
func addToCron(path, head, line string) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(text) == 0 {
		text = []byte(head + "\n")
	} else if !strings.HasSuffix(string(text), "\n") {
		text = append(text, '\n')
	}
	return writeCron(path, string(text)+line+"\n")
}

// rewriteCron rewrites a crontab line by line. The argument change of rewriteCron is a function
// that may edit a line, and that returns false if the line must be removed.
func rewriteCron(path string, change func(n int, line *string) bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var kept []string
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if change(n, &line) {
			kept = append(kept, line)
		}
	}
	return writeCron(path, strings.Join(kept, "\n")+"\n")
}

// writeCron replaces a crontab atomically. cron reads a file only if root owns the file and no
// other user may write to it.
func writeCron(path, text string) error { return files.Replace(path, []byte(text), 0o644) }
