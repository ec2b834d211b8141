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

// register makes cron run this very program with the words. Its own line keeps its times
// and what stands around the words; beside a line of somewhere else none is added, unless
// cron never runs that one.
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
	// What is wrong with the file itself is mended when it is written.
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
		return fmt.Errorf("cron starts %s already, and nothing is added beside it: %s; change or remove it there, or snapwatch cron remove", j.word, shown(lines))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "registered in %s: %s\n", env.CronFile, line)
	if len(lines) == 1 && lines[0].Line != line || len(lines) == 1 && lines[0].Ignored != "" {
		fmt.Fprintf(env.Stdout, "it was: %s\n", shown(lines))
	}
	if len(left) > 0 {
		fmt.Fprintf(env.Stdout, "left alone; remove it there, or it destroys by its own words: %s\n", shown(left))
	}
	return nil
}

// merged returns the command to register: what is typed, and what the registered line says
// beside the retention, unless that is typed, too.
func (j cronJob) merged(env *environment, typed regularCmd) regularCmd {
	args := []string{j.word}
	lines, _ := j.lines(env) // what cannot be read is not registered either
	own := slices.DeleteFunc(lines, func(line crontab.Entry) bool {
		return line.File != env.CronFile || line.Problem != "" || line.AtBoot
	})
	if len(own) == 1 {
		args = own[0].Args
	}
	cli, err := parse(args)
	if err != nil {
		return typed // such a line has a problem
	}
	command := j.of(&cli)
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

// registerTyped is register for a command that was typed.
func (j cronJob) registerTyped(env *environment, typed regularCmd) error {
	command := j.merged(env, typed)
	if _, keep, err := command.settings(env); err != nil {
		return err
	} else if keep == nil {
		return errNoRetention
	}
	return j.register(env, command.words())
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
