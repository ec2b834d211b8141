package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"snapwatch/internal/crontab"
	"snapwatch/internal/files"
)

// register writes a crontab line that runs this program with the arguments in words. A line that is
// already in snapwatch's own crontab keeps its schedule and all text around the command. If a
// crontab other than snapwatch's own has a line for the same job, and cron runs this line, register
// returns an error and adds no second line.
func (j cronJob) register(env *environment, words []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := env.Trusted(program); err != nil {
		return err
	}
	words = append([]string{program}, words...)
	lines, err := j.lines(env)
	if err != nil {
		return err
	}
	if text, err := os.ReadFile(env.CronFile); err == nil {
		if why := crontab.Ignored(strings.TrimSuffix(string(text), "\n")+"\n", true); why != "" {
			return fmt.Errorf("cron would ignore %s: %s; correct or remove that line first", env.CronFile, why)
		}
	}
	// register corrects the owner and the mode of snapwatch's own crontab, because cron ignores a
	// crontab with a wrong owner or mode.
	idle := func(line crontab.Entry) bool { return line.AtBoot || line.Ignored != "" && line.File != env.CronFile }
	var left []crontab.Entry
	for _, line := range lines {
		if idle(line) {
			left = append(left, line)
		}
	}
	lines = slices.DeleteFunc(lines, idle)
	line := j.schedule + " root " + crontab.Quote(words)
	switch {
	case len(lines) == 0:
		err = addToCron(env.CronFile, j.head, line)
	case len(lines) == 1 && lines[0].File == env.CronFile && lines[0].Problem == "":
		line = lines[0].With(words)
		err = rewriteCron(env.CronFile, func(n int, text *string) bool {
			if n == lines[0].Number {
				*text = line
			}
			return true
		})
	default:
		return fmt.Errorf("cron already starts %s, so no second line was added: %s; change or remove that line, or run snapwatch cron remove", j.word, linesText(lines))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "registered in %s: %s\n", env.CronFile, line)
	if len(lines) == 1 && lines[0].Line != line || len(lines) == 1 && lines[0].Ignored != "" {
		fmt.Fprintf(env.Stdout, "the line before: %s\n", linesText(lines))
	}
	if len(left) > 0 {
		fmt.Fprintf(env.Stdout, "not changed; remove that line, or it destroys snapshots by its own retention: %s\n", linesText(left))
	}
	return nil
}

// merged returns the command to register in cron. The command has the flags that the user typed,
// and those flags of the registered line that the user did not type. The command never has the
// retention of the registered line, but always the retention that the user typed.
func (j cronJob) merged(env *environment, typed regularCmd) regularCmd {
	args := []string{j.word}
	lines, _ := j.lines(env) // register reads the crontab lines again and reports an error
	own := slices.DeleteFunc(lines, func(line crontab.Entry) bool {
		return line.File != env.CronFile || line.Problem != "" || line.AtBoot
	})
	if len(own) == 1 {
		args = own[0].Args
	}
	cli, err := parse(args)
	if err != nil {
		return typed // unreachable: a crontab line that cannot be parsed has a Problem
	}
	command := j.commandOf(&cli)
	to, from := command.flags(), typed.flags()
	*to.keep, *to.node = *from.keep, cmp.Or(*from.node, *to.node)
	if *from.config != "" {
		*to.config = absolute(*from.config)
	}
	if *from.textfile != "" {
		*to.textfile = absolute(*from.textfile)
	}
	return command
}

// registerTyped registers a typed command after merging it with the registered line.
func (j cronJob) registerTyped(env *environment, typed regularCmd) error {
	command := j.merged(env, typed)
	if _, keep, err := command.settings(env); err != nil {
		return err
	} else if keep == nil {
		return errNoRetention
	}
	return j.register(env, command.words())
}

// trusted returns an error if cron must not run a program as root, because a user other than root
// could replace the program. In a directory with the sticky bit, such as /tmp, another user could
// replace the program after the directory was emptied.
func trusted(program string) error {
	const instead = "or install snapwatch where only root may write, such as /usr/local/sbin"
	if err := files.OnlyRoots(program); err != nil {
		return fmt.Errorf("another user may replace the program that cron would run as root: %w; %s", err, instead)
	}
	for dir := filepath.Dir(program); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSticky != 0 {
			return fmt.Errorf("another user may replace the program that cron would run as root: %s is writable for everybody and emptied regularly; %s", dir, instead)
		}
	}
	return nil
}
