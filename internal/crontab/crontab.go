// Package crontab reads the lines of crontabs that start a program, as cron (crontab(5))
// and the shell behind it do, and writes such lines. A line whose meaning is not certain
// says so, and is never changed.
package crontab

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Entry is a line that starts the program that was looked for.
type Entry struct {
	// File is where it stands, Number its place among the file's lines, from 0, and Line
	// its text.
	File   string
	Number int
	Line   string
	// Job is what the program is started for, "" where that is not known.
	Job string
	// Wrapper are the words before the program, such as nice -n 19; Args are those behind it.
	Wrapper []string
	Program string
	Args    []string
	// Path is where cron looks for programs without a directory.
	Path string
	// Beside is true where the line does more than to start the program.
	Beside bool
	// AtBoot is true where cron starts it at boot only, Ignored is why it ignores the whole
	// file, "" if it does not.
	AtBoot  bool
	Ignored string
	// Problem is why the line must not be relied on, "" if it may be.
	Problem string
	// begin and end are where the program and its arguments stand in the line.
	begin, end int
}

// With returns the line with other words in place of the program and its arguments.
func (e Entry) With(words []string) string { return e.Line[:e.begin] + Quote(words) + e.Line[e.end:] }

// Command returns all words that are started: wrapper, program and arguments.
func (e Entry) Command() []string {
	return slices.Concat(e.Wrapper, []string{e.Program}, e.Args)
}

// Never returns why cron does not start the line again and again, "" if it does.
func (e Entry) Never() string {
	if e.Ignored == "" && e.AtBoot {
		return "at boot only"
	}
	return e.Ignored
}

// Search says which lines are looked for.
type Search struct {
	// Names reports whether a file of that name may be the program.
	Names func(base string) bool
	// Job returns what the program is started for with these arguments, "" for nothing
	// that matters here, and what is wrong with them.
	Job func(args []string) (job, problem string)
}

const defaultPath = "/usr/bin:/bin"

var (
	assignment = regexp.MustCompile(`^\s*["']?([A-Za-z_][A-Za-z0-9_]*)["']?\s*=\s*(.*?)\s*$`)
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	reference  = regexp.MustCompile(`\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})`)
	// timed splits a line into its times and the rest.
	timed = regexp.MustCompile(`^\s*(?:@\S+|(?:\S+\s+){4}\S+)\s+`)
	user  = regexp.MustCompile(`^(\S+)\s+`)
)

// ReadSystem returns the entries of the system's crontab, or of a file in /etc/cron.d, where
// each line names a user.
func (s Search) ReadSystem(file, text string) []Entry {
	return s.read(file, text, func(rest string) (account string, length int) {
		m := user.FindStringSubmatch(rest)
		if m == nil {
			return "", 0
		}
		return m[1], len(m[0])
	})
}

// ReadRoots returns those of root's own crontab.
func (s Search) ReadRoots(file, text string) []Entry {
	return s.read(file, text, func(string) (string, int) { return root, 0 })
}

// root is whom snapwatch runs as.
const root = "root"

// read returns the entries of a crontab. account returns the user that the command runs as,
// and how much of the line behind its times names it.
func (s Search) read(file, text string, account func(rest string) (string, int)) []Entry {
	var all []Entry
	where, variables := defaultPath, map[string]string{}
	for n, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if m := assignment.FindStringSubmatch(line); m != nil {
			variables[m[1]] = strings.Trim(m[2], `"'`)
			where = cmp.Or(variables["PATH"], defaultPath)
			continue
		}
		found := s.line(line, account)
		if len(found) == 0 {
			found = s.withVariables(line, variables, account)
		}
		for _, e := range found {
			e.File, e.Number, e.Line, e.Path = file, n, line, where
			all = append(all, e)
		}
	}
	return all
}

// withVariables returns what a line starts by the variables that the crontab sets. They are
// the shell's to expand, so that this is never certain.
func (s Search) withVariables(line string, variables map[string]string, account func(rest string) (string, int)) []Entry {
	var used string
	expanded := reference.ReplaceAllStringFunc(line, func(text string) string {
		value, set := variables[strings.Trim(text, "${}")]
		if !set {
			return text
		}
		used = text
		return value
	})
	if used == "" {
		return nil
	}
	found := s.line(expanded, account)
	for i := range found {
		found[i].Problem = "only the shell knows what " + used + " is"
	}
	return found
}

// line returns what one line starts.
func (s Search) line(line string, account func(rest string) (string, int)) []Entry {
	at := len(timed.FindString(line))
	if at == 0 {
		return nil // cron refuses it
	}
	who, length := account(line[at:])
	if who == "" {
		return nil
	}
	commands, whole := split(line, at+length)
	var found []Entry
	for _, c := range commands {
		if e, is := s.command(c); is {
			found = append(found, e)
		}
	}
	for i := range found {
		e := &found[i]
		e.Beside = len(commands) > 1
		e.AtBoot = strings.EqualFold(strings.Fields(line)[0], atBoot)
		switch {
		case e.Problem != "":
		case !whole:
			e.Problem = "a quote in it does not end"
		case len(found) > 1:
			e.Problem = "it starts the program more than once"
		case who != root:
			e.Problem = "it runs as " + who + ", not as root"
		}
	}
	return found
}

// wrappers start the program that is named behind their own words, with its arguments.
var wrappers = []string{
	"nice", "ionice", "chrt", "taskset", "env", "flock", "timeout", "setsid", "nohup", "exec", "time", "sudo",
	"chronic", "cronic", "systemd-cat", "systemd-inhibit", "systemd-run", "setlock", "lckdo", "eatmydata",
}

// command returns what a simple command starts, false if nothing that is looked for.
func (s Search) command(words []word) (Entry, bool) {
	first := slices.IndexFunc(words, func(w word) bool { return !variable.MatchString(w.text) })
	if first < 0 {
		return Entry{}, false
	}
	for i := first; i < len(words); i++ {
		args := texts(words[i+1:])
		if words[i].expands {
			if job, _ := s.Job(args); job != "" { // it may be the program, by a variable
				return Entry{Job: job, Problem: "only the shell knows what " + words[i].text + " is", Program: words[i].text, Args: args}, true
			}
		}
		if !s.Names(path.Base(words[i].text)) || strings.HasSuffix(words[i].text, "/") {
			continue
		}
		job, problem := s.Job(args)
		if job == "" {
			continue // an argument, such as a lock file; or the program with other work
		}
		e := Entry{
			Job: job, Problem: problem, Wrapper: texts(words[first:i]), Program: words[i].text, Args: args,
			begin: words[i].begin, end: words[len(words)-1].end,
		}
		direct := i == first || slices.Contains(wrappers, path.Base(words[first].text))
		switch unsure := slices.IndexFunc(words[first:], func(w word) bool { return w.expands }); {
		case !direct:
			e.Job, e.Problem = "", fmt.Sprintf("what %s does with it is not known", words[first].text)
		case unsure >= 0:
			e.Problem = "only the shell knows what " + words[first+unsure].text + " is"
		case slices.ContainsFunc(words[i+1:], func(w word) bool { return w.redirected }):
			e.Problem = "a redirection stands between its words"
		}
		return e, true
	}
	// A script in quotes, for a shell.
	for _, w := range words[first:] {
		inner, _ := split(w.text, 0)
		if !strings.ContainsAny(w.text, " \t") {
			continue
		}
		for _, c := range inner {
			if e, is := s.command(c); is {
				return Entry{Problem: fmt.Sprintf("what %s does with it is not known", words[first].text), Program: e.Program}, true
			}
		}
	}
	return Entry{}, false
}

func texts(words []word) []string {
	var all []string
	for _, w := range words {
		all = append(all, w.text)
	}
	return all
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@+-]+$`)

// Quote writes words for the shell that cron starts; a percent sign means a newline
// to cron itself.
func Quote(words []string) string {
	var quoted []string
	for _, w := range words {
		if !plainWord.MatchString(w) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted = append(quoted, strings.ReplaceAll(w, "%", `\%`))
	}
	return strings.Join(quoted, " ")
}
