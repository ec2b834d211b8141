package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// manualCmd is `snapwatch manual`, which the package is made with.
type manualCmd struct{}

// Run prints the man page, made from the grammar.
func (manualCmd) Run(env *environment, ctx *kong.Context) error {
	return writeManual(env.Stdout, ctx.Model.Node)
}

// roff escapes text for man(7): a minus that may be typed, a backslash, and a line that
// begins like a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\n.", "\n\\&."), "\n'", "\n\\&'")
}

func writeManual(w io.Writer, root *kong.Node) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH SNAPWATCH 1 \"\" \"snapwatch %s\" \"User Commands\"\n", version)
	summary, rest, _ := strings.Cut(root.Help, "\n")
	fmt.Fprintf(&b, ".SH NAME\nsnapwatch \\- %s\n", roff(strings.TrimSuffix(strings.ToLower(summary[:1])+summary[1:], ".")))
	b.WriteString(".SH SYNOPSIS\n")
	for _, n := range commandsOf(root) {
		if n.Leaf() {
			fmt.Fprintf(&b, ".B snapwatch\n%s\n.br\n", roff(strings.TrimPrefix(n.Summary(), " ")))
		}
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n.nf\n%s\n.fi\n", roff(strings.TrimSpace(rest)))
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
		fmt.Fprintf(b, ".PP\n.nf\n%s\n.fi\n", roff(n.Detail))
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

const manualEnd = `.SH FILES
.TP
.I /etc/snapwatch/config.yaml
The configuration; every key is optional.
.TP
.I /etc/cron.d/snapwatch
Written by a run of snap at a terminal, or by cron install.
.TP
.I /var/lib/snapwatch/last\-run.json
What the last run of snap did.
.TP
.I /var/lib/snapwatch\-exporter/seen.json
The disks that were seen, so that one that is gone is missing.
.TP
.I /usr/share/snapwatch
Alert rules, dashboards, and definitions for Icinga, Nagios and NRPE.
.SH SEE ALSO
.BR zfs (8),
.BR syncoid (8),
.BR pvesh (1)
`
