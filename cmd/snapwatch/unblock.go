package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/snapper"
	"snapwatch/snapper/run"
)

// unblockCmd is `snapwatch unblock`.
type unblockCmd struct {
	VMID     int    `arg:"" name:"vmid" help:"The guest."`
	Snapshot string `arg:"" help:"The snapshot to roll back to, by its name in Proxmox."`

	Yes      bool   `help:"Remove the listed snapshots and bookmarks. Without --yes nothing is changed."`
	LoseBase bool   `help:"Remove what is listed even if receivers then have nothing to continue from, and need the whole disk again."`
	Config   string `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
}

// Help implements kong's HelpProvider.
func (unblockCmd) Help() string {
	return `Proxmox rolls back only to the newest snapshot of a disk. This lists the newer
snapshots and bookmarks of snapwatch, on all disks of the guest, and says from what receivers
could continue without them. --yes removes what is listed, and nothing else. unblock refuses
while Proxmox works on the guest, and while a snapshot that is not snapwatch's is newer.
Exit status: 0 nothing blocks the rollback (any more), or the list was printed; 1 something still
blocks it; 2 nothing could be done.`
}

// Run implements the command.
func (c *unblockCmd) Run(env *environment) error {
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		return &exit{2, err}
	}
	if !env.Root {
		return &exit{2, errors.New("unblock must be run as root: the guest's lock and channel programs need it")}
	}
	return runChanging(env, func(ctx context.Context) error { return c.unblock(ctx, env, cfg) })
}

func (c *unblockCmd) unblock(ctx context.Context, env *environment, cfg config.Config) error {
	u, done, err := run.Unblock(ctx, env.options(cfg), run.UnblockRequest{VMID: c.VMID, Snapshot: c.Snapshot, Remove: c.Yes, LoseBase: c.LoseBase})
	if err != nil {
		return &exit{2, err}
	}
	c.list(env, u)
	for _, p := range done.Problems {
		fmt.Fprintf(env.Stderr, "snapwatch: %s: %s\n", p.Severity, p.Text)
	}
	return c.outcome(env, u, done)
}

func (c *unblockCmd) list(env *environment, u snapper.Unblocking) {
	for _, d := range u.Disks {
		for _, s := range d.Snapshots {
			fmt.Fprintf(env.Stdout, "blocks the rollback: %s\n", s.FullName())
		}
		for _, b := range d.Bookmarks {
			fmt.Fprintf(env.Stdout, "blocks the rollback: %s#%s\n", b.Dataset, b.Name)
		}
		switch {
		case d.Base.Name == "":
			fmt.Fprintf(env.Stdout, "%s: no snapshot or bookmark of snapwatch remains from which a receiver can continue\n", d.Dataset)
		case d.BaseIsBookmark:
			fmt.Fprintf(env.Stdout, "%s: a receiver that has %s can continue from its bookmark\n", d.Dataset, d.Base.Name)
		default:
			fmt.Fprintf(env.Stdout, "%s: a receiver that has %s can continue from it\n", d.Dataset, d.Base.Name)
		}
	}
}

// outcome prints the user's next step after unblock. If unblock refused to remove the listed
// snapshots and bookmarks, or could not remove all of them, outcome returns the reason.
func (c *unblockCmd) outcome(env *environment, u snapper.Unblocking, done report.Run) error {
	rollback := fmt.Sprintf("qm rollback %d %s", c.VMID, c.Snapshot)
	if u.Kind == pve.LXC {
		rollback = fmt.Sprintf("pct rollback %d %s", c.VMID, c.Snapshot)
	}
	baseless := u.Baseless()
	switch {
	case len(u.Refusals) > 0:
		return &exit{1, errors.New("nothing was removed: " + strings.Join(u.Refusals, "; "))}
	case u.Empty():
		fmt.Fprintf(env.Stdout, "nothing blocks the rollback; run: %s\n", rollback)
	case len(baseless) > 0 && !c.LoseBase:
		return &exit{1, fmt.Errorf("nothing was removed: receivers of %s would need the whole disk again; --lose-base removes the bases nevertheless", strings.Join(baseless, ", "))}
	case !c.Yes:
		fmt.Fprintln(env.Stdout, "nothing was changed; --yes removes what is listed")
	case done.Failed():
		return &exit{1, errors.New("some of the listed snapshots and bookmarks could not be removed")}
	default:
		fmt.Fprintf(env.Stdout, "removed; now type, before the next run of snap: %s\n", rollback)
	}
	return nil
}
