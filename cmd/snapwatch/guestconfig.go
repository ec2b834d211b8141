package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"snapwatch/checker/scan"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// guestConfigCmd is `snapwatch guest-config`.
type guestConfigCmd struct {
	VMID int    `arg:"" name:"vmid" help:"The guest."`
	At   string `placeholder:"SNAPSHOT" help:"As it was at this snapshot: its name, with or without the dataset. Default: the newest that is known."`

	Output string `placeholder:"FILE" help:"Write it there, for its owner alone to read, and only where there is one. FILE must not exist."`

	Config  string  `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
	Timeout seconds `short:"t" default:"5m" placeholder:"TIME" help:"Wait for zfs no longer than this (default ${default})."`
}

// Help implements kong's HelpProvider.
func (guestConfigCmd) Help() string {
	return `With capture_config: true, snap keeps each guest's configuration with its snapshots, without
passwords and keys. This prints it, also where only copies of the disks are. Standard error says which
snapshot it is from. It needs no root.
A replication carries it only with properties: zfs send -p or -R, syncoid --sendoptions=p.
Exit status: 0 printed; 2 there is none.`
}

// Run implements the command.
func (c *guestConfigCmd) Run(env *environment) error {
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		return err
	}
	imported, err := scan.FindPools(env.Kstat)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.Timeout))
	defer cancel()
	var kept []zfs.KeptConfig
	disks := 0
	targets := scan.NewTargets(cfg, imported, scan.Inventory{})
	for _, pool := range targets.Pools() {
		of, err := c.disks(ctx, env, pool, targets[pool])
		if err != nil {
			fmt.Fprintf(env.Stderr, "snapwatch: pool %s: %v\n", pool, err)
		}
		for _, disk := range of {
			disks++
			list, err := zfs.Reader{}.Configs(ctx, disk)
			if err != nil {
				fmt.Fprintf(env.Stderr, "snapwatch: %s: %v\n", disk, err)
			}
			kept = append(kept, list...)
		}
	}
	if disks == 0 {
		return fmt.Errorf("no disk of guest %d is here", c.VMID)
	}
	return c.print(env, kept)
}

// disks are the guest's disks of one pool.
func (c *guestConfigCmd) disks(ctx context.Context, env *environment, pool string, roots []string) ([]string, error) {
	if err := zfs.CheckPool(env.Kstat, pool); err != nil || len(roots) == 0 {
		return nil, err
	}
	heads, err := zfs.Reader{}.DescendantsUnlabelled(ctx, roots...)
	var names []string
	for _, h := range heads {
		if vmid, _, ok := zfs.ParseDiskName(zfs.Base(h.Name)); ok && vmid == c.VMID {
			names = append(names, h.Name)
		}
	}
	return names, err
}

func (c *guestConfigCmd) print(env *environment, kept []zfs.KeptConfig) error {
	at, err := c.time(kept)
	if err != nil {
		return err
	}
	found, err := chooseConfig(kept, at, func(s zfs.KeptConfig, err error) {
		fmt.Fprintf(env.Stderr, "snapwatch: %s: not used: %v\n", s.FullName(), err)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "snapwatch: from %s of %s%s\n", found.FullName(), found.Creation.Local().Format(time.DateTime), found.caution(at))
	if c.Output != "" {
		return writeNew(c.Output, found.Text)
	}
	_, err = fmt.Fprint(env.Stdout, found.Text)
	return err
}

// writeNew writes a file that is not there yet, in place: in /etc/pve modes cannot be changed.
func writeNew(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already, and is not written over: move it away first", path)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// time is when the snapshot was made that is asked for, zero for the newest.
func (c *guestConfigCmd) time(kept []zfs.KeptConfig) (time.Time, error) {
	if c.At == "" {
		return time.Time{}, nil
	}
	for _, k := range kept {
		if k.FullName() == c.At || k.Name == strings.TrimPrefix(c.At, "@") {
			return k.Creation, nil
		}
	}
	return time.Time{}, fmt.Errorf("no disk of guest %d here has a snapshot %s", c.VMID, c.At)
}

// chosenConfig is a configuration and the snapshot that keeps it.
type chosenConfig struct {
	zfs.KeptConfig
	pve.Captured
}

// caution says that the configuration may have been another one by then.
func (c chosenConfig) caution(at time.Time) string {
	if at.IsZero() || !c.Creation.Before(at) {
		return ""
	}
	return fmt.Sprintf(", the newest up to %s that has it: a change in between would not show", at.Local().Format(time.DateTime))
}

var errNoConfig = errors.New("no snapshot here has the guest's configuration: either snap does not keep it (capture_config: true " +
	"in the node's configuration), or the replication drops properties: they travel with zfs send -p or -R, " +
	"syncoid --sendoptions=p; syncoid --preserve-properties is for datasets alone")

// chooseConfig finds the configuration that held at a time, zero for now. A later one says
// since when it has been so; without such, the newest up to then counts. refused is
// told of each that cannot be read.
func chooseConfig(kept []zfs.KeptConfig, at time.Time, refused func(zfs.KeptConfig, error)) (chosenConfig, error) {
	kept = slices.DeleteFunc(slices.Clone(kept), func(k zfs.KeptConfig) bool { return k.Value == "" })
	slices.SortStableFunc(kept, func(a, b zfs.KeptConfig) int { return a.Creation.Compare(b.Creation) })
	var later *chosenConfig
	for _, k := range slices.Backward(kept) {
		text, err := pve.ReadCaptured(k.Value)
		if err != nil {
			refused(k, err)
			continue
		}
		found := chosenConfig{k, text}
		switch {
		case at.IsZero(), k.Creation.Equal(at):
			return found, nil
		case k.Creation.After(at):
			later = &found
			continue
		case later != nil && !later.Since.After(at):
			return *later, nil
		}
		return found, nil
	}
	if later != nil && !later.Since.After(at) {
		return *later, nil
	}
	if later != nil {
		return chosenConfig{}, fmt.Errorf("no snapshot up to then has the guest's configuration; the oldest that has it is %s", later.FullName())
	}
	return chosenConfig{}, errNoConfig
}
