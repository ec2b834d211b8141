package main

import (
	"context"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/pve"
)

// ownerFlags name the nodes that may own the guests, and the credentials to ask these nodes. Each
// flag replaces its key under owners: in the configuration.
type ownerFlags struct {
	URLs         []string `name:"owners" placeholder:"URL" help:"Compare each disk with its owner: the addresses of the exporters on all nodes that may own the guest."`
	AllowHTTP    bool     `name:"owners-allow-http" help:"Allow http, without encryption, in the owners' URLs, also where a URL names another host."`
	CA           string   `name:"owners-ca" placeholder:"FILE" help:"Trust the certificates in FILE instead of the system's certificates."`
	Cert         string   `name:"owners-cert" placeholder:"FILE" help:"Use this client certificate."`
	Key          string   `name:"owners-key" placeholder:"FILE" help:"The key of the client certificate."`
	User         string   `name:"owners-user" placeholder:"NAME" help:"Log in as this user."`
	PasswordFile string   `name:"owners-password-file" placeholder:"FILE" help:"The file with the password for the owners' exporters."`
}

// override returns the section owners: of the configuration. Each flag on the command line replaces
// the value that the configuration has for the same setting.
func (f ownerFlags) override(p config.Owners) config.Owners {
	if len(f.URLs) > 0 {
		p.URLs = f.URLs
	}
	p.AllowHTTP = p.AllowHTTP || f.AllowHTTP
	for _, each := range []struct {
		flag string
		key  *string
	}{{f.CA, &p.CA}, {f.Cert, &p.Cert}, {f.Key, &p.Key}, {f.User, &p.User}, {f.PasswordFile, &p.PasswordFile}} {
		if each.flag != "" {
			*each.key = each.flag
		}
	}
	return p
}

// setOwned records for each disk whether its guest is configured on this host. If Proxmox's
// configuration cannot be read within a quarter of the remaining time, Owned remains unknown,
// because pmxcfs may hang, and check needs the rest of the time for the guests' disks.
func setOwned(ctx context.Context, env *environment, pools []checker.Pool) {
	ctx, cancel := context.WithTimeout(ctx, timeLeft(ctx)/4)
	defer cancel()
	read := make(chan pve.Owners, 1)
	go func() {
		if !env.PVE.Installed() {
			read <- pve.Owners{}
		} else if owners, err := env.PVE.Owners(); err == nil {
			read <- owners
		}
		close(read)
	}()
	select {
	case owners, ok := <-read:
		for i := range pools {
			for k := range pools[i].Disks {
				d := &pools[i].Disks[k]
				switch {
				case !ok:
				case owners.Here(d.VMID):
					d.Owned = checker.Owned
				default:
					d.Owned = checker.NotOwned
				}
			}
		}
	case <-ctx.Done():
	}
}

// If check asks nodes, it first reads this host's disks, within the share localShare of the
// timeout. A pool that hangs must leave time to ask the nodes.
const localShare = 5.0 / 8

// lookShare is the share of the timeout in which check, after the nodes have answered, looks up the
// snapshots that a guest's disks have in common.
const lookShare = 1.0 / 8
