package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"snapwatch/internal/crontab"
)

// regularRun is how snap runs on this host by itself.
type regularRun struct {
	snapCmd
	// By says what starts it. Missing is true where that does not find the program.
	By      string
	Missing bool
}

// regularRuns returns how snap runs on this host by itself, and the lines of cron that may
// run it, too, and are not understood.
func regularRuns(env *environment) (runs []regularRun, unclear []crontab.Entry) {
	if timerEnabled(env) {
		if cfg, err := env.loadConfig(""); err == nil && cfg.Keep != nil {
			runs = append(runs, regularRun{By: "snapwatch.timer"})
		}
	}
	lines, _ := snapJob.lines(env) // only root may run snap, and reads all
	for _, line := range lines {
		cli, err := parse(line.Args)
		if line.Problem != "" || err != nil {
			unclear = append(unclear, line)
			continue
		}
		_, err = programPath(line)
		runs = append(runs, regularRun{cli.Snap, shown([]crontab.Entry{line}), err != nil})
	}
	return runs, unclear
}

// programPath returns where cron finds a line's program.
func programPath(line crontab.Entry) (string, error) {
	if strings.Contains(line.Program, "/") {
		_, err := os.Stat(line.Program)
		return line.Program, err
	}
	for _, dir := range filepath.SplitList(line.Path) {
		path := filepath.Join(dir, line.Program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return line.Program, fmt.Errorf("it is not in cron's PATH (%s)", line.Path)
}

// asRegistered takes over the words of the regular run: who types none means those.
func (c *snapCmd) asRegistered(env *environment, r regularRun) {
	c.Keep, c.Config = r.Keep, r.Config
	c.Textfile, c.Node = cmp.Or(c.Textfile, r.Textfile), cmp.Or(c.Node, r.Node)
	if env.Terminal && c.Format == "text" {
		fmt.Fprintf(env.Stdout, "as cron does: %s\n", strings.Join(r.words(), " "))
	}
}

// agree makes a run that a person types go by the words that the regular runs have: what
// those keep must not be destroyed by others that were typed once. It refuses where it is
// not known what they keep.
func (c *snapCmd) agree(env *environment, runs []regularRun, unclear []crontab.Entry) error {
	for _, r := range runs {
		if c.same(env, r) {
			return nil
		}
	}
	const once = "--no-cron runs once by the words typed"
	switch {
	case len(unclear) > 0:
		return fmt.Errorf("what cron's runs keep is not known, so nothing was done; %s: %s", once, shown(unclear))
	case len(runs) == 0:
		return nil
	case len(runs) > 1:
		return fmt.Errorf("snap runs here by several words, and these are others, so nothing was done; %s: %s", once, by(runs))
	}
	r := runs[0]
	_, keep, err := r.settings(env)
	if err == nil && keep == nil {
		err = errNoRetention
	}
	if err != nil {
		return fmt.Errorf("what cron's runs keep is not known, so nothing was done; %s, and snapwatch cron install registers others: %w (%s)", once, err, r.By)
	}
	fmt.Fprintf(env.Stderr, "snapwatch: other words are registered, and this run goes by those: %s (%s)\n", strings.Join(r.words(), " "), r.By)
	if !c.Register {
		typed := crontab.Quote(c.words())
		fmt.Fprintf(env.Stderr, "snapwatch: what yours would do: snapwatch %[1]s --dry-run; once: snapwatch %[1]s --no-cron; from now on: snapwatch %[1]s --register\n", typed)
	}
	c.Keep, c.Config, c.Node = r.Keep, r.Config, r.Node
	return nil
}

func by(runs []regularRun) string {
	var all []string
	for _, r := range runs {
		all = append(all, r.By)
	}
	return strings.Join(all, "; ")
}

// same reports whether the words mean what the regular run's do.
func (c *snapCmd) same(env *environment, r regularRun) bool {
	_, typed, err := c.settings(env)
	_, registered, registeredErr := r.settings(env)
	config := func(named string) string { return absolute(cmp.Or(named, env.ConfigPath)) }
	return err == nil && registeredErr == nil && typed.String() == registered.String() && config(c.Config) == config(r.Config) &&
		(c.Node == "" || c.Node == r.Node) && (c.Textfile == "" || absolute(c.Textfile) == r.Textfile)
}

// registers registers the words in cron, where a person wants that: a first run at a
// terminal, or one that is told to.
func (c *snapCmd) registers(env *environment, already bool) error {
	switch {
	case timerEnabled(env) && c.Register:
		return errors.New("snapwatch.timer is enabled: write keep: into the configuration, or systemctl disable --now snapwatch.timer first")
	case c.Register:
		if err := snapJob.register(env, c.words()); err != nil {
			return err
		}
	case !env.Terminal || c.NoCron:
		return nil
	case timerEnabled(env):
		fmt.Fprintln(env.Stdout, "not registered in cron: snapwatch.timer is enabled")
		pointOutTwice(env)
	case !already:
		if err := snapJob.register(env, c.words()); err != nil {
			return err
		}
	}
	pointOutOld(env)
	return nil
}
