// Package crontab finds the lines of crontabs that start a program, and writes such lines. The
// package reads crontabs in the same way as cron (crontab(5)) and the shell. A line whose meaning
// is uncertain gets a Problem, and is never changed.
package crontab

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Entry is a crontab line that starts the program that a Search looks for.
type Entry struct {
	// File is the crontab's path, Number the line's number in the file, counted from 0, and Line
	// the line's text.
	File   string
	Number int
	Line   string
	// Job is the work of the program that the line starts, such as snap or prune, "" if the work is
	// unknown.
	Job string
	// Wrapper has the words of the command before the program, such as nice -n 19. Args has the
	// words after the program.
	Wrapper []string
	Program string
	Args    []string
	// Path is the list of directories in which cron looks for a program without a directory.
	Path string
	// Beside is true if the line starts further programs in addition to the wanted program.
	Beside bool
	// AtBoot is true if cron runs the line at boot and at no other time. Ignored is the reason why
	// cron ignores the whole file, "" if cron reads the file.
	AtBoot  bool
	Ignored string
	// Problem is the reason why the meaning of the line is uncertain, "" if the meaning is certain.
	Problem string
	// begin and end are the positions of the program and its arguments in the text of the crontab
	// line.
	begin, end int
}

// With returns the crontab line with the given words in place of the program and its arguments.
func (e Entry) With(words []string) string { return e.Line[:e.begin] + Quote(words) + e.Line[e.end:] }

// Command returns all words of the command in the crontab line: wrapper, program and arguments.
func (e Entry) Command() []string {
	return slices.Concat(e.Wrapper, []string{e.Program}, e.Args)
}

// Never (a method) returns the reason why cron does not run the line regularly, "" if cron runs the
// line regularly.
func (e Entry) Never() string {
	if e.Ignored == "" && e.AtBoot {
		return "at boot only"
	}
	return e.Ignored
}

// Search describes a program. [ReadSystem] and [ReadRoots] find the lines of crontabs that start
// this program.
type Search struct {
	// Names reports whether a file with the base name base may be the wanted program.
	Names func(base string) bool
	// Job returns the work that the program does with the given arguments, "" if the search ignores
	// this work. The second result, problem, is the fault in the arguments, "" if there is no fault.
	Job func(args []string) (job, problem string)
}

const defaultPath = "/usr/bin:/bin"

var (
	assignment = regexp.MustCompile(`^\s*["']?([A-Za-z_][A-Za-z0-9_]*)["']?\s*=\s*(.*?)\s*$`)
	variable   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	reference  = regexp.MustCompile(`\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})`)
	// timed is the pattern of the schedule at the beginning of a crontab line: five fields, or a
	// word such as @daily.
	timed = regexp.MustCompile(`^\s*(?:@\S+|(?:\S+\s+){4}\S+)\s+`)
	user  = regexp.MustCompile(`^(\S+)\s+`)
)

// ReadSystem returns the entries of the system's crontab, or of a file in /etc/cron.d. Each line of
// these crontabs names a user.
func (s Search) ReadSystem(file, text string) []Entry {
	return s.read(file, text, func(rest string) (account string, length int) {
		m := user.FindStringSubmatch(rest)
		if m == nil {
			return "", 0
		}
		return m[1], len(m[0])
	})
}

// ReadRoots returns the entries of root's own crontab, whose lines name no user.
func (s Search) ReadRoots(file, text string) []Entry {
	return s.read(file, text, func(string) (string, int) { return root, 0 })
}

// root is the user as whom cron must run snapwatch.
const root = "root"

// read returns the lines of a crontab that start the wanted program. The function in the argument
// account gets the part of a crontab line after the schedule. account returns the user as whom cron
// runs the command, and the length of the text that names this user.
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

// withVariables replaces the crontab's variables in a crontab line by their values, and returns the
// entries of the result. Each entry from withVariables has a Problem, because the shell, and not
// cron, expands variables.
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
		found[i].Problem = "only the shell knows the value of " + used
	}
	return found
}

// line returns the entries of one crontab line.
func (s Search) line(line string, account func(rest string) (string, int)) []Entry {
	at := len(timed.FindString(line))
	if at == 0 {
		return nil // cron refuses a line without a schedule
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
			e.Problem = "a quote in the line does not end"
		case len(found) > 1:
			e.Problem = "the line starts the program more than once"
		case who != root:
			e.Problem = "the line runs as " + who + ", not as root"
		}
	}
	return found
}

// wrappers has the names of programs that start a second program, such as nice. In a command line,
// the second program's name follows the arguments of the wrapper.
var wrappers = []string{
	"nice", "ionice", "chrt", "taskset", "env", "flock", "timeout", "setsid", "nohup", "exec", "time", "sudo",
	"chronic", "cronic", "systemd-cat", "systemd-inhibit", "systemd-run", "setlock", "lckdo", "eatmydata",
}

// command returns the crontab entry of a simple shell command. If the command does not start the
// wanted program, command returns false.
func (s Search) command(words []word) (Entry, bool) {
	first := slices.IndexFunc(words, func(w word) bool { return !variable.MatchString(w.text) })
	if first < 0 {
		return Entry{}, false
	}
	for i := first; i < len(words); i++ {
		args := texts(words[i+1:])
		if words[i].expands {
			if job, _ := s.Job(args); job != "" { // perhaps the wanted program, named by a variable
				return Entry{Job: job, Problem: "only the shell knows the value of " + words[i].text, Program: words[i].text, Args: args}, true
			}
		}
		if !s.Names(path.Base(words[i].text)) || strings.HasSuffix(words[i].text, "/") {
			continue
		}
		job, problem := s.Job(args)
		if job == "" {
			continue // an argument such as a lock file, or work that the search ignores
		}
		e := Entry{
			Job: job, Problem: problem, Wrapper: texts(words[first:i]), Program: words[i].text, Args: args,
			begin: words[i].begin, end: words[len(words)-1].end,
		}
		direct := i == first || slices.Contains(wrappers, path.Base(words[first].text))
		switch unsure := slices.IndexFunc(words[first:], func(w word) bool { return w.expands }); {
		case !direct:
			e.Job, e.Problem = "", fmt.Sprintf("it is unknown what %s does with the program", words[first].text)
		case unsure >= 0:
			e.Problem = "only the shell knows the value of " + words[first+unsure].text
		case slices.ContainsFunc(words[i+1:], func(w word) bool { return w.redirected }):
			e.Problem = "a redirection is between the program's arguments"
		}
		return e, true
	}
	// A word of the command may be a shell script in quotes that starts the wanted program.
	for _, w := range words[first:] {
		inner, _ := split(w.text, 0)
		if !strings.ContainsAny(w.text, " \t") {
			continue
		}
		for _, c := range inner {
			if e, is := s.command(c); is {
				return Entry{Problem: fmt.Sprintf("it is unknown what %s does with the program", words[first].text), Program: e.Program}, true
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

// Quote writes words in the form that cron and the shell read. A percent sign is escaped, because
// cron reads it as a newline.
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
