package pve

import (
	"fmt"
	"regexp"
	"strings"
)

// section is one of Proxmox's section format, in which storage.cfg and ha/resources.cfg
// are written: a header "type: name", and a line for each key.
type section struct {
	kind, name string
	line       int
	settings   []setting
}

// setting is a line of a section. A bare one is a key without a value.
type setting struct {
	key, value string
	bare       bool
	line       int
}

// oddity is a line that Proxmox reads in another way than a person does.
type oddity struct {
	line int
	text string
}

// The white space that Proxmox's patterns know: Go's own \s lacks the vertical tab.
const (
	blank = `[\t\v\f\r ]`
	solid = `[^\t\v\f\r ]`
)

var (
	onlyBlank     = regexp.MustCompile(`^` + blank + `*$`)
	commentLine   = regexp.MustCompile(`^` + blank + `*#`)
	sectionHeader = regexp.MustCompile(`^(` + solid + `+):` + blank + `*(` + solid + `+)` + blank + `*$`)
	sectionLine   = regexp.MustCompile(`^` + blank + `+(` + solid + `+)(?:` + blank + `+(.*` + solid + `))?` + blank + `*$`)
)

// parseSections reads a file as Proxmox does, and returns what is not as it seems. Only an
// empty line ends a section: one with blanks or a carriage return in it does not, nor does
// the next header, and what follows belongs to the section before.
func parseSections(text string) (all []section, odd []oddity) {
	in, outside := false, false
	for n, line := range numbered(text) {
		switch {
		case commentLine.MatchString(line):
		case line == "" || line == "0": // what Perl takes for false ends it
			in, outside = false, false
		case !in:
			m := sectionHeader.FindStringSubmatch(line)
			if in = m != nil; in {
				all = append(all, section{kind: strings.ToLower(m[1]), name: m[2], line: n})
			} else if !outside && !onlyBlank.MatchString(line) {
				outside = true // said once
				odd = append(odd, oddity{n, "is in no section: Proxmox skips it"})
			}
		default:
			last := &all[len(all)-1]
			if m := sectionLine.FindStringSubmatch(line); m != nil {
				last.settings = append(last.settings, setting{key: m[1], value: m[2], bare: m[2] == "", line: n})
			} else if sectionHeader.MatchString(line) {
				odd = append(odd, oddity{n, fmt.Sprintf("begins no section of its own: Proxmox takes what follows for a part of %q, because no empty line stands before it", last.name)})
			}
		}
	}
	return all, odd
}

// numbered yields the lines of a text, without their newline, by their numbers from 1 on.
func numbered(text string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			if !yield(n, strings.TrimSuffix(line, "\n")) {
				return
			}
		}
	}
}

// accepted returns what counts of a section's settings of one key, the first that check
// does not refuse, and what is not as it seems. default says what holds without one.
func (s section) accepted(key, otherwise string, check func(setting) bool) (value setting, found bool, odd []oddity) {
	for _, t := range s.settings {
		switch {
		case t.key != key:
		case found:
			odd = append(odd, oddity{t.line, fmt.Sprintf("%s of %q stands there twice: Proxmox takes the first", key, s.name)})
		case !check(t):
			odd = append(odd, oddity{t.line, fmt.Sprintf("Proxmox refuses the value %q for %s of %q: %s", t.value, key, s.name, otherwise)})
		default:
			value, found = t, true
		}
	}
	return value, found, odd
}

// words renders oddities for people, each with the file's name.
func words(file string, odd []oddity) []string {
	var all []string
	for _, o := range odd {
		all = append(all, fmt.Sprintf("%s line %d: %s", file, o.line, o.text))
	}
	return all
}
