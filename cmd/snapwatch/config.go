package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// configCmd is `snapwatch config`.
type configCmd struct {
	Show  configShowCmd  `cmd:"" help:"Print the configuration with its defaults, or what applies to one disk, and why."`
	Check configCheckCmd `cmd:"" help:"Say whether the configuration can be used."`
}

type configShowCmd struct {
	Disk   string `arg:"" optional:"" help:"The disk's whole name, as zfs list prints it: rpool/data/vm-100-disk-0."`
	Config string `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
}

// Run implements the command.
func (c *configShowCmd) Run(env *environment) error {
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		return err
	}
	if c.Disk != "" {
		return showDisk(env, cfg, c.Disk)
	}
	text, err := cfg.YAML()
	if err != nil {
		return err
	}
	_, err = env.Stdout.Write(text)
	return err
}

// showDisk prints the settings that apply to one disk, each with the configuration rule that sets
// it.
func showDisk(env *environment, cfg config.Config, dataset string) error {
	name := zfs.Base(dataset)
	if _, volume, is := strings.Cut(dataset, ":"); is && name == dataset {
		name = volume // the name of the disk in Proxmox, STORAGE:VOLUME
	}
	vmid, _, ok := zfs.ParseDiskName(name)
	if ok && (zfs.Base(dataset) == dataset || !zfs.ValidDataset(dataset)) {
		return fmt.Errorf("%s is not the whole name of a dataset: what applies depends on where the disk is; give it as zfs list -o name prints it, such as rpool/data/%s", dataset, name)
	}
	if !ok {
		return fmt.Errorf("%s is not a guest's disk: its last part is not vm-N-disk-M, subvol-N-disk-M, base-N-disk-M or basevol-N-disk-M", dataset)
	}
	keep, rule := cfg.KeepFor(dataset, vmid, cfg.Keep)
	words := keep.String()
	if keep == nil {
		words = "the retention on the command line of snap"
	}
	fmt.Fprintf(env.Stdout, "disk      %s (guest %d)\n", dataset, vmid)
	fmt.Fprintf(env.Stdout, "keep      %s (%s)\n", words, rule)
	if why := cfg.IgnoredFor(dataset, vmid); why != "" {
		fmt.Fprintf(env.Stdout, "snap      leaves the disk alone: %s\n", why)
	}
	if g, ok := cfg.GroupOf(vmid); ok {
		fmt.Fprintf(env.Stdout, "group     %s\n", g.Name)
	}
	if how, rule := cfg.HowFor(vmid); how != "" {
		fmt.Fprintf(env.Stdout, "quiesce   %s (%s)\n", how, rule)
	}
	policy := checker.NewPolicy(cfg)
	warning, critical := policy.Limits(&checker.Disk{Dataset: dataset, VMID: vmid})
	fmt.Fprintf(env.Stdout, "warning   %s\ncritical  %s\n", warning, critical)
	return nil
}

// config check waits for at most configCheckTimeout for a configuration on a file system that does
// not respond.
const configCheckTimeout = 30 * time.Second

type configCheckCmd struct {
	Config string `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
}

// Run implements the command.
func (c *configCheckCmd) Run(env *environment) error {
	var stage atomic.Value
	stage.Store("reading the configuration and its hooks")
	err := runReading(configCheckTimeout, &stage, func(context.Context) error {
		cfg, err := env.loadConfig(c.Config)
		if err != nil {
			return err
		}
		return errors.Join(cfg.Hooks.Check(), cfg.Drill.Check())
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, "the configuration can be used")
	return nil
}
