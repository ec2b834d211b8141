package main

import (
	"cmp"
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
	At   string `placeholder:"SNAPSHOT" help:"Print the configuration as it was at this snapshot: a snapshot's name, or DATASET@NAME. Default: the newest known configuration."`

	Output string `placeholder:"FILE" help:"Write the configuration to this new file, which only you can read. FILE must not exist; where no configuration is found, no file is made."`

	Config  string  `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
	Timeout seconds `short:"t" default:"5m" placeholder:"TIME" help:"Wait for zfs no longer than this (default ${default})."`
}

// Help implements kong's HelpProvider.
func (guestConfigCmd) Help() string {
	return `With capture_config: true, snap keeps each guest's configuration with its snapshots, without
passwords and keys. This prints it, also where only copies of the disks are. Standard error says which
snapshot it is from. It needs no root.
Replication carries it only if it sends properties: zfs send -p or -R, syncoid --sendoptions=p.
Exit status: 0 printed; 2 no configuration was found.`
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
	var disks []diskConfigs
	targets := scan.NewTargets(cfg, imported, scan.Inventory{})
	for _, pool := range targets.Pools() {
		names, err := c.disks(ctx, env, pool, targets[pool])
		if err != nil {
			fmt.Fprintf(env.Stderr, "snapwatch: pool %s: %v\n", pool, err)
		}
		for _, name := range names {
			kept, err := zfs.Reader{}.Configs(ctx, name)
			if err != nil {
				fmt.Fprintf(env.Stderr, "snapwatch: %s: %v\n", name, err)
			}
			cluster, _ := cfg.OriginOf(name)
			disks = append(disks, diskConfigs{name, cluster, kept})
		}
	}
	if len(disks) == 0 {
		return fmt.Errorf("this host has no disk of guest %d", c.VMID)
	}
	found, err := newGuestConfigs(c.VMID, disks, func(s zfs.KeptConfig, err error) {
		fmt.Fprintf(env.Stderr, "snapwatch: %s: not used: %v\n", s.FullName(), err)
	}).configAt(c.At, env.Now())
	if err != nil {
		return err
	}
	return c.print(env, found)
}

// disks returns the datasets of the guest's disks in one pool.
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

func (c *guestConfigCmd) print(env *environment, found knownConfig) error {
	fmt.Fprintf(env.Stderr, "snapwatch: as of %s of %s\n", found.at.FullName(), found.at.Creation.Local().Format(time.DateTime))
	if c.Output == "" {
		_, err := fmt.Fprint(env.Stdout, found.text)
		return err
	}
	return writeNew(c.Output, found.text)
}

// writeNew creates a file with the text. If writing fails, writeNew removes the file. writeNew does
// not write a temporary file first and rename it, because /etc/pve does not allow changes of a
// file's mode.
func writeNew(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s already exists and is not overwritten: move it away first", path)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// diskConfigs lists the snapshots of a disk, the oldest first, with the guest configurations that
// are stored in the snapshots. cluster is the cluster from which the disk was received, "" if the
// configuration names no cluster.
type diskConfigs struct {
	name, cluster string
	kept          []zfs.KeptConfig
}

// shares reports whether the function `same` returns true for any snapshot of disk d and any
// snapshot of disk o.
func (d diskConfigs) shares(o diskConfigs, same func(a, b zfs.KeptConfig) bool) bool {
	return slices.ContainsFunc(d.kept, func(a zfs.KeptConfig) bool {
		return slices.ContainsFunc(o.kept, func(b zfs.KeptConfig) bool { return same(a, b) })
	})
}

// oneSnapshot reports whether two snapshots are copies of one snapshot.
func oneSnapshot(a, b zfs.KeptConfig) bool { return a.GUID == b.GUID }

// oneConfiguration reports whether two snapshots refer to the same configuration. The property of a
// snapshot refers to a configuration by the configuration's checksum.
func oneConfiguration(a, b zfs.KeptConfig) bool { return a.Value != "" && a.Value == b.Value }

// guestConfigs has the disks whose names contain the number vmid, and the guest configurations
// stored in their snapshots, by checksum.
type guestConfigs struct {
	vmid  int
	disks []diskConfigs
	texts map[string]pve.Captured
}

// knownConfig is the configuration that a guest had at a snapshot of its disk.
type knownConfig struct {
	at   zfs.KeptConfig
	kind pve.Kind
	text string
}

// newGuestConfigs reads the guest configurations that are stored in the snapshots of the disks.
// newGuestConfigs ignores a configuration that cannot be read or that belongs to a different guest.
// For each ignored configuration, newGuestConfigs calls `refused` with the reason.
func newGuestConfigs(vmid int, disks []diskConfigs, refused func(zfs.KeptConfig, error)) guestConfigs {
	g := guestConfigs{vmid, slices.Clone(disks), map[string]pve.Captured{}}
	for i := range g.disks {
		d := &g.disks[i]
		d.kept = slices.Clone(d.kept)
		for n := range d.kept {
			k := &d.kept[n]
			if _, refers := pve.ReadReference(k.Value); k.Value == "" || refers {
				continue
			}
			c, err := pve.ReadCaptured(k.Value)
			if err == nil && c.ID.VMID != vmid {
				err = fmt.Errorf("it belongs to guest %d", c.ID.VMID)
			}
			if err != nil {
				refused(*k, err)
				k.Value = ""
				continue
			}
			k.Value = c.Reference()
			g.texts[c.Sum()] = c
		}
	}
	return g
}

// configOf returns the configuration that the guest had at the snapshot k, and false if no snapshot
// on this host stores the configuration.
func (g guestConfigs) configOf(k zfs.KeptConfig) (knownConfig, bool) {
	sum, _ := pve.ReadReference(k.Value)
	c, found := g.texts[sum]
	return knownConfig{k, c.ID.Kind, c.Text}, found
}

var errNoConfig = errors.New("no snapshot here has the guest's configuration: either snap does not keep it (capture_config: true " +
	"in the node's configuration), or the replication drops properties: send with zfs send -p or -R, or with " +
	"syncoid --sendoptions=p; syncoid --preserve-properties is for datasets alone")

// configAt returns the configuration that the guest had at a snapshot. The snapshot is given as
// NAME or DATASET@NAME. For "", configAt returns the newest known configuration.
func (g guestConfigs) configAt(name string, now time.Time) (knownConfig, error) {
	dataset, snapshot, whole := strings.Cut(name, "@")
	if !whole {
		dataset, snapshot = "", name
	}
	var answers []knownConfig
	var of []diskConfigs
	any, unknown := false, error(nil)
	for _, d := range g.disks {
		if dataset != "" && d.name != dataset {
			continue
		}
		answer, there, err := g.ofDisk(d, snapshot, now)
		any = any || there
		switch {
		case !there:
		case err != nil:
			unknown = cmp.Or(unknown, err)
		default:
			answers, of = append(answers, answer), append(of, d)
		}
	}
	switch {
	case !any && name != "":
		return knownConfig{}, fmt.Errorf("no disk of guest %d here has a snapshot %s", g.vmid, name)
	case len(g.texts) == 0:
		return knownConfig{}, errNoConfig
	case len(answers) == 0:
		return knownConfig{}, cmp.Or(unknown, errNoConfig)
	}
	best := answers[0]
	for i, a := range answers {
		for k := range i {
			if a.kind != answers[k].kind || a.text != answers[k].text && unlike(of[i], of[k]) {
				return knownConfig{}, fmt.Errorf("the disks %s and %s with the number %d may belong to two guests, and their configurations differ: choose one with --at DATASET@SNAPSHOT (such as %s)", of[k].name, of[i].name, g.vmid, a.at.FullName())
			}
		}
		if a.at.Creation.After(best.at.Creation) {
			best = a
		}
	}
	return best, nil
}

// unlike reports whether two disks with the same VMID in their names may belong to two guests.
// Two disks may belong to two guests in three cases: they are from two clusters; they have the same
// name, but no snapshot in common; or they have different names, and never had the same
// configuration.
func unlike(a, b diskConfigs) bool {
	same := oneConfiguration
	if zfs.Base(a.name) == zfs.Base(b.name) {
		same = oneSnapshot
	}
	return a.cluster != b.cluster || !a.shares(b, same)
}

// If the creation time of a snapshot is in the future by more than tooNew, the snapshot never
// counts as the newest.
const tooNew = 5 * time.Minute

// ofDisk returns the configuration that the guest had at a snapshot of one disk. If the argument
// `snapshot` is "", ofDisk returns the newest known configuration. The result `there` is false if
// the disk does not have the snapshot. If the configuration at the snapshot is unknown, the error
// names the nearest snapshots with a known configuration.
func (g guestConfigs) ofDisk(d diskConfigs, snapshot string, now time.Time) (answer knownConfig, there bool, err error) {
	var before, after *knownConfig
	for _, k := range d.kept {
		c, known := g.configOf(k)
		switch {
		case k.Name == snapshot && known:
			return c, true, nil
		case k.Name == snapshot:
			there, answer.at = true, k
		case known && there && after == nil:
			after = &c
		case known && !there && (snapshot != "" || !k.Creation.After(now.Add(tooNew))):
			before = &c
		}
	}
	switch {
	case snapshot == "" && before != nil:
		return *before, true, nil
	case !there:
		return answer, false, nil
	}
	near := func(what string, k *knownConfig) string {
		if k == nil {
			return "no snapshot " + what + " it has a configuration"
		}
		return fmt.Sprintf("the nearest one %s it is at %s, %s", what, k.at.FullName(), k.at.Creation.Local().Format(time.DateTime))
	}
	return answer, true, fmt.Errorf("the configuration at %s is not known: no snapshot here keeps it; %s; %s", answer.at.FullName(), near("before", before), near("after", after))
}
