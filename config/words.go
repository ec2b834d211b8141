package config

import (
	"bytes"
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// The type `words` checks the parsed configuration file before the file is decoded into Go types.
// The error messages of `words` name keys and values in the file, while the error messages of
// yaml.v3 would name Go types.
type words struct {
	// lines has the line number of each key and entry in the file. The keys of this map are the
	// names in messages, such as "limits.warning" or "overrides, entry 2".
	lines map[string]int
}

// located adds the line number in the configuration file to an error message that begins with the
// name of a key or entry.
func (w words) located(err error) error {
	text, found := err.Error(), ""
	for name := range w.lines {
		rest, is := strings.CutPrefix(text, name)
		if is && len(name) > len(found) && (rest == "" || strings.ContainsRune(":, .", rune(rest[0]))) {
			found = name
		}
	}
	if found == "" {
		return err
	}
	return fmt.Errorf("line %d: %w", w.lines[found], err)
}

// look returns an error if the YAML node n of the configuration does not fit the Go type t. The
// argument `name` is the name of the node in the error message.
func (w words) look(n *yaml.Node, t reflect.Type, name string) error {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	w.lines[name] = n.Line
	if n.ShortTag() == "!!null" {
		return nil
	}
	is := func(format string, args ...any) error {
		return fmt.Errorf("line %d: %s: %s", n.Line, name, fmt.Sprintf(format, args...))
	}
	value := reflect.New(t).Interface()
	reader, text := value.(encoding.TextUnmarshaler)
	isTime := t == reflect.TypeFor[time.Time]()
	switch {
	case t.Kind() == reflect.Struct && !isTime:
		return w.lookAtKeys(n, t, name)
	case t.Kind() == reflect.Slice && !text:
		if n.Kind != yaml.SequenceNode {
			return is("this must be a list; write it as [a, b], or each entry in a line that begins with a dash")
		}
		for i, entry := range n.Content {
			if err := w.look(entry, t.Elem(), fmt.Sprintf("%s, entry %d", name, i+1)); err != nil {
				return err
			}
		}
		return nil
	case n.Kind != yaml.ScalarNode:
		return is("write this in one line of text, not as a list or a map")
	case isTime:
		if n.Decode(value) != nil {
			return is("%s is not a time; write it as 2026-12-24T06:00:00Z", quoteText(name, n.Value))
		}
	case text:
		if err := reader.UnmarshalText([]byte(n.Value)); err != nil {
			key := name[strings.LastIndexAny(name, ". ")+1:]
			return is("%s", strings.TrimPrefix(err.Error(), key+": "))
		}
	case n.Decode(value) != nil && t.Kind() == reflect.Bool:
		return is("%s is neither true nor false", quoteText(name, n.Value))
	case n.Decode(value) != nil:
		return is("%s is not a whole number; write it as 30", quoteText(name, n.Value))
	}
	return nil
}

// lookAtKeys does what look does, for a YAML node that must have keys.
func (w words) lookAtKeys(n *yaml.Node, t reflect.Type, name string) error {
	if n.Kind != yaml.MappingNode {
		if name == "" {
			return fmt.Errorf("line %d: this must be keys and their values, as in bookmarks: 30", n.Line)
		}
		return fmt.Errorf("line %d: %s: this must be keys and their values; the keys are %s", n.Line, name, strings.Join(keysOfType(t), ", "))
	}
	known := fieldsOf(t)
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			continue // a merged key is checked at the place of its definition
		}
		if err := renamedKey(key, value); err != nil {
			return err
		}
		field, is := known[key.Value]
		if !is {
			return fmt.Errorf("line %d: unknown key %s; %s", key.Line, quoteText(name, key.Value), insteadOf(key.Value, name, keysOfType(t)))
		}
		if line := first[key.Value]; line != 0 {
			return fmt.Errorf("line %d: %s is listed twice, first in line %d", key.Line, key.Value, line)
		}
		first[key.Value] = key.Line
		called := key.Value
		switch {
		case strings.Contains(name, ", entry "):
			called = name + ": " + called
		case name != "":
			called = name + "." + called
		}
		if err := w.look(value, field, called); err != nil {
			return err
		}
		w.lines[called] = key.Line
	}
	return nil
}

// fieldsOf returns, by YAML key, the Go type of the field of t that has the key.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if options == "inline" {
			maps.Copy(fields, fieldsOf(f.Type))
		} else {
			fields[name] = f.Type
		}
	}
	return fields
}

func keysOfType(t reflect.Type) []string { return slices.Sorted(maps.Keys(fieldsOf(t))) }

// insteadOf returns a text about an unknown configuration key: the known key that the user probably
// meant. If no known key is similar, the text is the list of known keys.
func insteadOf(key, under string, known []string) string {
	near := slices.MinFunc(known, func(a, b string) int { return distance(key, a) - distance(key, b) })
	if i := slices.IndexFunc(known, func(k string) bool { return len(key) > 2 && strings.HasPrefix(k, key) }); i >= 0 {
		near = known[i]
	}
	if strings.HasPrefix(near, key) || distance(key, near) <= max(1, len(key)/3) {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if under == "" {
		return "the keys are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("the keys of %s are %s", under, strings.Join(known, ", "))
}

// distance returns the smallest number of letters that must be inserted, removed or replaced to
// change a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// quoteText quotes the text of a key or value, for an error message. Below the key ping, quoteText
// returns a placeholder, because a misspelt line may have the secret address at any place.
func quoteText(name, text string) string {
	if name == "ping" || strings.HasPrefix(name, "ping, ") {
		return hidden
	}
	return fmt.Sprintf("%q", text)
}

var (
	marks      = regexp.MustCompile(`'[:,\[\]{}?-]+'`)
	lineNumber = regexp.MustCompile(`line \d+`)
)

// syntax returns an error of yaml.v3 without the prefix "yaml: ". If the file has addresses of
// pings, which are secrets, the error quotes no text of the file, because any quoted text may be
// such an address.
func syntax(err error, file []byte) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if !bytes.Contains(file, []byte("ping")) {
		return errors.New(text)
	}
	if _, is := errors.AsType[*yaml.TypeError](err); is {
		return fmt.Errorf("%s: a key or value that is not known here", cmp.Or(lineNumber.FindString(text), "some line"))
	}
	// A text in quotes in an error of yaml.v3 is text of the file, unless it is a punctuation mark
	// that yaml.v3 reports as missing.
	rest := marks.ReplaceAllStringFunc(text, func(mark string) string { return strings.Repeat(" ", len(mark)) })
	for _, begin := range []string{"'", `"`, "`", "invalid map key: "} {
		if i := strings.Index(rest, begin); i >= 0 {
			text, rest = text[:i]+hidden, rest[:i]
		}
	}
	return errors.New(text)
}
