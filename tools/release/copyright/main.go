// Copyright prints Debian's copyright file for a program: deploy/deb/copyright for snapwatch
// itself, and the notices and licence of each module that the Go linker wrote into the program,
// from the module cache. An unknown licence, such as the GPL, is an error: a person must look at
// the licence first.
//
// usage: copyright PROGRAM
package main

import (
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

func main() {
	if err := write(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "copyright:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: copyright PROGRAM")
	}
	own, err := os.ReadFile("deploy/deb/copyright")
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(args[0])
	if err != nil {
		return err
	}
	goRoot, err := stanza("std", runtime.GOROOT())
	if err != nil {
		return err
	}
	all := string(own) + goRoot
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Version}} {{.Dir}}", m.Path).Output() //nolint:gosec // a module's path that Go wrote
		if err != nil {
			return fmt.Errorf("go list -m %s: %w", m.Path, err)
		}
		version, path, _ := strings.Cut(strings.TrimSpace(string(dir)), " ")
		if version != m.Version || path == "" {
			return fmt.Errorf("%s %s is linked in, but go.mod has %s in %q", m.Path, m.Version, version, path)
		}
		one, err := stanza(m.Path, path)
		if err != nil {
			return err
		}
		all += one
	}
	_, err = io.WriteString(w, all)
	return err
}

// holder matches a line of a licence that names a copyright holder.
var holder = regexp.MustCompile(`(?mi)^[ \t/*#]*(?:Copyright|©)[ \t]+(?:\(c\)[ \t]*)?(?:©[ \t]*)?(\d{4}[^\n]*|The [^\n]*Authors[^\n]*)$`)

// stanza returns the part of the copyright file for the module in dir.
func stanza(module, dir string) (string, error) {
	texts, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return "", err
	}
	var licence, notice, name string
	var holders []string
	for _, path := range texts {
		base := strings.ToUpper(filepath.Base(path))
		base, _, _ = strings.Cut(base, ".")
		if !slices.Contains([]string{"LICENSE", "LICENCE", "COPYING", "NOTICE", "PATENTS"}, base) {
			continue
		}
		raw, err := os.ReadFile(path) //nolint:gosec // of the module cache
		if err != nil {
			return "", err
		}
		text := string(raw)
		switch base {
		case "PATENTS":
			continue // PATENTS grants rights in addition to the licence and demands nothing
		case "NOTICE":
			notice += text
		default:
			kind, err := licenceOf(text)
			if err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
			name = strings.TrimPrefix(name+" and "+kind, " and ")
			if kind == apache {
				text = "On Debian systems the license is in /usr/share/common-licenses/Apache-2.0.\n"
			}
			licence += text
		}
		for _, m := range holder.FindAllStringSubmatch(string(raw), -1) {
			if !strings.Contains(m[1], "[") && !slices.Contains(holders, m[1]) {
				holders = append(holders, strings.TrimSpace(m[1]))
			}
		}
	}
	if licence == "" {
		return "", fmt.Errorf("%s: no licence in %s", module, dir)
	}
	licence += notice
	if len(holders) == 0 {
		holders = []string{"The authors of " + module}
	}
	return fmt.Sprintf("\nFiles: %s/*\nCopyright: %s\nLicense: %s\n%s", module, strings.Join(holders, "\n "), name, indent(licence)), nil
}

// Of the licences that licenceOf knows, only the text of the licence apache is on every Debian
// system.
const apache = "Apache-2.0"

// licenceOf returns Debian's short name of a licence. licenceOf recognizes a licence by phrases
// that no other licence has.
func licenceOf(text string) (string, error) {
	words := strings.Join(strings.Fields(text), " ")
	has := func(phrase string) bool { return strings.Contains(words, phrase) }
	asl, expat := has("Apache License"), has("Permission is hereby granted, free of charge")
	bsd := has("Redistribution and use in source and binary forms")
	switch {
	case has("GNU General Public License"), has("GNU GENERAL PUBLIC LICENSE"), has("GNU LESSER"), has("GNU AFFERO"):
		return "", errors.New("a GNU licence: the program must not contain the module")
	case asl && expat:
		return apache + " and Expat", nil
	case asl:
		return apache, nil
	case expat:
		return "Expat", nil
	case bsd && (has("Neither the name") || has("The names of")):
		return "BSD-3-clause", nil
	case bsd:
		return "BSD-2-clause", nil
	}
	return "", errors.New("the licence is unknown: check it, and add it to licenceOf")
}

// indent returns text as a continued field of the copyright file: with a space before each line,
// and a full stop in place of an empty line.
func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.Trim(strings.ReplaceAll(text, "\r", ""), "\n\f ")) {
		line = strings.TrimRight(strings.ReplaceAll(line, "\f", ""), " \t\n")
		if line == "" {
			line = "."
		}
		b.WriteString(" " + line + "\n")
	}
	return b.String()
}
