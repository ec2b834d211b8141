package crontab

import "strings"

// word is one word of a simple command, as the shell splits the line.
type word struct {
	text string
	// begin and end are the positions of the word in the crontab line.
	begin, end int
	// expands is true if the shell replaces a part of the word, such as a variable.
	expands bool
	// redirected is true if a redirection of the same command comes before the word.
	redirected bool
}

// splitter splits the command of a crontab line into simple commands.
type splitter struct {
	line     string
	at       int
	commands [][]word
	current  []word
	word     word
	// begun is true while the splitter is within a word. quoted is true if at least a part of the
	// present word is in quotes.
	begun, quoted bool
	// skip is true if the next word is the target of a redirection. redirected is true if a
	// redirection of the present command came before the present word.
	skip, redirected bool
	// open has an entry for each bracket of the line that is not closed yet. An entry of open is true
	// if its bracket belongs to a command substitution.
	open []bool
}

// split returns the simple commands in a crontab line, without their redirections. The argument
// `at` is the position in the line where split begins. If a quote has no end, split returns false.
// split stops at a percent sign, because a percent sign ends the text that cron passes to the
// shell.
func split(line string, at int) (commands [][]word, whole bool) {
	s := splitter{line: line, at: at}
	whole = s.run()
	s.endCommand()
	return s.commands, whole
}

func (s *splitter) run() bool {
	for s.at < len(s.line) {
		c := s.line[s.at]
		switch {
		case c == '%':
			return true
		case c == '\\':
			s.escape()
			continue
		case c == '\'' || c == '"':
			if !s.quote(c) {
				return false
			}
			continue
		case c == ' ' || c == '\t':
			s.endWord()
		case c == '#' && !s.begun:
			return true
		case c == '&' && strings.HasPrefix(s.line[s.at:], "&>"):
			s.endWord()
		case c == '<' || c == '>':
			s.redirect()
			continue
		case c == '(':
			s.open = append(s.open, s.begun && strings.HasSuffix(s.word.text, "$"))
			s.endCommand()
		case c == ')':
			s.endCommand()
			s.closeBracket()
		case strings.IndexByte(";&|", c) >= 0:
			s.endCommand()
		default:
			s.add(c)
			s.word.expands = s.word.expands || strings.IndexByte("$`*?[{}~!", c) >= 0
		}
		s.at++
	}
	return true
}

// closeBracket handles a closing bracket in the command. If the bracket ends a command
// substitution, closeBracket begins a word whose text is unknown.
func (s *splitter) closeBracket() {
	last := len(s.open) - 1
	if last < 0 {
		return
	}
	if s.open[last] {
		s.begun, s.word = true, word{text: "$(…)", begin: s.at, end: s.at + 1, expands: true}
	}
	s.open = s.open[:last]
}

// add appends a character to the present word of the command.
func (s *splitter) add(c byte) {
	if !s.begun {
		s.begun, s.word = true, word{begin: s.at, redirected: s.redirected}
	}
	s.word.text += string([]byte{c})
	s.word.end = s.at + 1
}

// escape reads a backslash and the following character of the command.
func (s *splitter) escape() {
	if s.at+1 >= len(s.line) {
		s.at++
		return
	}
	if !s.begun {
		s.begun, s.word = true, word{begin: s.at, redirected: s.redirected}
	}
	s.at++
	s.add(s.line[s.at])
	s.at++
	s.quoted = true
}

// quote reads the text between two quotes in the command, and returns false if the second quote is
// missing.
func (s *splitter) quote(mark byte) bool {
	if !s.begun {
		s.begun, s.word = true, word{begin: s.at, redirected: s.redirected}
	}
	s.quoted = true
	for s.at++; s.at < len(s.line); s.at++ {
		c := s.line[s.at]
		switch {
		case c == mark:
			s.at++
			s.word.end = s.at
			return true
		case c == '%':
			return false // cron ends the command at the percent sign, within the quotes
		case c == '\\' && s.at+1 < len(s.line) && s.line[s.at+1] == '%':
			s.at++ // cron removes the backslash even within quotes
		case mark == '"' && c == '\\' && s.at+1 < len(s.line) && strings.IndexByte("$`\"\\", s.line[s.at+1]) >= 0:
			s.at++
		case mark == '"' && (c == '$' || c == '`'):
			s.word.expands = true
		}
		s.add(s.line[s.at])
	}
	return false
}

// redirect reads an operator of a redirection, such as 2>&1. The next word may be the target of the
// redirection.
func (s *splitter) redirect() {
	if s.begun && !s.quoted && strings.Trim(s.word.text, "0123456789") == "" {
		s.begun = false // the number of a file descriptor
	}
	s.endWord()
	for s.at < len(s.line) && strings.IndexByte("<>&|", s.line[s.at]) >= 0 {
		s.at++
	}
	s.skip, s.redirected = true, true
}

func (s *splitter) endWord() {
	switch {
	case !s.begun:
	case s.skip:
		s.skip = false
	default:
		s.current = append(s.current, s.word)
	}
	s.begun, s.quoted = false, false
}

func (s *splitter) endCommand() {
	s.endWord()
	if len(s.current) > 0 {
		s.commands = append(s.commands, s.current)
	}
	s.current, s.skip, s.redirected = nil, false, false
}
