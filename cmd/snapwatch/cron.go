package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"snapwatch/config"
)

// cronCmd is `snapwatch cron`.
type cronCmd struct {
	Install cronInstallCmd `cmd:"" help:"Run snap every 15 minutes with these words."`
	Remove  cronRemoveCmd  `cmd:"" help:"Stop running snap from cron."`
	Status  cronStatusCmd  `cmd:"" help:"Show the registered line."`
}

type cronInstallCmd struct {
	Keep   []string `arg:"" optional:"" name:"retention" help:"What to keep, as for snap. Default: keep in the configuration."`
	Config string   `placeholder:"FILE" help:"Read this configuration."`
}

// Run implements the command.
func (c *cronInstallCmd) Run(env *environment) error {
	snap := snapCmd{Keep: c.Keep, Config: c.Config}
	if len(c.Keep) > 0 {
		if _, err := config.ParseKeep(c.Keep); err != nil {
			return err
		}
	} else if cfg, err := env.loadConfig(c.Config); err != nil {
		return err
	} else if cfg.Keep == nil {
		return errors.New("no retention given, and no keep in the configuration")
	}
	return register(env, snap.words())
}

type cronRemoveCmd struct{}

// Run implements the command.
func (cronRemoveCmd) Run(env *environment) error {
	lines, err := cronLines(env.CronFile)
	if err != nil {
		return err
	}
	rest := withoutSnap(lines)
	if len(rest) == len(lines) {
		fmt.Fprintf(env.Stdout, "snap is not registered in %s\n", env.CronFile)
		return nil
	}
	if err := writeCron(env.CronFile, rest); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "removed from %s\n", env.CronFile)
	return nil
}

type cronStatusCmd struct{}

// Run implements the command.
func (cronStatusCmd) Run(env *environment) error {
	lines, err := cronLines(env.CronFile)
	if err != nil {
		return err
	}
	found := false
	for _, line := range lines {
		if isSnapLine(line) {
			found = true
			fmt.Fprintf(env.Stdout, "%s: %s\n", env.CronFile, line)
		}
	}
	if timerEnabled(env) {
		found = true
		fmt.Fprintln(env.Stdout, "snapwatch.timer is enabled (systemctl list-timers snapwatch.timer)")
	}
	if !found {
		fmt.Fprintf(env.Stdout, "snap is not registered: run snapwatch snap at a terminal, or snapwatch cron install\n")
	}
	pointOutOld(env)
	return nil
}

const (
	cronHead     = "# Snapshots of running guests. The line with \"snap\" is written by snapwatch; others are left alone.\n"
	cronSchedule = "*/15 * * * *"
)

// snapLine finds the program in a line of cron that runs one with the word snap, as
// it is written by quote.
var snapLine = regexp.MustCompile(`^[^#]*?\s(/\S*|'/[^']*')\s+snap(\s|$)`)

// isSnapLine tells whether this program wrote the line, with whatever words: another
// program may have a word snap, too.
func isSnapLine(line string) bool {
	m := snapLine.FindStringSubmatch(line)
	return m != nil && strings.HasPrefix(filepath.Base(strings.Trim(m[1], "'")), "snapwatch")
}

// register makes cron run this very program with the words, every 15 minutes. Of
// what stands in the file it replaces only its own line.
func register(env *environment, words []string) error {
	if timerEnabled(env) {
		fmt.Fprintln(env.Stdout, "not registered in cron: snapwatch.timer is enabled")
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	line := cronSchedule + " root " + quote(append([]string{program}, words...))
	lines, err := cronLines(env.CronFile)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		lines = strings.Split(strings.TrimSuffix(cronHead, "\n"), "\n")
	}
	if err := writeCron(env.CronFile, append(withoutSnap(lines), line)); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "registered in %s: %s\n", env.CronFile, line)
	pointOutOld(env)
	return nil
}

func withoutSnap(lines []string) []string {
	var rest []string
	for _, line := range lines {
		if !isSnapLine(line) {
			rest = append(rest, line)
		}
	}
	return rest
}

func cronLines(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || len(text) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"), nil
}

// writeCron replaces the file at once; cron reads only files that are root's and
// writable by nobody else.
func writeCron(path string, lines []string) error {
	return renameio.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:=@+-]+$`)

// quote writes words for the shell that cron starts; a percent sign means a newline
// to cron itself (crontab(5)).
func quote(words []string) string {
	var quoted []string
	for _, w := range words {
		if !plainWord.MatchString(w) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		quoted = append(quoted, strings.ReplaceAll(w, "%", `\%`))
	}
	return strings.Join(quoted, " ")
}

// registered tells whether snap runs on this host by itself.
func registered(env *environment) bool {
	lines, err := cronLines(env.CronFile)
	return timerEnabled(env) || err == nil && slices.ContainsFunc(lines, isSnapLine)
}

func timerEnabled(env *environment) bool {
	_, err := os.Lstat(env.TimerLink)
	return err == nil
}

// pointOutOld tells of a line of the program this one replaces. A person's crontab
// is never edited.
func pointOutOld(env *environment) {
	lines, err := cronLines(env.RootCrontab)
	if err != nil {
		return
	}
	for _, line := range lines {
		if strings.Contains(line, "pve-zfs-snap") && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			fmt.Fprintf(env.Stdout, "root's crontab still runs pve-zfs-snap; remove that line with crontab -e: %s\n", line)
		}
	}
}

// absolute is the path as it is found from any directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
