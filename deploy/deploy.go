// Package deploy contains the files that are shipped for init and monitoring systems, so that tests
// use exactly the shipped files.
package deploy

import "embed"

// Files are the shipped files, by their path below deploy.
//
//go:embed alertmanager nagios nrpe prometheus pve systemd
var Files embed.FS
