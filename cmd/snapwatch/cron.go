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

	"snapwatch/config"
	"snapwatch/internal/files"
)

// cronCmd is `snapwatch cron`.
type cronCmd struct {
	Install cronInstallCmd `cmd:"" help:"Run snap every 15 minutes with these words, or prune every hour."`
	Remove  cronRemoveCmd  `cmd:"" help:"Stop running snap, or prune, from cron."`
	Status  cronStatusCmd  `cmd:"" help:"Show the registered lines."`
}

type cronInstallCmd struct {
	Keep   []string `arg:"" optional:"" name:"retention" help:"What to keep, as for snap. Default: keep in the configuration."`
	Config string   `placeholder:"FILE" help:"Read this configuration."`
	Prune  bool     `help:"Register prune, on a host with copies, instead of snap."`
}

// Run implements the command.
func (c *cronInstallCmd) Run(env *environment) error {
	if c.Prune {
		prune := pruneCmd{Keep: c.Keep, Config: c.Config}
		if _, _, err := prune.settings(env); err != nil {
			return err
		}
		return pruneJob.register(env, prune.words())
	}
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
	if timerEnabled(env) {
		return errors.New("snapwatch.timer is enabled, and one of the two is enough: systemctl disable --now snapwatch.timer first")
	}
	return register(env, snap.words())
}

type cronRemoveCmd struct {
	Prune bool `help:"Remove prune instead of snap."`
}

// Run implements the command.
func (c cronRemoveCmd) Run(env *environment) error {
	job := snapJob
	if c.Prune {
		job = pruneJob
	}
	lines, err := cronLines(env.CronFile)
	if err != nil {
		return err
	}
	rest := job.without(lines)
	if len(rest) == len(lines) {
		fmt.Fprintf(env.Stdout, "%s is not registered in %s\n", job.word, env.CronFile)
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
		if snapJob.wrote(line) || pruneJob.wrote(line) {
			found = found || snapJob.wrote(line)
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

// cronJob is a line that this program writes for cron.
type cronJob struct{ word, head, schedule string }

var (
	snapJob = cronJob{
		"snap", "# Snapshots of running guests. The line with \"snap\" is written by snapwatch; others are left alone.", "*/15 * * * *",
	}
	pruneJob = cronJob{
		"prune", "# Rotation of copies. The line with \"prune\" is written by snapwatch; others are left alone.", "7 * * * *",
	}
)

// programLine finds the program in a line of cron that runs one with the word snap or
// prune, as it is written by quote.
var programLine = regexp.MustCompile(`^[^#]*?\s(/\S*|'/[^']*')\s+(snap|prune)(\s|$)`)

// wrote reports whether this program wrote the line for the job, with whatever words:
// another program may have a word snap, too.
func (j cronJob) wrote(line string) bool {
	m := programLine.FindStringSubmatch(line)
	return m != nil && m[2] == j.word && strings.HasPrefix(filepath.Base(strings.Trim(m[1], "'")), "snapwatch")
}

// register makes cron run snap by this very program with the words.
func register(env *environment, words []string) error {
	if timerEnabled(env) {
		fmt.Fprintln(env.Stdout, "not registered in cron: snapwatch.timer is enabled")
		return nil
	}
	if err := snapJob.register(env, words); err != nil {
		return err
	}
	pointOutOld(env)
	return nil
}

// register makes cron run this very program with the words. Of what stands in the file
// it replaces only the job's own line.
func (j cronJob) register(env *environment, words []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := env.Trusted(program); err != nil {
		return err
	}
	line := j.schedule + " root " + quote(append([]string{program}, words...))
	lines, err := cronLines(env.CronFile)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		lines = []string{j.head}
	}
	if err := writeCron(env.CronFile, append(j.without(lines), line)); err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "registered in %s: %s\n", env.CronFile, line)
	return nil
}

// trusted returns why cron must not run a program as root: somebody else could put another
// one in its place, now or when a directory for everybody was emptied.
func trusted(program string) error {
	const instead = "or install snapwatch where only root may write, such as /usr/local/sbin"
	if err := files.OnlyRoots(program); err != nil {
		return fmt.Errorf("cron would run as root what another may replace: %w; %s", err, instead)
	}
	for dir := filepath.Dir(program); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSticky != 0 {
			return fmt.Errorf("cron would run as root what another may replace: %s is for everybody, and emptied now and then; %s", dir, instead)
		}
	}
	return nil
}

func (j cronJob) without(lines []string) []string {
	var rest []string
	for _, line := range lines {
		if !j.wrote(line) {
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
	return files.Replace(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
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

// registered reports whether snap runs on this host by itself.
func registered(env *environment) bool { return timerEnabled(env) || snapJob.registered(env) }

func (j cronJob) registered(env *environment) bool {
	lines, err := cronLines(env.CronFile)
	return err == nil && slices.ContainsFunc(lines, j.wrote)
}

func timerEnabled(env *environment) bool {
	_, err := os.Lstat(env.TimerLink)
	return err == nil
}

// pointOutOld tells of a line of the program this one replaces. A person's crontab
// is never edited.
func pointOutOld(env *environment) {
	if line := oldCronLine(env); line != "" {
		fmt.Fprintf(env.Stdout, "root's crontab still runs pve-zfs-snap; remove that line with crontab -e: %s\n", line)
	}
}

// oldCronLine is the line of root's crontab that runs pve-zfs-snap, "" for none.
func oldCronLine(env *environment) string {
	lines, err := cronLines(env.RootCrontab)
	if err != nil {
		return ""
	}
	for _, line := range lines {
		if strings.Contains(line, "pve-zfs-snap") && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			return line
		}
	}
	return ""
}

// absolute is the path as it is found from any directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
