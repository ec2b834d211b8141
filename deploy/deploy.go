// Package deploy embeds the files that snapwatch ships for systemd and for monitoring systems, so
// that tests use exactly the shipped files.
package deploy

import "embed"

// Files has the shipped files, by their path below deploy.
//
//go:embed alertmanager nagios nrpe prometheus pve systemd
var Files embed.FS
