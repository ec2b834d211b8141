package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd is `snapwatch completion`.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help returns the long help text of `snapwatch completion`.
func (completionCmd) Help() string {
	return `The package installs these. Without it, for bash as you use it now:

  source <(snapwatch completion bash)`
}

// Run prints the shell's completion script, made from the grammar of the command line.
func (c *completionCmd) Run(env *environment, ctx *kong.Context) error {
	return map[string]func(io.Writer, *kong.Node) error{
		"bash": writeBash, "zsh": writeZsh, "fish": writeFish,
	}[c.Shell](env.Stdout, ctx.Model.Node)
}

// commandPath returns the words with which a person types a command, without the program's name,
// such as "cron install".
func commandPath(n *kong.Node) string {
	if n.Parent == nil {
		return ""
	}
	return strings.TrimSpace(commandPath(n.Parent) + " " + n.Name)
}

// commandsOf returns a node of the grammar and all commands below it that are not hidden.
func commandsOf(n *kong.Node) []*kong.Node {
	all := []*kong.Node{n}
	for _, child := range n.Children {
		if !child.Hidden {
			all = append(all, commandsOf(child)...)
		}
	}
	return all
}

// flagsOf returns the flags of a command and of its parents.
func flagsOf(n *kong.Node) []*kong.Flag {
	var flags []*kong.Flag
	for _, group := range n.AllFlags(true) {
		flags = append(flags, group...)
	}
	slices.SortStableFunc(flags, func(a, b *kong.Flag) int { return strings.Compare(a.Name, b.Name) })
	return flags
}

// takesFile reports whether the value of a command-line flag is a path, which the shell can
// complete.
func takesFile(f *kong.Flag) bool {
	return f.PlaceHolder == "FILE" || f.PlaceHolder == "DIR"
}

func enumOf(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// wordsOf returns the words that completion offers after a command: subcommands, values of its
// positional arguments, flags.
func wordsOf(n *kong.Node) []string {
	var words []string
	for _, child := range n.Children {
		if !child.Hidden {
			words = append(words, child.Name)
		}
	}
	for _, p := range n.Positional {
		words = append(words, enumOf(p)...)
	}
	for _, f := range flagsOf(n) {
		words = append(words, "--"+f.Name)
	}
	return words
}

func writeBash(w io.Writer, root *kong.Node) error {
	var paths, values, words strings.Builder
	for _, n := range commandsOf(root) {
		path := commandPath(n)
		if path != "" {
			fmt.Fprintf(&paths, "\t\t%q) path=$try ;;\n", path)
		}
		for _, f := range flagsOf(n) {
			switch {
			case len(enumOf(f.Value)) > 0:
				fmt.Fprintf(&values, "\t%q) words=%q ;;\n", path+" --"+f.Name, strings.Join(enumOf(f.Value), " "))
			case !f.IsBool() && !f.IsCounter():
				// For a flag with a path, the shell completes the value with file names.
				fmt.Fprintf(&values, "\t%q) return ;;\n", path+" --"+f.Name)
			}
		}
		fmt.Fprintf(&words, "\t\t%q) words=%q ;;\n", path, strings.Join(wordsOf(n), " "))
	}
	_, err := fmt.Fprintf(w, `# bash completion for snapwatch, made by: snapwatch completion bash
_snapwatch() {
	local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path='' words='' word try
	# Readline takes --flag=value apart.
	[ "$cur" = = ] && cur=''
	[ "$before" = = ] && before=${COMP_WORDS[COMP_CWORD-2]}
	COMPREPLY=()
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		try="${path:+$path }$word"
		case $try in
%s		esac
	done
	case "$path $before" in
%s	*)
		case $path in
%s		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _snapwatch snapwatch
`, &paths, &values, &words)
	return err
}

// zshText returns a help text, escaped for zsh's function _arguments.
var zshText = strings.NewReplacer("'", `'\''`, "[", `\[`, "]", `\]`, ":", `\:`)

func writeZsh(w io.Writer, root *kong.Node) error {
	var b strings.Builder
	b.WriteString("#compdef snapwatch\n# zsh completion for snapwatch, made by: snapwatch completion zsh\n\n")
	nodes := commandsOf(root)
	slices.Reverse(nodes) // zsh needs a function to come before the code that calls it
	for _, n := range nodes {
		writeZshCommand(&b, n)
	}
	b.WriteString("_snapwatch \"$@\"\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func zshFunction(n *kong.Node) string {
	return strings.TrimSuffix("_snapwatch_"+strings.ReplaceAll(commandPath(n), " ", "_"), "_")
}

func writeZshCommand(b *strings.Builder, n *kong.Node) {
	fmt.Fprintf(b, "%s() {\n\tlocal line state\n\t_arguments -C \\\n", zshFunction(n))
	for _, f := range flagsOf(n) {
		value := "="
		if f.IsBool() || f.IsCounter() {
			value = ""
		}
		spec := fmt.Sprintf("--%s%s[%s]", f.Name, value, zshText.Replace(f.Help))
		switch {
		case value == "":
		case len(enumOf(f.Value)) > 0:
			spec += fmt.Sprintf(":%s:(%s)", f.Name, strings.Join(enumOf(f.Value), " "))
		case takesFile(f):
			spec += ":" + f.Name + ":_files"
		default:
			spec += ":" + f.Name + ": "
		}
		fmt.Fprintf(b, "\t\t'*%s' \\\n", spec)
	}
	var values []string
	for _, p := range n.Positional {
		values = append(values, enumOf(p)...)
	}
	children := slices.DeleteFunc(slices.Clone(n.Children), func(c *kong.Node) bool { return c.Hidden })
	switch {
	case len(children) > 0:
		b.WriteString("\t\t'1: :->command' '*::argument:->arguments'\n\tcase $state in\n\tcommand)\n\t\tlocal -a commands=(\n")
		for _, c := range children {
			fmt.Fprintf(b, "\t\t\t'%s:%s'\n", c.Name, zshText.Replace(c.Help))
		}
		b.WriteString("\t\t)\n\t\t_describe command commands ;;\n\targuments)\n\t\tcase $line[1] in\n")
		for _, c := range children {
			fmt.Fprintf(b, "\t\t%s) %s ;;\n", c.Name, zshFunction(c))
		}
		b.WriteString("\t\tesac ;;\n\tesac\n")
	case len(values) > 0:
		fmt.Fprintf(b, "\t\t'*: :(%s)'\n", strings.Join(values, " "))
	default:
		b.WriteString("\t\t'*: : '\n")
	}
	b.WriteString("}\n\n")
}

func fishText(s string) string { return strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) }

func writeFish(w io.Writer, root *kong.Node) error {
	var b strings.Builder
	b.WriteString("# fish completion for snapwatch, made by: snapwatch completion fish\ncomplete -c snapwatch -f\n")
	for _, n := range commandsOf(root) {
		condition := fishCondition(n)
		for _, child := range n.Children {
			if !child.Hidden {
				fmt.Fprintf(&b, "complete -c snapwatch -n '%s' -a %s -d '%s'\n", condition, child.Name, fishText(child.Help))
			}
		}
		for _, p := range n.Positional {
			if values := enumOf(p); len(values) > 0 {
				fmt.Fprintf(&b, "complete -c snapwatch -n '%s' -a '%s'\n", condition, strings.Join(values, " "))
			}
		}
		for _, f := range flagsOf(n) {
			fmt.Fprintf(&b, "complete -c snapwatch -n '%s' -l %s -d '%s'", condition, f.Name, fishText(f.Help))
			switch {
			case f.IsBool() || f.IsCounter():
			case len(enumOf(f.Value)) > 0:
				fmt.Fprintf(&b, " -x -a '%s'", strings.Join(enumOf(f.Value), " "))
			case takesFile(f):
				b.WriteString(" -r -F")
			default:
				b.WriteString(" -x")
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fishCondition returns a condition in fish's syntax. fish offers a command's words under this
// condition: the person has typed the command, but none of the command's subcommands.
func fishCondition(n *kong.Node) string {
	path := commandPath(n)
	if path == "" {
		return "__fish_use_subcommand"
	}
	var parts []string
	for _, word := range strings.Fields(path) {
		parts = append(parts, "__fish_seen_subcommand_from "+word)
	}
	var below []string
	for _, c := range n.Children {
		below = append(below, c.Name)
	}
	if len(below) > 0 {
		parts = append(parts, "not __fish_seen_subcommand_from "+strings.Join(below, " "))
	}
	return strings.Join(parts, "; and ")
}
