// Command mutants breaks the planner, the verdicts and the alert rules on purpose, one line at a
// time, in a copy of the tree, and runs the tests: for each break, at least one test must fail. The
// command fails if all tests pass on the broken code, or if the code no longer has a text that a
// break replaces. Tests of breaks in channel programs need ZFS: -lab DIR writes the programs with
// these breaks into DIR, for the lab's machine.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// mutant is one break of a file: the new text replaces the old text, which occurs once in the file.
type mutant struct {
	file, old, new string
	// what describes the mutant's wrong behaviour in words.
	what string
}

// suite has the tests for the mutants of the directory dir, in the order in which the tests run.
// For each of these mutants, at least one test of the suite must fail.
type suite struct {
	dir   string
	tests [][]string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run runs the tests on each mutant whose description matches args, or on every mutant if args is
// empty.
func run(args []string) error {
	if len(args) == 2 && args[0] == "-lab" {
		return forLab(args[1])
	}
	only := regexp.MustCompile(strings.Join(args, " "))
	tree, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tree) }()
	if err := copyTree(tree); err != nil {
		return err
	}
	var tried []mutant
	for _, m := range mutants {
		if only.MatchString(m.what) {
			tried = append(tried, m)
		}
	}
	if err := sound(tree, tried); err != nil {
		return err
	}
	var survived, stale int
	for _, m := range tried {
		said, err := try(tree, m)
		if err != nil {
			stale++
			said = "DOES NOT APPLY: " + err.Error()
		} else if said == "" {
			survived++
			said = "SURVIVED"
		}
		fmt.Printf("%-24s %-62s %s\n", m.file, m.what, said)
	}
	fmt.Printf("%d mutants, %d caught, %d survived, %d do not apply\n", len(tried), len(tried)-survived-stale, survived, stale)
	if survived+stale > 0 {
		return fmt.Errorf("%d survived, %d do not apply", survived, stale)
	}
	return nil
}

// copyTree copies the files of the repository that git tracks.
func copyTree(to string) error {
	names, err := exec.Command("git", "ls-files").Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.Lines(string(names)) {
		name = strings.TrimSpace(name)
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), text, info.Mode()); err != nil {
			return err
		}
	}
	return nil
}

// sound checks that the tests pass without any mutant.
func sound(tree string, tried []mutant) error {
	seen := map[string]bool{}
	for _, m := range tried {
		for _, test := range suiteOf(m) {
			if line := strings.Join(test, " "); !seen[line] {
				seen[line] = true
				if out, ok := passes(tree, test); !ok {
					return fmt.Errorf("go test %s fails without any mutant:\n%s", line, out)
				}
			}
		}
	}
	return nil
}

func suiteOf(m mutant) [][]string {
	for _, s := range suites {
		if strings.HasPrefix(m.file, s.dir) {
			return s.tests
		}
	}
	panic("no tests for " + m.file)
}

var failed = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)

// try runs the tests on a mutant and returns the name of the test that failed, "" if no test
// failed.
func try(tree string, m mutant) (caught string, err error) {
	mend, err := m.apply(tree)
	if err != nil {
		return "", err
	}
	defer mend()
	for _, test := range suiteOf(m) {
		out, ok := passes(tree, test)
		if strings.Contains(out, "[build failed]") {
			return "", fmt.Errorf("it does not compile:\n%s", out)
		}
		if !ok {
			all := failed.FindAllStringSubmatch(out, -1)
			if len(all) == 0 {
				return "caught (" + test[0] + ")", nil
			}
			return "caught by " + all[len(all)-1][1], nil
		}
	}
	return "", nil
}

// apply writes the mutant's new text into the tree; the returned function mend restores the old
// text.
func (m mutant) apply(tree string) (mend func(), err error) {
	path := filepath.Join(tree, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return nil, fmt.Errorf("the old text occurs %d times", n)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o644); err != nil {
		return nil, err
	}
	return func() { _ = os.WriteFile(path, text, 0o644) }, nil
}

func passes(tree string, test []string) (out string, ok bool) {
	cmd := exec.Command("go", append([]string{"test", "-count=1", "-failfast", "-vet=off"}, test...)...)
	cmd.Dir = tree
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	err := cmd.Run()
	return both.String(), err == nil
}
