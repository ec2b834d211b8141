package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// manualCmd is `snapwatch manual`, which writes the man page for the package.
type manualCmd struct{}

// Run prints the man page, made from the grammar of the command line.
func (manualCmd) Run(env *environment, ctx *kong.Context) error {
	return writeManual(env.Stdout, ctx.Model.Node)
}

// roff returns text, escaped for man(7): minus signs, so that a reader can copy them; backslashes;
// and lines that begin like a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n.", "\n\\&."), "\n'", "\n\\&'")
}

func writeManual(w io.Writer, root *kong.Node) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH SNAPWATCH 8 \"\" \"snapwatch %s\" \"System Manager's Manual\"\n", version)
	summary, rest, _ := strings.Cut(root.Help, "\n")
	fmt.Fprintf(&b, ".SH NAME\nsnapwatch \\- %s\n", roff(strings.TrimSuffix(strings.ToLower(summary[:1])+summary[1:], ".")))
	b.WriteString(".SH SYNOPSIS\n")
	for _, n := range commandsOf(root) {
		if n.Leaf() {
			fmt.Fprintf(&b, ".B snapwatch\n%s\n.br\n", roff(strings.TrimPrefix(n.Summary(), " ")))
		}
	}
	b.WriteString(".SH DESCRIPTION\n")
	writeManualDetail(&b, strings.Trim(rest, "\n"))
	b.WriteString(".SH COMMANDS\n")
	for _, n := range commandsOf(root) {
		if n.Parent != nil && n.Leaf() {
			writeManualCommand(&b, n)
		}
	}
	b.WriteString(manualEnd)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeManualCommand(b *strings.Builder, n *kong.Node) {
	fmt.Fprintf(b, ".SS snapwatch %s\n%s\n", roff(commandPath(n)), roff(n.Help))
	if n.Detail != "" {
		b.WriteString(".PP\n")
		writeManualDetail(b, n.Detail)
	}
	for _, p := range n.Positional {
		fmt.Fprintf(b, ".TP\n.I %s\n%s\n", roff(p.Name), roff(p.Help))
	}
	for _, f := range n.Flags {
		if f.Hidden || f.Name == "help" {
			continue
		}
		name := "--" + f.Name
		if f.Short != 0 {
			name = "-" + string(f.Short) + ", " + name
		}
		if !f.IsBool() && !f.IsCounter() {
			name += "=" + f.FormatPlaceHolder()
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(f.Help))
	}
}

// writeManualDetail writes the long help of a command into the man page. Paragraphs are filled,
// headings are lines of their own, and indented lines are printed unchanged.
func writeManualDetail(b *strings.Builder, detail string) {
	literal := false
	for line := range strings.Lines(detail) {
		line = strings.TrimRight(line, "\n")
		if indented := strings.HasPrefix(line, " "); indented != literal {
			literal = indented
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[literal])
		}
		switch {
		case line == "":
			b.WriteString(".PP\n")
		case line == strings.ToUpper(line):
			fmt.Fprintf(b, ".B %s\n.br\n", roff(line))
		case strings.HasPrefix(line, "Exit status:"):
			fmt.Fprintf(b, ".br\n%s\n", roff(line))
		default:
			b.WriteString(roff(line) + "\n")
		}
	}
	if literal {
		b.WriteString(".fi\n")
	}
}

const manualEnd = `.SH EXIT STATUS
.TP
.BR snap ", " prune ", " finalize
0: done; 1: something failed, the rest was done; 2: nothing could be done.
.TP
.B check
0: OK; 1: WARNING; 2: CRITICAL; 3: UNKNOWN, also for a usage error.
.TP
.B doctor
0: all is well; 1: something should be looked at; 2: something does not work.
.TP
.B unblock
0: nothing blocks the rollback, or the list was printed; 1: something still blocks it;
2: nothing could be done.
.TP
.BR "cron remove" ", " forget
0: done; 1: a line stays in cron, or the exporter never saw such a disk;
2: it failed.
.TP
all others
0: done; 2: it failed, and standard error says why.
.PP
A command that is ended early exits with 130 (Ctrl\-C) or 143 (SIGTERM),
status \-\-watch with 0.
.SH ENVIRONMENT
.TP
.BR XDG_CACHE_HOME ", " HOME
Below these check keeps its cache, snapwatch/newest.json, where
.B \-\-cache
names no other.
.TP
.B STATE_DIRECTORY
Where the exporter remembers the disks; systemd sets it.
.TP
.B TZ
The zone in which days, weeks and months begin for snap and prune, as for every
program; without it /etc/localtime.
.TP
.BR NO_COLOR ", " TERM
Any NO_COLOR, and TERM=dumb, print status and explain without colours.
.SH FILES
.TP
.I /etc/snapwatch/config.yaml
The configuration; every key is optional.
.TP
.I /etc/cron.d/snapwatch
Written by a run of snap at a terminal, or by cron install.
.TP
.I /etc/default/snapwatch\-exporter
ARGS, the flags of the exporter as a service.
.TP
.I /var/lib/snapwatch/last\-run.json
What the last run of snap did.
.TP
.I /var/lib/snapwatch/state.json
What the next run of snap must know: last snapshots, hooks that are owed.
.TP
.I /var/lib/snapwatch\-exporter/seen.json
The disks that were seen, so that a disk that disappears is reported missing.
.TP
.I /run/snapwatch
The locks of snap, prune and unblock.
.TP
.I /usr/share/snapwatch
Alert rules, a dashboard, a template for Zabbix, and definitions for Icinga,
Nagios and NRPE.
.TP
.I /usr/share/doc/snapwatch
The documents, docs/two\-sites.md the first of them.
.SH SEE ALSO
.BR zfs (8),
.BR syncoid (8),
.BR pvesh (1)
`
