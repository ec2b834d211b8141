package pve

import (
	"fmt"
	"regexp"
	"strings"
)

// section is one section of Proxmox's section format, which storage.cfg and ha/resources.cfg use. A
// section has a header "type: name" and a line for each key.
type section struct {
	kind, name string
	line       int
	settings   []setting
}

// setting is a line with a key and a value in a section of storage.cfg or ha/resources.cfg. A bare
// setting is a key without a value.
type setting struct {
	key, value string
	bare       bool
	line       int
}

// oddity is a line of a Proxmox file that Proxmox understands differently from a person.
type oddity struct {
	line int
	text string
}

// blank matches white space, and solid matches all other characters, both as in Proxmox's patterns.
// Go's class \s cannot be used, because it lacks the vertical tab.
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

// parseSections reads a file in Proxmox's section format as Proxmox does. parseSections also
// returns the lines that a person would understand differently from Proxmox. Only a completely
// empty line ends a section. A line with only blanks or a carriage return does not end a section.
// A header within a section does not end the section: the lines after this header belong to the
// section in which the header is.
func parseSections(text string) (all []section, odd []oddity) {
	in, outside := false, false
	for n, line := range numbered(text) {
		switch {
		case commentLine.MatchString(line):
		case line == "" || line == "0": // an empty line or "0", which Perl treats as false, ends a section
			in, outside = false, false
		case !in:
			m := sectionHeader.FindStringSubmatch(line)
			if in = m != nil; in {
				all = append(all, section{kind: strings.ToLower(m[1]), name: m[2], line: n})
			} else if !outside && !onlyBlank.MatchString(line) {
				outside = true // warn only about the first line outside of a section
				odd = append(odd, oddity{n, "is in no section: Proxmox skips it"})
			}
		default:
			last := &all[len(all)-1]
			if m := sectionLine.FindStringSubmatch(line); m != nil {
				last.settings = append(last.settings, setting{key: m[1], value: m[2], bare: m[2] == "", line: n})
			} else if sectionHeader.MatchString(line) {
				odd = append(odd, oddity{n, fmt.Sprintf("does not begin a section: Proxmox reads the following lines as part of %q; put an empty line before this one", last.name)})
			}
		}
	}
	return all, odd
}

// numbered yields the lines of a text, without their newlines, with their numbers,
// starting at 1.
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

// accepted returns the setting that Proxmox uses for a key of a section: the first setting that the
// function `check` accepts. accepted also returns a warning about each setting of the key that
// Proxmox ignores. The argument `otherwise` is a part of this warning: the effect of the ignored
// setting.
func (s section) accepted(key, otherwise string, check func(setting) bool) (value setting, found bool, odd []oddity) {
	for _, t := range s.settings {
		switch {
		case t.key != key:
		case found:
			odd = append(odd, oddity{t.line, fmt.Sprintf("%s of %q appears twice: Proxmox uses the first", key, s.name)})
		case !check(t):
			odd = append(odd, oddity{t.line, fmt.Sprintf("Proxmox refuses the value %q for %s of %q: %s", t.value, key, s.name, otherwise)})
		default:
			value, found = t, true
		}
	}
	return value, found, odd
}

// words returns a warning about each oddity. An oddity is a line that a person
// understands in one way and Proxmox in another way. Each warning has the file's name.
func words(file string, odd []oddity) []string {
	var all []string
	for _, o := range odd {
		all = append(all, fmt.Sprintf("%s line %d: %s", file, o.line, o.text))
	}
	return all
}
