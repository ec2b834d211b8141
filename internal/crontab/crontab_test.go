package crontab

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// search finds the lines of cron that start snapwatch snap.
var search = Search{
	Names: func(base string) bool { return strings.HasPrefix(base, "snapwatch") },
	Job: func(args []string) (string, string) {
		switch {
		case len(args) == 0 || args[0] != "snap":
			return "", ""
		case len(args) > 1 && args[1] == "wrong":
			return "snap", "wrong is not a retention"
		}
		return "snap", ""
	},
}

func TestRead(t *testing.T) {
	for _, test := range []struct{ line, command, problem string }{
		{"*/15 * * * * root /usr/bin/snapwatch snap f48", "/usr/bin/snapwatch snap f48", ""},
		{"\t-*/5\t* * * *\troot\tsnapwatch  snap f48 ", "snapwatch snap f48", ""},
		{"@hourly root snapwatch snap", "snapwatch snap", ""},
		{"5 * * * Mon root nice -n 19 /usr/bin/snapwatch snap f48 >/dev/null 2>&1", "nice -n 19 /usr/bin/snapwatch snap f48", ""},
		{"5 * * * * root LC_ALL=C flock -n /run/snapwatch.lock snapwatch snap f48 &>>/var/log/x", "flock -n /run/snapwatch.lock snapwatch snap f48", ""},
		{"5 * * * * root snapwatch snap 'a b' \"c d\" e\\ f % not the shell's", "snapwatch snap a b c d e f", ""},
		{"5 * * * * root snapwatch snap 5\\% # a remark", "snapwatch snap 5%", ""},
		{"5 * * * * root test -x /usr/bin/snapwatch && /usr/bin/snapwatch snap f48", "/usr/bin/snapwatch snap f48", ""},
		{"5 * * * * root snapwatch snap f48 | logger", "snapwatch snap f48", ""},
		{"5 * * * * root snapwatch snap wrong", "snapwatch snap wrong", "wrong is not a retention"},
		{"5 * * * * backup snapwatch snap f48", "snapwatch snap f48", "the line runs as backup, not as root"},
		{"5 * * * * root snapwatch snap $KEEP", "snapwatch snap $KEEP", "only the shell knows the value of $KEEP"},
		{"5 * * * * root snapwatch snap \"`cat /etc/keep`\"", "snapwatch snap `cat /etc/keep`", "only the shell knows"},
		{"5 * * * * root snapwatch snap >/dev/null f48", "snapwatch snap f48", "a redirection is between the program's arguments"},
		{"5 * * * * root snapwatch snap f4; snapwatch snap f5", "snapwatch snap f4", "the line starts the program more than once"},
		{"5 * * * * root sh -c 'sleep 5; snapwatch snap f4'", "snapwatch", "it is unknown what sh does with the program"},
		{"5 * * * * root /opt/mine snapwatch snap f4", "/opt/mine snapwatch snap f4", "it is unknown what /opt/mine does with the program"},
		{"5 * * * * root $SNAP snap f48", "$SNAP snap f48", "only the shell knows the value of $SNAP"},
		{"5 * * * * root nice ${SNAP:-x} snap f48 >/dev/null", "${SNAP:-x} snap f48", "only the shell knows the value of ${SNAP:-x}"},
		{"5 * * * * root \"$SNAP\" snap", "$SNAP snap", "only the shell knows the value of $SNAP"},
		{"5 * * * * root $(command -v snapwatch) snap f48", "$(…) snap f48", "only the shell knows the value of $(…)"},
		{"5 * * * * root (cd /; snapwatch snap f48)", "snapwatch snap f48", ""},
		{"5 * * * * root `which snapwatch` snap f48", "snapwatch` snap f48", "only the shell knows the value of snapwatch`"},
		{"5 * * * * root $RUN f48", "snapwatch snap f48", "only the shell knows the value of $RUN"},
		{"5 * * * * root snapwatch snap 'f4", "", ""}, // the last quote is not closed
	} {
		entries := search.ReadSystem("cron.d/x", "PATH=\"/opt/bin:/bin\"\nRUN='snapwatch snap'\n"+test.line+"\n")
		if test.command == "" {
			require.LessOrEqual(t, len(entries), 1, test.line)
			if len(entries) == 1 {
				assert.NotEmpty(t, entries[0].Problem, test.line)
			}
			continue
		}
		require.NotEmpty(t, entries, test.line)
		e := entries[0]
		assert.Equal(t, test.command, strings.Join(e.Command(), " "), test.line)
		if test.problem == "" {
			assert.Empty(t, e.Problem, test.line)
			assert.Equal(t, "snap", e.Job, test.line)
		} else {
			assert.Contains(t, e.Problem, test.problem, test.line)
		}
		assert.Equal(t, Entry{File: "cron.d/x", Number: 2, Line: test.line, Path: "/opt/bin:/bin"},
			Entry{File: e.File, Number: e.Number, Line: e.Line, Path: e.Path})
	}
}

// A line of cron with @reboot starts the program at boot only, so the line does not count as a
// regular run.
func TestAtBoot(t *testing.T) {
	for line, want := range map[string]bool{"@reboot": true, "@Reboot": true, "@hourly": false, "5 * * * *": false} {
		entries := search.ReadSystem("cron.d/x", line+" root snapwatch snap f4\n")
		require.Len(t, entries, 1, line)
		assert.Equal(t, want, entries[0].AtBoot, line)
	}
}

func TestReadPassesOverWhatStartsSomethingElse(t *testing.T) {
	for _, line := range []string{
		"", "# */15 * * * * root snapwatch snap f48", "MAILTO=snapwatch snap", "snapwatch snap f48", "5 * * * * root", "5 * * *",
		"5 * * * * root snapwatch check", "5 * * * * root rsync -a /etc/snapwatch/ backup:snap", "5 * * * * root /usr/bin/backup snap f9",
		"5 * * * * root test -x /usr/bin/snapwatch && echo snap", "5 * * * * root echo 'snapwatch is here'",
		"5 * * * * root $MINE check", "5 * * * * root tar cf $TARGET /etc", "SNAP=snapwatch\n5 * * * * root $SNAP check", "5 * * * * root a$(b) check",
	} {
		assert.Empty(t, search.ReadSystem("x", line), line)
	}
	assert.Equal(t, defaultPath, search.ReadRoots("x", "5 * * * * snapwatch snap")[0].Path, "root's own crontab names no user")
}

// With replaces the program and its arguments in a line of cron, and changes neither the times, nor
// the wrapper, nor the redirections of the line.
func TestWith(t *testing.T) {
	for line, want := range map[string]string{
		"*/5 * * * * root nice -n 19 snapwatch snap f48 h24 >/dev/null": "*/5 * * * * root nice -n 19 /new snap f4 >/dev/null",
		"@daily root snapwatch snap 'f4'|logger":                        "@daily root /new snap f4|logger",
		"5 * * * * root snapwatch snap f4 2>&1":                         "5 * * * * root /new snap f4 2>&1",
	} {
		entries := search.ReadSystem("x", line)
		require.Len(t, entries, 1, line)
		assert.Equal(t, want, entries[0].With([]string{"/new", "snap", "f4"}))
	}
}

// Read returns the same words that Quote has written for cron.
func TestQuoteIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := append([]string{"/usr/bin/snapwatch", "snap"}, rapid.SliceOf(rapid.StringMatching(`[ -~äß]*`)).Draw(t, "words")...)
		any := Search{Names: search.Names, Job: func(args []string) (string, string) { return args[0], "" }}
		entries := any.ReadSystem("x", "*/15 * * * * root "+Quote(words))
		require.Len(t, entries, 1)
		require.Empty(t, entries[0].Problem)
		require.Equal(t, words, entries[0].Command())
		require.Equal(t, entries[0].Line, entries[0].With(words))
	})
}

// For any crontab, With changes only the program of a line and its arguments.
func TestAnyLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		line := "5 * * * * root " + rapid.StringMatching(`([ -~]{0,8}(snapwatch snap)?[ "';&|<>\\%0-9]{0,4}){1,4}`).Draw(t, "line")
		for _, e := range search.ReadSystem("x", line) {
			require.True(t, e.Problem != "" || strings.HasPrefix(line, e.Line[:e.begin]) && e.begin < e.end && e.end <= len(line), "%+v", e)
			if e.Problem == "" {
				again := search.ReadSystem("x", e.With(e.Command()[len(e.Wrapper):]))
				require.NotEmpty(t, again)
				require.Equal(t, e.Command(), again[0].Command())
			}
		}
	})
}

// FuzzRead checks that reading any text as a crontab ends, and that the positions in an entry are
// within its line.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{"5 * * * * root snapwatch snap f4 >x 2>&1 | y", "PATH=/bin\n@daily root nice 'snapwatch' \"snap\"", "* * * * * root sh -c 'snapwatch snap %"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, e := range search.ReadSystem("x", text) {
			if e.Problem == "" {
				require.True(t, 0 < e.begin && e.begin < e.end && e.end <= len(e.Line), "%+v", e)
				require.Equal(t, "snap", e.Job)
			}
		}
	})
}
